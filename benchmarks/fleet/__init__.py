"""Benches of a whole fleet: brokers in a cluster, virtual devices, rollouts."""
