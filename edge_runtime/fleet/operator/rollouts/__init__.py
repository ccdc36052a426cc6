"""Rollouts: a model to a fleet, ring after ring, judged by figures from the field. docs/adr/0016-rollouts.md."""
