"""What a rollout is unless somebody says otherwise. Light: the command line's help has it."""

from __future__ import annotations

GATES: dict[str, float] = {
    "accuracy_drop": 0.03,
    "unknown_rise": 0.05,
    "latency_rise": 0.5,
    "failed_share": 0.1,
    "offline_share": 0.2,
    "restart_share": 0.2,
}
"""Gate -> the harm that is borne at most. The first three compare figures (latency: relative), the others count devices."""
DEFAULT_RINGS = "canary=5,10%,50%,100%"
DEFAULT_SETTLE_S = 28_800.0
"""Longer than the shadow run and the trial of a device that is configured as usual (ten minutes and four hours), or each
rollout would end in them; and a trial begins anew with each restart."""
