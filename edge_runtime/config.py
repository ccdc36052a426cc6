"""device.toml: what a technician writes, as frozen records."""
