"""Slots over time: single readings, the published states, events, and business figures."""
