"""One virtual device: a scripted life over the device's own uplink, gates and messages; no camera, no model, no thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from edge_runtime.fleet.openers import Opener
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.settings import BrokerAddress
from edge_runtime.fleet.swarm import Swarm, SwarmLink
from edge_runtime.records import Event
from edge_runtime.simulator.fleet import speech
from edge_runtime.simulator.fleet.follow import Follower
from edge_runtime.simulator.fleet.models import Switch, VirtualModels
from edge_runtime.simulator.fleet.orders import Orders
from edge_runtime.simulator.fleet.plan import FleetPlan
from edge_runtime.telemetry import builders
from edge_runtime.telemetry import messages as m
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.memory_spool import MemorySpool
from edge_runtime.telemetry.spool import Entry, Grade, SpoolLimits
from edge_runtime.telemetry.uplink import Uplink

LIMITS = SpoolLimits(max_bytes=262_144)
LOOK_S = 0.5
"""Between two looks of the uplink while something is under way ..."""
BUSY_S = 0.9
"""... which it says by asking to be called again within so long."""
ASK_S = 45.0
"""After a connect the retained wish is asked for once more, as the device does (`daemon.convergence`)."""
RETAINED = 4
"""Topics that a device says anew at every connect, beside its availability."""
AWAY_S = 20.0
"""Mean of an outage, and of a restart after a crash."""


class VirtualDevice:
    """Everything happens in the swarm's thread."""

    def __init__(
        self, plan: FleetPlan, number: int, swarm: Swarm, nodes: Sequence[BrokerAddress], opener: Opener
    ) -> None:
        self.topics = plan.topics(number)
        self.fortune = plan.fortune(number)
        self._plan, self._swarm = plan, swarm
        self._chances = plan.chances(number)
        self._skew_s = self._chances.choice((-31_536_000.0, 3_600.0)) if self.fortune == "wrong_clock" else 0.0
        self._began_s = swarm.clock()
        self._stamp = Stamp(self.topics, int(time.time()))
        self._seq = 0
        self.models = VirtualModels(plan, plan.chances(number, "models"))
        self._shelf = speech.Shelf(plan.slots, self._chances, self._wall())
        self._figures: m.CameraFigures | None = None
        self._measured = self.models.running
        """The model that the figures are of."""
        self._link = SwarmLink(
            swarm, nodes, f"{self.topics.site}-{self.topics.device}", lambda: self._stamp, self._wall
        )
        self._undelivered: dict[str, float] = {}
        spool = _Spool(LIMITS, swarm.clock, self._undelivered)
        self._uplink = Uplink(self._link, spool, clock=swarm.clock)
        self._stepping = False
        audience = f"{self.topics.site}/{self.topics.device}"
        slow = 10.0 if self.fortune == "slow" else 1.0
        self.follower = Follower(
            audience,
            opener,
            self.models,
            self._after,
            swarm.clock,
            self._chances,
            plan.download_s * slow,
            self._follow,
            installs=self.fortune != "refuses",
        )
        self._opener = opener
        self._orders = Orders(self, plan, opener)
        self._said_before = 0
        self._link.on_connect(self._connected)
        self._link.on_progress = self._step
        self._link.listen((*self.topics.command_filters, self.topics.desired), self._arrived)

    # For its orders

    @property
    def clock(self) -> Callable[[], float]:
        return self._swarm.clock

    @property
    def wall(self) -> Callable[[], float]:
        return self._wall

    @property
    def stamp(self) -> Stamp:
        return self._stamp

    @property
    def link(self) -> SwarmLink:
        return self._link

    @property
    def settled(self) -> bool:
        """Connected, and the broker has acknowledged all retained state since."""
        return self._link.connected and self._uplink.counts().retained - self._said_before >= RETAINED

    @property
    def waits_for(self) -> str:
        """In words, for somebody who wants to know why a fleet does not settle."""
        counts = self._uplink.counts()
        said = counts.retained - self._said_before
        return (
            f"{self.topics.device}: {self._link.shown}, {said} of {RETAINED} retained acknowledged,"
            f" {self.waiting} events wait"
        )

    @property
    def waiting(self) -> int:
        """Events that no broker has acknowledged yet, those of an outage among them."""
        return len(self._undelivered)

    @property
    def oldest_s(self) -> float:
        """Since the first of them happened; 0 if none waits."""
        return self._swarm.clock() - next(iter(self._undelivered.values())) if self._undelivered else 0.0

    def switched(self, change: Switch) -> None:
        """The models have changed: tell it as the device does, and see what the reconciler makes of it."""
        self._tell_switch(change)
        self._follow()

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self._after(seconds, act)

    # Life

    def begin(self) -> None:
        """Be born some time within the plan's spread."""
        self._after(self._chances.uniform(0.0, self._plan.spread_s), self._boot)
        self._after(self._chances.uniform(0.0, self._plan.telemetry_s), self._measure)
        self._after(self._chances.expovariate(1.0 / self._plan.event_s), self._sell)
        self._after(self._chances.uniform(0.5, 1.0) * self._plan.heartbeat_s, self._beat)
        if self.fortune in ("crashes", "goes_offline"):
            self._after(self._chances.expovariate(1.0 / self._plan.trouble_s), self._suffer)

    def end(self) -> None:
        """Say goodbye."""
        self._link.leave()

    def _connected(self) -> None:
        self._said_before = self._uplink.counts().retained
        connection = self._link.connection

        def ask_again() -> None:
            if self._link.connection == connection:
                self._link.ask_again(self.topics.desired)

        self._after(ASK_S * self._chances.uniform(0.5, 1.0), ask_again)

    def _boot(self) -> None:
        now = self._wall()
        self._say_status()
        self._uplink.retain(self.topics.info, m.encode(speech.info(self._stamp, now, self._plan, now)))
        self._say_shelf()
        self._say_reported()
        self._link.enter()

    def _suffer(self) -> None:
        """The network goes, or the daemon dies: its will is told; after a while it comes again."""
        self._link.drop()
        self._swarm.counts[f"trouble_{self.fortune}"] += 1
        if self.fortune == "crashes":
            self._stamp = Stamp(self.topics, self._stamp.session + 1)
            self._began_s, self._seq = self._swarm.clock(), 0
            self._link.new_session()
            self._orders = Orders(self, self._plan, self._opener)
            self._after(self._chances.expovariate(1.0 / AWAY_S), self._boot)
        else:
            self._after(self._chances.expovariate(1.0 / AWAY_S), self._link.enter)
        self._after(self._chances.expovariate(1.0 / self._plan.trouble_s) + 2 * AWAY_S, self._suffer)

    def _measure(self) -> None:
        plan = self._plan
        self._measured = self.models.running
        self._figures = speech.figures(self.models, self._chances, plan.slots, plan.telemetry_s)
        seq = self._next()
        message = speech.telemetry(self._stamp, self._wall(), seq, plan.telemetry_s, self._figures, self.models)
        self._uplink.offer(Entry(message.id, Grade.TELEMETRY, self.topics.telemetry, m.encode(message)))
        self._step()
        self._after(plan.telemetry_s, self._measure)

    def _sell(self) -> None:
        slot, was, now = self._shelf.change(self._wall())
        self._tell("slot", f"s{slot:02d}", was.value, now.value)
        self._say_shelf()
        self._after(self._chances.expovariate(1.0 / self._plan.event_s), self._sell)

    def _beat(self) -> None:
        self._say_shelf()
        self._say_status()
        self._after(self._plan.heartbeat_s, self._beat)

    def _arrived(self, message: Incoming) -> None:
        if message.topic != self.topics.desired:
            self._orders.arrived(message)
        elif self.follower.arrived(message):
            self._swarm.counts["wishes"] += 1
            self._follow()
        else:
            self._say_reported()

    def _follow(self) -> None:
        """As far as it goes without waiting."""
        before = self.models.running
        for _ in range(8):
            if not self.follower.act():
                break
        now = self.models.running
        if now != before:
            self._tell_switch(Switch(before.version, now.version, "rolled_back", "desired"))
        self._say_reported()
        candidate = self.models.candidate
        if candidate is not None:
            self._swarm.at(candidate.ends_s, self._advance)

    def _advance(self) -> None:
        change = self.models.advance(self._swarm.clock())
        if change is not None:
            self._swarm.counts[f"models_{change.phase}"] += 1
            self.switched(change)

    # Messages

    def _tell(self, kind: str, slot: str, was: str, now: str, detail: dict[str, str | float] | None = None) -> None:
        seq = self._next()
        happened = Event(
            f"{self.topics.device}-{self._stamp.session}-{seq}", kind, speech.CAMERA if slot else "", self._wall(),
            slot, was, now, 0.97, detail or {},
        )  # fmt: skip
        message = builders.event(self._stamp, seq, happened, self.models.running)
        self._undelivered[message.id] = self._swarm.clock()
        self._uplink.offer(Entry(message.id, Grade.EVENT, self.topics.event(kind), builders.bounded_event(message)))
        self._swarm.counts["events"] += 1
        self._step()

    def _tell_switch(self, change: Switch) -> None:
        """The figures of the model before say nothing about this one."""
        detail: dict[str, str | float] = {
            "reason": change.reason,
            "name": self.models.running.name,
            "phase": change.phase,
        }
        if self.models.running != self._measured:
            self._figures = None
        self._tell("model", "", change.was, change.now, detail)
        self._say_status()

    def _say_status(self) -> None:
        uptime_s = self._swarm.clock() - self._began_s
        counts = self._uplink.counts().spool
        message = speech.status(self._stamp, self._wall(), self._next(), uptime_s, self.models, self._figures, counts)
        self._uplink.retain(self.topics.status, m.encode(message), first=True)
        self._step()

    def _say_shelf(self) -> None:
        message = speech.shelf(self._stamp, self._wall(), self._next(), self._shelf, self.models)
        self._uplink.retain(self.topics.shelf(speech.CAMERA), m.encode(message))
        self._step()

    def _say_reported(self) -> None:
        message = self.follower.reported(self._stamp, self._wall(), self.models)
        self._uplink.retain(self.topics.reported, m.encode(message))
        self._step()

    def _step(self) -> None:
        """Let the uplink do what it can; look again while something is under way."""
        if self._stepping or not self._link.connected:
            return
        self._stepping = True

        def step() -> None:
            self._stepping = False
            if self._link.connected and self._uplink.step() < BUSY_S:
                self._after(LOOK_S, self._step)

        self._after(0.0, step)

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._swarm.at(self._swarm.clock() + seconds, act)

    def _wall(self) -> float:
        return time.time() + self._skew_s

    def _next(self) -> int:
        self._seq += 1
        return self._seq


class _Spool(MemorySpool):
    """Tells at once what was accepted: the uplink's counts are as old as its last step, up to an interval here."""

    def __init__(self, limits: SpoolLimits, clock: Callable[[], float], undelivered: dict[str, float]) -> None:
        super().__init__(limits, clock, degraded="")
        self._undelivered = undelivered

    def end(
        self, accepted: Iterable[str], rejected: Iterable[str] = (), kept: Iterable[str] = (), why: str = ""
    ) -> None:
        done = tuple(accepted)
        super().end(done, rejected, kept, why)
        for key in done:
            self._undelivered.pop(key, None)
