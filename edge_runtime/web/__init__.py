"""The local view: what the cameras see and what the slots are, as one page on the device's own loopback address."""
