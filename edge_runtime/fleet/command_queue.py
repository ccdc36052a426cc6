"""From the link's thread to the inference loop: commands are judged where they arrive and carried out between frames."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from edge_runtime.errors import EdgeError, Refused, TryAgain
from edge_runtime.fleet.commands import Command, CommandGate, Denied, RateLimit, Reason, Repeated
from edge_runtime.fleet.session import Incoming
from edge_runtime.telemetry.builders import Stamp, clipped, rounded
from edge_runtime.telemetry.messages import Response, Scalar, encode
from edge_runtime.telemetry.publisher import Publisher

log = logging.getLogger(__name__)


class Later(Protocol):
    """Work that goes on while frames go on. `CommandQueue.drain` asks after it; then the command gets its last receipt."""

    def outcome(self) -> Mapping[str, Scalar] | None:
        """None while it runs, then the result. Raises what a Handler may raise if it failed."""
        ...


Handler = Callable[[Command], Mapping[str, Scalar] | Later]
"""Carries a command out and gives the result, or begins it. An errors.Refused that it raises becomes a `refused`
receipt, any other errors.EdgeError or OSError a `failed` one."""
WAITING = 16
"""Commands between two frames, at most."""
PER_S = 5.0
BURST = 20


@dataclass(frozen=True, slots=True)
class CommandCounts:
    taken: int = 0
    repeated: int = 0
    limited: int = 0
    """Dropped unread by the rate limit."""
    refused: Mapping[str, int] = field(default_factory=dict)


class CommandQueue:
    """`arrived` is the link's listener (its thread); `drain` is called by the inference loop. Every command that passes
    the rate limit gets a receipt under `resp/`: accepted, then (if it takes long) running, then succeeded or failed; or
    refused with a reason."""

    def __init__(
        self,
        gate: CommandGate,
        stamp: Stamp,
        publisher: Publisher,
        handlers: Mapping[str, Handler],
        limit: RateLimit | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._gate = gate
        self._stamp = stamp
        self._publisher = publisher
        self._handlers = handlers
        self._limit = limit or RateLimit(PER_S, BURST, time.monotonic)
        self._wall = wall
        self._waiting: deque[Command] = deque()
        self._running: list[tuple[Command, Later]] = []
        self._lock = threading.Lock()
        self._taken = self._repeated = self._limited = 0
        self._refused: Counter[str] = Counter()

    def arrived(self, message: Incoming) -> None:
        """Judge a message. Quick; never raises for what a sender may send."""
        if not self._limit.allows():
            self._limited += 1
            return
        with self._lock:
            verdict = self._gate.judge(message, self._wall())
            if isinstance(verdict, Denied):
                self._deny(verdict)
            elif isinstance(verdict, Repeated):
                self._repeated += 1
                self._publisher.publish(verdict.reply_to, encode(verdict.response), 1, False)
        if isinstance(verdict, Command):
            self._gate.floors.keep()  # without the lock: the inference loop must not wait for the disk
            self._accept(verdict)

    def _accept(self, command: Command) -> None:
        with self._lock:
            if len(self._waiting) >= WAITING:
                self._refused[Reason.BUSY.value] += 1
                self._answer(command, "refused", Reason.BUSY.value, f"{WAITING} commands wait already")
            else:
                self._taken += 1
                self._answer(command, "accepted")
                self._waiting.append(command)

    def drain(self, limit: int = 4) -> int:
        """Ask after what runs, then carry out up to `limit` waiting commands; how many there were."""
        running, self._running = self._running, []
        for command, later in running:
            self._conclude(command, later.outcome, later)
        done = 0
        while self._waiting and done < limit:
            self._carry_out(self._waiting.popleft())
            done += 1
        return done

    def counts(self) -> CommandCounts:
        with self._lock:
            return CommandCounts(self._taken, self._repeated, self._limited, dict(self._refused))

    def abandon(self, why: str) -> None:
        """The device ends: tell everybody who waits."""
        for command, _ in self._running:
            with self._lock:
                self._answer(command, "failed", TryAgain.__name__, why)
        self._running.clear()

    def _carry_out(self, command: Command) -> None:
        def begin() -> Mapping[str, Scalar] | Later:
            if self._wall() >= command.expires_at:
                raise Refused("it expired while it waited for its turn")
            return self._handlers[command.verb](command)

        self._conclude(command, begin, None)

    def _conclude(
        self, command: Command, work: Callable[[], Mapping[str, Scalar] | Later | None], later: Later | None
    ) -> None:
        """Do a piece of a command's work, and say what came of it unless it goes on. `later`: what was begun before."""
        state: Literal["succeeded", "failed", "refused"]
        reason, detail, result = "", "", {}
        try:
            found = work()
            if not isinstance(found, Mapping):
                self._go_on(command, found, later)
                return
            state, result = "succeeded", dict(found)
        except Refused as fault:
            state, reason, detail = "refused", "handler", str(fault)
        except (EdgeError, OSError) as fault:
            state, reason, detail = "failed", type(fault).__name__, str(fault)
        log.info("command %s %s: %s %s", command.verb, command.id, state, detail)
        with self._lock:
            if state == "refused":
                self._refused[reason] += 1
            self._answer(command, state, reason, detail, result)

    def _go_on(self, command: Command, began: Later | None, goes_on: Later | None) -> None:
        if began is not None:
            with self._lock:
                self._answer(command, "running")
        if later := began or goes_on:
            self._running.append((command, later))

    def _answer(
        self,
        command: Command,
        state: Literal["accepted", "running", "succeeded", "failed", "refused"],
        reason: str = "",
        detail: str = "",
        result: dict[str, Scalar] | None = None,
    ) -> None:
        response = Response(
            **self._stamp.head(self._wall()),
            id=command.id,
            verb=command.verb,
            state=state,
            reason=reason,
            detail=clipped(detail),
            result={key: _fit(value) for key, value in (result or {}).items()},
        )
        reply_to = self._gate.reply_topic(command)
        self._gate.remember(response, reply_to)
        self._publisher.publish(reply_to, encode(response), 1, False)

    def _deny(self, denied: Denied) -> None:
        if denied.reason.value not in self._refused:
            log.warning(
                "a command %s was refused: %s (%s)", clipped(denied.verb, 40), denied.reason, denied.detail[:200]
            )
        self._refused[denied.reason.value] += 1
        response = Response(
            **self._stamp.head(self._wall()),
            id=denied.id,
            verb=clipped(denied.verb, 64),
            state="refused",
            reason=denied.reason.value,
            detail=clipped(denied.detail),
        )
        self._publisher.publish(self._gate.refusal_topic(denied.verb), encode(response), 1, False)


def _fit(value: Scalar) -> Scalar:
    if isinstance(value, str):
        return clipped(value)
    return rounded(value, 6) if isinstance(value, float) else value
