"""10,000 hostile messages: none carried out, each counted with its reason, and no memory grows.

usage: python -m benchmarks.faults --only hostile

Once with all limits open, where every message must get the very reason it deserves; once at 2,000 a second against the
limits as they ship; once through each real broker that is installed.
"""

from __future__ import annotations

import gc
import logging
import random
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.faults.hostile_mint import KINDS, TOPICS, Hostile, Mint
from benchmarks.faults.row import Row
from edge_runtime.fleet.command_queue import CommandQueue
from edge_runtime.fleet.commands import Command, CommandGate
from edge_runtime.fleet.floors import CommandFloors
from edge_runtime.fleet.journal import CommandJournal
from edge_runtime.fleet.rate_limit import OPEN, Limits
from edge_runtime.lifecycle.files import Files
from edge_runtime.lifecycle.floors import Floors
from edge_runtime.lifecycle.trust.envelope import EnvelopeVerifier
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import Scalar
from edge_runtime.telemetry.publisher import Delivery, Publisher

VERBS = ("ping", "snapshot", "model.rollback", "restart")
COUNT, QUICK = 10_000, 600
PER_S = 2_000.0
SLACK_BYTES = 32_768
"""What may differ in memory after so many messages: counters, caches of the interpreter."""


class Nobody:
    """A publisher that counts."""

    connected = True

    def __init__(self) -> None:
        self.published = 0

    def delivery(self) -> Delivery:
        return Delivery.ACKNOWLEDGED

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> Nobody:
        self.published += 1
        return self

    def on_connect(self, callback: object) -> None:
        pass


class Target:
    """A device's commands as they are composed, with every verb of consequence; nothing behind them but a list."""

    def __init__(
        self,
        state: Path,
        mint: Mint,
        limits: Limits,
        publisher: Publisher | None = None,
        files: Files | None = None,
    ) -> None:
        self.done: list[str] = []
        self.now = mint.now
        self.clock_s = 0.0
        self.publisher = publisher or Nobody()
        gate = CommandGate(
            TOPICS,
            frozenset(VERBS),
            EnvelopeVerifier(lambda: mint.keys),
            CommandFloors(Floors(state, files)),
            CommandJournal(state / "commands.json", files),
        )
        handlers = dict.fromkeys(VERBS, self._carry_out)
        self.queue = CommandQueue(
            gate, Stamp(TOPICS, 1), self.publisher, handlers, limits, lambda: self.now, clock=lambda: self.clock_s
        )

    def _carry_out(self, command: Command) -> Mapping[str, Scalar]:
        self.done.append(command.id)
        return {}

    def counted(self) -> Counter[str]:
        counts = self.queue.counts()
        return Counter(counts.refused) + Counter(repeated=counts.repeated, limited=counts.limited, taken=counts.taken)


