"""The most that a repository can make a device read, keep, follow or wait for."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.lifecycle.bundle import MAX_BUNDLE_BYTES


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Every quantity that the other side chooses, and its bound. What is above is refused, whoever signed it."""

    root_bytes: int = 65_536
    timestamp_bytes: int = 16_384
    snapshot_bytes: int = 1_048_576
    targets_bytes: int = 4_194_304
    """Of one role's list of targets: about 15,000 files."""
    target_bytes: int = MAX_BUNDLE_BYTES
    root_rotations: int = 64
    """Followed in one refresh; a device that was away for longer needs as many refreshes more."""
    delegations: int = 32
    """Roles visited in the search of one target."""
    kept_bytes: int = 16_777_216
    """Of all metadata that the device keeps."""
    connect_s: float = 10.0
    """Also the longest silence on a connection."""
    metadata_s: float = 30.0
    """One metadata file, from the first packet to the last byte."""
    refresh_s: float = 120.0
    target_bytes_per_s: float = 2_048.0
    """A target that comes more slowly is given up for now; what has come is kept, and the next attempt goes on there."""
    redirects: int = 4
    lock_wait_s: float = 5.0
    """For another process of this device that is at the same work."""
    clock_slack_s: float = 3_600.0
    """How far the wall clock may stand below the time floor: clocks are set back by seconds all the time."""

    def metadata_bytes(self, role: str) -> int:
        """The most bytes of one role's metadata."""
        known = {"root": self.root_bytes, "timestamp": self.timestamp_bytes, "snapshot": self.snapshot_bytes}
        return known.get(role, self.targets_bytes)

    def target_s(self, remaining_bytes: int) -> float:
        """The longest that a download of so many bytes may take."""
        return self.metadata_s + remaining_bytes / self.target_bytes_per_s


CEILINGS = Ceilings()
