"""Does a model hold what is asked of it: float and int8 over labelled shelves, latency, memory, and a gate."""