@contextmanager
def scene(limits: Limits, seed: int = 1) -> Iterator[tuple[Mint, Target, Path]]:
    """A device that has carried out ten honest commands."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mint = Mint(folder / "keys", seed)
        target = Target(folder / "state", mint, limits)
        for _ in range(10):
            message = mint.honest()
            target.clock_s += 1.0
            target.queue.arrived(message)
            target.queue.drain()
            mint.seen.append(message)
        assert len(target.done) == 10, "the honest commands were not carried out"
        yield mint, target, folder / "state"


def campaign(quick: bool) -> Iterable[Row]:
    """The rows of fault 21 that are about what is refused."""
    logging.getLogger("edge_runtime").setLevel(logging.ERROR)
    count = QUICK if quick else COUNT
    yield one_by_one(count)
    yield as_a_flood(count)
    yield memory(count)
    yield damage(25 if quick else 1)
    from benchmarks.faults.hostile_brokers import through_brokers

    yield from through_brokers(count // 5)


def one_by_one(count: int) -> Row:
    """Limits open: each message is judged, and counted once, with a reason that it deserves."""
    kinds: Counter[str] = Counter()
    wrong: list[str] = []
    with scene(OPEN) as (mint, target, state):
        files = _bytes_of(state)
        for _ in range(count):
            hostile, before = mint.hostile(), target.counted()
            target.queue.arrived(hostile.message)
            target.queue.drain()
            new = target.counted() - before
            kinds[hostile.kind] += 1
            if new.total() != 1 or not set(new) <= hostile.reasons or len(target.done) != 10:
                wrong.append(f"{hostile.kind}: {dict(new)}, one of {sorted(hostile.reasons)} was expected")
        if _bytes_of(state) != files:
            wrong.append("what is kept on the disk has changed")
        wrong += _still_serves(mint, target)
    note = wrong[0] if wrong else f"{len(kinds)} of {len(KINDS)} kinds; 0 carried out, nothing written"
    return Row(21, "hostile commands, each judged by the rules alone", count, count - len(wrong), note)


def as_a_flood(count: int) -> Row:
    """The limits as they ship, 2,000 messages a second, the loop around every 50 ms."""
    with scene(Limits()) as (mint, target, _):
        published = target.publisher.published  # type: ignore[attr-defined]
        start = target.counted()
        for n in range(count):
            target.clock_s += 1 / PER_S
            target.queue.arrived(mint.hostile().message)
            if n % 100 == 0:
                target.queue.drain()
        for _ in range(20):
            target.clock_s += 1.0
            target.queue.drain()
        counted = target.counted() - start
        answers = target.publisher.published - published  # type: ignore[attr-defined]
        wrong = _still_serves(mint, target)
    seconds = count / PER_S + 20
    allowed = seconds * (Limits().refusals.per_s + Limits().repeats.per_s) + 40
    if counted.total() != count or counted["taken"] or answers > allowed:
        wrong.append(f"counted {dict(counted)}, {answers} answers")
    limited = counted["limited"]
    note = wrong[0] if wrong else f"{limited:,} dropped unread, {count - limited:,} refused, {answers} answered"
    return Row(21, "hostile commands at 2,000 a second", count, 0 if wrong else count, note)


def memory(count: int) -> Row:
    """What is allocated after the messages, beside what was after as many before: caches are full then."""
    with scene(OPEN) as (mint, target, _):
        messages = [mint.hostile() for _ in range(min(count, 2_000))]
        tracemalloc.start()
        _pour(messages, target, count)
        before = tracemalloc.get_traced_memory()[0]
        _pour(messages, target, count + 1)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    held = count if grown <= SLACK_BYTES else 0
    return Row(21, "hostile commands: memory after them", count, held, f"{grown:+,} bytes")


def damage(stride: int) -> Row:
    """One file of what is kept is damaged, the device starts again, and what it carried out comes once more."""
    points, held, first = 0, 0, ""
    with scene(OPEN) as (mint, _, state):
        whole = _bytes_of(state)
        for name, raw in whole.items():
            for spoilt in _damaged(raw, stride):
                for path, content in whole.items():
                    Path(path).write_bytes(content)
                Path(name).write_bytes(spoilt)
                again = Target(state, mint, OPEN)
                for message in mint.seen:
                    again.queue.arrived(message)
                    again.queue.drain()
                points += 1
                held += not again.done
                if again.done and not first:
                    first = f"{Path(name).name}: {len(again.done)} carried out again"
    return Row(
        22, "a command journal or floor damaged, and all commands sent again", points, held, first or "none again"
    )


def _damaged(raw: bytes, stride: int) -> Iterator[bytes]:
    """Every byte changed, every length cut, all of it zeros, nothing at all."""
    yield b""
    yield bytes(len(raw))
    for place in range(0, len(raw), stride):
        yield raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
    for length in range(0, len(raw), 8 * stride):
        yield raw[:length]


def _pour(messages: list[Hostile], target: Target, count: int) -> None:
    chance = random.Random(count)
    for _ in range(count):
        target.queue.arrived(chance.choice(messages).message)
        target.queue.drain()
    gc.collect()


def _still_serves(mint: Mint, target: Target) -> list[str]:
    """An honest command after it all is carried out."""
    before = len(target.done)
    target.clock_s += 60.0
    message = mint.honest()
    target.queue.arrived(message)
    target.queue.drain()
    return [] if len(target.done) == before + 1 else ["an honest command after it was not carried out"]


def _bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
