"""How a virtual device follows its desired state: the device's own gate, reconciler and memory; steps that only take time."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from edge_runtime.config.overrides import check_override
from edge_runtime.errors import EdgeError, Refused
from edge_runtime.fleet import convergence as c
from edge_runtime.fleet.desired import Declined, Desired, DesiredGate, Taken
from edge_runtime.fleet.openers import Opener
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.wish_file import WishFile
from edge_runtime.simulator.fleet.models import VirtualModels
from edge_runtime.telemetry import messages as m
from edge_runtime.telemetry.builders import Stamp, clipped
from edge_runtime.telemetry.messages import Scalar

PROVE_S = 1.0
At = Callable[[float, Callable[[], None]], None]
"""Do something so many seconds from now."""


class Follower:
    """`act` may be called as often as one likes; it takes one step at a time."""

    def __init__(
        self,
        audience: str,
        opener: Opener,
        models: VirtualModels,
        after: At,
        clock: Callable[[], float],
        chances: random.Random,
        download_s: float,
        goes_on: Callable[[], None],
        installs: bool = True,
    ) -> None:
        """`goes_on` is called when a step has ended; `installs`: whether the device has a repository; one without
        refuses every new model."""
        self.wish = WishFile(None)
        self.config: dict[str, Scalar] = {}
        self._gate = DesiredGate(audience, opener, self.wish)
        self._models, self._after, self._clock, self._chances = models, after, clock, chances
        self._download_s, self._goes_on, self._installs = download_s, goes_on, installs
        self._busy = False
        self._declined: Declined | None = None

    def arrived(self, message: Incoming) -> bool:
        """Whether it was a newer wish."""
        verdict = self._gate.judge(message)
        self._declined = verdict if isinstance(verdict, Declined) else None
        if isinstance(verdict, Taken):
            self.wish.take(verdict.desired, verdict.signer)
            return True
        return False

    def act(self) -> bool:
        """Look, and take the next step; whether there is something new to report."""
        desired, before = self.wish.now()
        if desired is None or self._busy:
            return False
        seen = self._models.seen(self.config)
        progress = c.noted(desired, seen, before)
        step = c.decide(desired, seen, progress)
        self.wish.note(c.told(progress, step))
        try:
            self._take(desired, step)
        except EdgeError as fault:
            self._fail(desired, fault)
        return self.wish.now()[1] != before

    def reported(self, stamp: Stamp, at: float, models: VirtualModels) -> m.Reported:
        desired, progress = self.wish.now()
        running = models.running
        phase = "trial" if models.candidate is not None and models.candidate.phase == "trial" else "committed"
        declined = self._declined
        refused = declined is not None and (desired is None or declined.seq > progress.seq)
        return m.Reported(
            **stamp.head(at),
            seq=declined.seq if declined is not None and refused else progress.seq,
            state="refused" if refused else progress.state,
            reason=declined.reason.value if declined is not None and refused else progress.reason,
            detail=clipped(declined.detail if declined is not None and refused else progress.detail),
            model=m.ModelRef(running.name, running.version, running.sha256, phase, "int8"),
            config=self.config,
        )

    def _take(self, desired: Desired, step: c.Step) -> None:
        if isinstance(step, c.SetConfig):
            self._configure(step)
        elif isinstance(step, c.TakeOut):
            self._models.take_out(f"{c.why(desired)}: {step.detail}")
        elif isinstance(step, c.Install):
            if not self._installs:
                raise Refused("this device has no model repository", "Give [model] repository and root in device.toml")
            self._later(desired, self._download_s * self._chances.expovariate(1.0), lambda: self._install(step))
        elif isinstance(step, c.Activate):
            self._later(desired, PROVE_S, lambda: self._activate(desired, step))

    def _configure(self, step: c.SetConfig) -> None:
        for key, value in step.values.items():
            if value is None:
                self.config.pop(key, None)
            else:
                self.config[key] = check_override(key, value)

    def _install(self, step: c.Install) -> None:
        self._models.install(step.model)

    def _activate(self, desired: Desired, step: c.Activate) -> None:
        model = step.model
        self._models.activate(step.sha256, model.shadow_s, model.trial_s, c.why(desired), self._clock())

    def _later(self, desired: Desired, seconds: float, work: Callable[[], object]) -> None:
        self._busy = True

        def end() -> None:
            self._busy = False
            try:
                work()
            except EdgeError as fault:
                self._fail(desired, fault)
            self._goes_on()

        self._after(seconds, end)

    def _fail(self, desired: Desired, fault: EdgeError) -> None:
        _, progress = self.wish.now()
        if progress.seq == desired.seq:
            self.wish.note(
                msgspec.structs.replace(progress, state="failed", reason="refused", detail=clipped(str(fault)))
            )
