"""Off-device: what makes a device part of a fleet, and who may command it."""
