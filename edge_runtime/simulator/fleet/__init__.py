"""Virtual devices: thousands of scripted lives that speak the device's real protocol, for load and rollout tests."""
