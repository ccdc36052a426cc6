"""`demo --upgrade`: a newer model from a signed repository to the one in charge, while the camera runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import Unavailable

if TYPE_CHECKING:
    from edge_runtime.cli.stage import Stage
    from edge_runtime.fleet.operator.one_device import Operator
    from edge_runtime.telemetry.messages import EventMessage

SHADOW_S, TRIAL_S, TRIAL_FRAMES = 4.0, 4.0, 6
WAIT_S = 300.0
"""For any one step, on a machine that is busy."""
_CONFIG = """\
[model]
repository = "{repository}"
root = "{root}"
shadow_s = {shadow_s}
trial_s = {trial_s}
trial_frames = {trial_frames}
"""


@dataclass(frozen=True, slots=True)
class UpgradePlan:
    """The models, old and new, and how long the new one is looked at. `say`: what is being done."""

    shadow_s: float = SHADOW_S
    trial_s: float = TRIAL_S
    trial_frames: int = TRIAL_FRAMES
    before_s: float = 4.0
    """How long the old model is measured first, and the new one at the end."""
    say: Callable[[str], None] = lambda text: None

    def prepare(self, folder: Path) -> str:
        """Put the older model in charge and publish the newer one. Gives the [model] section.

        Raises Unavailable if only one model ships, or without the keys' library (the extra `build`).
        """
        from edge_runtime.assets import factory_bundles
        from edge_runtime.lifecycle.bundle import read_bundle
        from edge_runtime.lifecycle.store import ModelStore

        bundles = factory_bundles("shelf-occupancy")
        if len(bundles) < 2:
            raise Unavailable(
                "an upgrade needs two models; one ships with this installation", "make bundle builds them"
            )
        old, new = bundles[-2], bundles[-1]
        ModelStore(folder / "state", bundles, allow_unsigned=False).activate(read_bundle(old).id)
        repository, root = _publish(folder, new)
        return _CONFIG.format(
            repository=repository,
            root=root,
            shadow_s=self.shadow_s,
            trial_s=self.trial_s,
            trial_frames=self.trial_frames,
        )


def _publish(folder: Path, bundle: Path) -> tuple[Path, Path]:
    """A repository of one model; (folder, root file)."""
    try:
        from edge_runtime.workshop.repository import changes
        from edge_runtime.workshop.repository.keys import KeyFolders
        from edge_runtime.workshop.repository.plan import NEWCOMER
    except ImportError as fault:
        raise Unavailable(f"a repository can not be made here: {fault}", "pip install 'edge-runtime[build]'") from None
    repository, keys = folder / "repository", KeyFolders([folder / "keys"])
    changes.init(repository, NEWCOMER, keys)
    changes.publish(repository, [bundle], keys)
    return repository, repository / "root.json"


@dataclass(slots=True)
class Upgrade:
    """What an upgrade took, by phase; times in seconds."""

    took_s: dict[str, float] = field(default_factory=dict)
    frames: int = 0
    """Concluded from the first command to the commit."""
    lost: int = 0
    """Pictures of the camera that were missed at the switch, by the device's own count."""
    switch_ms: float = 0.0
    """For which the loop was held up by it."""
    p95_ms: dict[str, float] = field(default_factory=dict)
    """95th percentile of a frame, by phase: the mean over the device's own intervals, weighted by frames."""
    was: str = ""
    now: str = ""
    variant: str = ""
    began_s: float = 0.0
    _spans: list[tuple[str, float, float]] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is done within."""
        began = time.monotonic()
        yield
        self._spans.append((name, began, time.monotonic()))
        self.took_s[name] = round(time.monotonic() - began, 2)

    def measure(self, operator: Operator) -> None:
        """Take the figures of each phase from the telemetry that came in it."""
        for name, began, ended in self._spans:
            windows = [
                (camera.frames, camera.ms["total"][1])
                for at, message in operator.figures
                if began + message.interval_s / 2 <= at <= ended + message.interval_s / 2
                for camera in message.cameras.values()
                if "total" in camera.ms
            ]
            frames = sum(count for count, _ in windows)
            if frames:
                self.p95_ms[name] = round(sum(count * ms for count, ms in windows) / frames, 1)

    def record(self) -> dict[str, object]:
        """For JSON."""
        return {
            "from": self.was,
            "to": self.now,
            "variant": self.variant,
            "install_to_committed_s": round(sum(self.took_s[name] for name in self.took_s if name not in _QUIET), 2),
            "took_s": self.took_s,
            "frames": self.frames,
            "frames_lost_at_switch": self.lost,
            "switch_ms": self.switch_ms,
            "p95_ms": self.p95_ms,
        }


_QUIET = ("before", "after")


def carry_out(stage: Stage, operator: Operator, plan: UpgradePlan) -> Upgrade:
    """Install, prove, shadow, trial, commit, over MQTT, and wait for each. Raises EdgeError if it does not come so far."""
    upgrade = Upgrade(was=_model(stage))
    with upgrade.phase("before"):
        time.sleep(plan.before_s)
    first = _frames(stage)
    with upgrade.phase("installing"):
        model = operator.ask("model.install", WAIT_S).result
    plan.say(f"installed {model['name']} {model['version']} from the repository: {upgrade.took_s['installing']} s")
    with upgrade.phase("proving"):
        began = operator.ask("model.activate", WAIT_S, sha256=model["sha256"], why="demo").result
    upgrade.variant = str(began["variant"])
    plan.say(f"proved: {upgrade.variant} is to run. {began['said']}: {upgrade.took_s['proving']} s")
    for name, phase, what in (("shadow", "trial", "on trial"), ("trial", "committed", "kept")):
        if name == "shadow" and not plan.shadow_s:
            continue
        with upgrade.phase(name):
            event = _await_phase(operator, phase)
        upgrade.switch_ms = float(event.detail.get("switch_ms", upgrade.switch_ms))
        upgrade.lost = int(float(event.detail.get("missed_at_switch", upgrade.lost)))
        plan.say(f"{what}: {upgrade.took_s[name]} s")
    with upgrade.phase("after"):
        time.sleep(plan.before_s)
    upgrade.now, upgrade.frames = _model(stage), _frames(stage) - first
    upgrade.measure(operator)
    return upgrade


def _await_phase(operator: Operator, phase: str) -> EventMessage:
    """Raises Unavailable if the model was taken back instead."""
    event = operator.event(
        lambda e: e.kind == "model" and e.detail.get("phase") in (phase, "rolled_back"), WAIT_S, f"phase {phase}"
    )
    if event.detail.get("phase") == "rolled_back":
        raise Unavailable(f"the new model was taken back: {event.detail.get('reason')}", "See the device's log")
    return event


def _model(stage: Stage) -> str:
    model = stage.status().get("model") or {}
    return f"{model.get('name', 'none')} {model.get('version', '')}"


def _frames(stage: Stage) -> int:
    """Concluded so far, as of the newest status."""
    return sum(int(camera["frames"]) for camera in stage.status().get("cameras", ()))
