"""The daemon: composes the rooms, runs the inference loop, answers for its own health."""
