"""From the link's thread to the inference loop: commands are judged where they arrive and carried out between frames.

A message goes through four hands. The link's thread asks what is cheap; what is beyond the limits it drops unread. The
loop checks at most one signature between two frames, so that no frame waits for one. The scribe brings floor and journal
to the disk. Then the loop carries the command out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from edge_runtime.errors import EdgeError, Refused, TryAgain
from edge_runtime.fleet.command_counts import CommandCounts, CommandTally
from edge_runtime.fleet.command_form import READING, Command
from edge_runtime.fleet.command_receipts import CommandReceipts, ReceiptState
from edge_runtime.fleet.commands import CommandGate
from edge_runtime.fleet.journal import Record
from edge_runtime.fleet.rate_limit import Budgets, Limits
from edge_runtime.fleet.scribe import AtOnce, Scribe
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.verdicts import Denied, Pending, Reason, Repeated, Taken
from edge_runtime.telemetry.builders import Stamp, clipped
from edge_runtime.telemetry.messages import Scalar
from edge_runtime.telemetry.publisher import Publisher

__all__ = ["WAITING", "CommandCounts", "CommandQueue", "Handler", "Later"]

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
UNCHECKED = 8
"""Messages that wait for their signature check, at most."""
INTERRUPTED = "interrupted"
"""Why a command failed that was under way when the process ended."""
SCRIBE_S = 2.0


@dataclass(slots=True)
class _Work:
    record: Record
    begin: Handler
    resumed: bool = False


class CommandQueue:
    """`arrived` is the link's listener (its thread); `drain` is called by the inference loop. Every command that is
    taken gets receipts under `resp/`: accepted, then (if it takes long) running, then succeeded, failed or refused; what
    is not taken gets one that says why, as long as there are not too many of them."""

    def __init__(
        self,
        gate: CommandGate,
        stamp: Stamp,
        publisher: Publisher,
        handlers: Mapping[str, Handler],
        limits: Limits | None = None,
        wall: Callable[[], float] = time.time,
        scribe: Scribe | None = None,
        conclusions: Mapping[str, Handler] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`conclusions`: verbs that are not over when the process ends (restart, config.set), each with what says at the
        next start what came of it. All other commands that were under way are told as failed, `interrupted`."""
        self._gate = gate
        self._handlers = handlers
        self._conclusions = dict(conclusions or {})
        self._wall = wall
        self._scribe: Scribe = scribe or AtOnce()
        self._budgets = Budgets(limits or Limits(), gate.roots.values(), clock)
        self._receipts = CommandReceipts(gate, stamp, publisher, wall)
        self._unchecked: deque[Pending] = deque()
        self._waiting: deque[_Work] = deque()
        self._running: list[tuple[_Work, Later]] = []
        self._lock = threading.Lock()
        self._accepting = 0
        self._tally = CommandTally()
        self._resume()

    def arrived(self, message: Incoming) -> None:
        """Judge a message. Quick; never raises for what a sender may send."""
        if not self._budgets.reading(message.topic).allows():
            self._tally.add(limited=1)
            return
        verdict = self._gate.judge(message, self._wall())
        if not isinstance(verdict, Pending):
            self._answer(verdict)
        elif not verdict.sealed.checks:
            self._open(verdict)
        elif len(self._unchecked) < UNCHECKED:
            self._unchecked.append(verdict)
        else:
            self._deny(_busy(verdict.command, f"{UNCHECKED} signatures wait for their check already"))

    def connected(self) -> None:
        """Tell again what the broker did not get. For the link's `on_connect`."""
        self._receipts.connected()

    def drain(self, limit: int = 4) -> int:
        """Check one signature, ask after what runs, carry out up to `limit` waiting commands; how many there were."""
        if self._unchecked and self._budgets.checks.allows(self._unchecked[0].sealed.checks):
            self._open(self._unchecked.popleft())
        running, self._running = self._running, []
        for work, later in running:
            self._conclude(work, partial(_outcome_of, later), later)
        done = 0
        while self._waiting and done < limit:
            self._carry_out(self._waiting.popleft())
            done += 1
        return done

    def counts(self) -> CommandCounts:
        return self._tally.counts()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with what is kept of commands, in words."""
        return tuple(text for text in (self._gate.floors.problem, self._gate.journal.problem) if text)

    def abandon(self, why: str) -> None:
        """The device ends: tell everybody who waits, but for those whom the next start tells. Waits for the disk."""
        for work in (*(work for work, _ in self._running), *self._waiting):
            if work.record.response.verb not in self._conclusions:
                self._note(work, "failed", TryAgain.__name__, why)
        self._running.clear()
        self._waiting.clear()
        self._scribe.close(SCRIBE_S)

    def _resume(self) -> None:
        """What was under way when the process ended."""
        for record in self._gate.journal.records():
            if record.ended:
                continue
            conclude = self._conclusions.get(record.response.verb)
            work = _Work(record, conclude or self._handlers.get(record.response.verb, _nothing), resumed=True)
            if conclude is not None:
                self._waiting.append(work)
            else:
                self._note(work, "failed", INTERRUPTED, "the device stopped before it was done; ask again")

    def _open(self, pending: Pending) -> None:
        """What can not be carried out now is refused before it is taken, so that it may come again as it is."""
        if self._under_way() >= WAITING or not self._budgets.taking.allows():
            self._deny(_busy(pending.command, "more commands than this device takes at once; ask again in a moment"))
            return
        verdict = self._gate.open(pending, self._wall())
        if not isinstance(verdict, Taken):
            self._budgets.taking.refund()
            self._answer(verdict)
            return
        self._budgets.reading(pending.topic).refund()
        work = _Work(self._receipts.accepted(verdict), self._handlers[verdict.command.verb])
        self._tally.add(taken=1)
        with self._lock:
            self._accepting += 1
        self._gate.journal.note(work.record)
        self._scribe.do(lambda: self._accept(work))

    def _under_way(self) -> int:
        with self._lock:
            return len(self._waiting) + self._accepting

    def _accept(self, work: _Work) -> None:
        """On the disk first; the journal before the floor, so that a kill between the two leaves an answer."""
        self._gate.journal.keep()
        if self._gate.floors.keep() or work.record.response.verb in READING:
            self._receipts.tell(work.record)
            self._waiting.append(work)
        else:
            why = f"{self._gate.floors.problem}; it could be replayed after a restart"
            self._note(work, "refused", Reason.NOT_KEPT, why)
        with self._lock:
            self._accepting -= 1

    def _carry_out(self, work: _Work) -> None:
        def begin(command: Command) -> Mapping[str, Scalar] | Later:
            if not work.resumed and self._wall() >= command.expires_at:
                raise Refused("it expired while it waited for its turn")
            return work.begin(command)

        self._conclude(work, begin, None)

    def _conclude(
        self, work: _Work, step: Callable[[Command], Mapping[str, Scalar] | Later | None], later: Later | None
    ) -> None:
        """Do a piece of a command's work, and say what came of it unless it goes on. `later`: what was begun before."""
        assert work.record.command is not None
        try:
            found = step(work.record.command)
            if isinstance(found, Mapping):
                self._note(work, "succeeded", result=found)
            else:
                self._go_on(work, found, later)
        except Refused as fault:
            self._note(work, "refused", "handler", str(fault))
        except (EdgeError, OSError) as fault:
            self._note(work, "failed", type(fault).__name__, str(fault))

    def _go_on(self, work: _Work, began: Later | None, goes_on: Later | None) -> None:
        if began is not None:
            self._note(work, "running")
        if later := began or goes_on:
            self._running.append((work, later))

    def _note(
        self,
        work: _Work,
        state: ReceiptState,
        reason: str = "",
        detail: str = "",
        result: Mapping[str, Scalar] | None = None,
    ) -> None:
        """The next receipt of a command: remembered at once, then written down, then told."""
        record = work.record = self._receipts.next_of(work.record, state, reason, detail, result)
        self._gate.journal.note(record)
        if state == "refused":
            self._tally.refuse(reason)
        if record.ended:
            log.info("command %s %s: %s %s", record.response.verb, record.response.id, state, detail)

        def write_and_tell() -> None:
            if record.ended:
                self._gate.journal.keep()
            self._receipts.tell(record)

        self._scribe.do(write_and_tell)

    def _answer(self, verdict: Denied | Repeated) -> None:
        if isinstance(verdict, Denied):
            self._deny(verdict)
            return
        answers = self._budgets.repeats.allows()
        self._tally.add(repeated=1, unanswered=not answers)
        if answers:
            self._receipts.tell_again(verdict)

    def _deny(self, denied: Denied) -> None:
        answers = self._budgets.refusals.allows()
        self._tally.add(unanswered=not answers, strangers=denied.reason is Reason.UNSIGNED)
        if self._tally.refuse(denied.reason):
            log.warning(
                "a command %s was refused: %s (%s)", clipped(denied.verb, 40), denied.reason, denied.detail[:200]
            )
        if answers:
            self._receipts.refuse(denied)


def _busy(command: Command, why: str) -> Denied:
    return Denied(command.id, command.verb, Reason.BUSY, why)


def _outcome_of(later: Later, command: Command) -> Mapping[str, Scalar] | None:
    return later.outcome()


def _nothing(command: Command) -> Mapping[str, Scalar]:
    return {}
