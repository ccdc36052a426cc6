"""The operator's side: what a fleet is, asking devices, and bringing a model to all of them. Never imported by a device."""
