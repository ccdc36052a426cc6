"""What a flood of messages costs a device: `python -m benchmarks.flood`."""
