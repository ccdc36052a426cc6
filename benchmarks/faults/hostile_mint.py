"""Hostile messages, made from what an attacker at the broker has: everything that was ever sent, and keys of its own."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.fleet.session import Incoming
from edge_runtime.lifecycle.trust.command_keys import CommandKeys
from edge_runtime.lifecycle.trust.envelope import COMMAND, DESIRED, encode_envelope
from edge_runtime.telemetry.topics import Topics
from edge_runtime.workshop.enrolment.signing import OperatorKey

NOW = 1_790_000_000.0
TOPICS = Topics("store", "box", ("canary",))
AUDIENCE = "store/box"


@dataclass(frozen=True, slots=True)
class Hostile:
    """A message, and what the gate may count it as."""

    kind: str
    message: Incoming
    reasons: frozenset[str]


class Mint:
    """Makes messages by the seed. `operator` may do everything, `reader` only ping; `stranger` is in no list."""

    def __init__(self, folder: Path, seed: int, now: float = NOW) -> None:
        self.now = now
        self.chance = random.Random(seed)
        self.operator, self.reader, self.stranger = (
            OperatorKey.create(folder / f"{name}.pem") for name in ("operator", "reader", "stranger")
        )
        entries = self.operator.public_entry(), self.reader.public_entry(("ping",), ("store/*",))
        self.keys = CommandKeys(entries)
        self.seen: list[Incoming] = []
        """Commands that the device has carried out: to be replayed."""
        self._count = 0

    def command(self, **changes: object) -> dict[str, object]:
        """One that would be carried out, if the operator signed it and it came by its topic."""
        self._count += 1
        base: dict[str, object] = {
            "id": f"h-{self.chance.getrandbits(64):x}",
            "verb": "ping",
            "audience": AUDIENCE,
            "seq": int(self.now * 1000) + self._count,
            "issued_at": self.now,
            "expires_at": self.now + 3600,
        }
        return base | changes

    def signed(self, command: dict[str, object], key: OperatorKey | None = None) -> Incoming:
        raw = (key or self.operator).sign(COMMAND, json.dumps(command).encode())
        return Incoming(TOPICS.command(str(command["verb"])), raw, False)

    def honest(self) -> Incoming:
        return self.signed(self.command())

    def hostile(self) -> Hostile:
        """One of every kind with equal chance."""
        kind = self.chance.choice(list(KINDS))
        make, reasons = KINDS[kind]
        return Hostile(kind, make(self), frozenset(reasons.split()))

    def payload(self) -> bytes:
        """One that is hostile under every topic, and may be sent as often as one likes."""
        while True:
            made = self.hostile()
            if made.kind not in BY_CIRCUMSTANCE:
                return made.message.payload


def _noise(mint: Mint) -> Incoming:
    return Incoming(TOPICS.command("ping"), mint.chance.randbytes(mint.chance.randrange(400)), False)


def _deep(mint: Mint) -> Incoming:
    piece = mint.chance.choice([b"[", b'{"payload":', b'[{"a":'])
    return Incoming(TOPICS.command("ping"), piece * (16_000 // len(piece)), False)


def _deep_inside(mint: Mint) -> Incoming:
    raw = mint.operator.sign(COMMAND, b'{"args":' + b"[" * 8_000)
    return Incoming(TOPICS.command("ping"), raw, False)


def _oversize(mint: Mint) -> Incoming:
    size = mint.chance.choice([16_385, 20_000, 65_536])
    return Incoming(TOPICS.command("ping"), mint.honest().payload.ljust(size), False)


def _replayed(mint: Mint) -> Incoming:
    return mint.chance.choice(mint.seen)


def _reordered(mint: Mint) -> Incoming:
    """Signed and never seen here, and older than what was carried out."""
    return mint.signed(mint.command(seq=mint.chance.randrange(1, 1000)))


def _misaddressed(mint: Mint) -> Incoming:
    other = mint.chance.choice(["store/other", "elsewhere/box", "store/_all", "_group/canary", "_group/other", "*"])
    return mint.signed(mint.command(audience=other))


def _under_another_topic(mint: Mint) -> Incoming:
    topic = mint.chance.choice(["edge/v1/store/_all/cmd/ping", "edge/v1/_group/canary/cmd/ping"])
    return Incoming(topic, mint.honest().payload, False)


def _under_another_verb(mint: Mint) -> Incoming:
    return Incoming(TOPICS.command("model.rollback"), mint.honest().payload, False)


def _bare(mint: Mint) -> Incoming:
    return Incoming(TOPICS.command("ping"), json.dumps(mint.command()).encode(), False)


def _stripped(mint: Mint) -> Incoming:
    envelope = json.loads(mint.honest().payload)
    envelope["signatures"] = []
    if mint.chance.random() < 0.5:
        del envelope["signatures"]
    return Incoming(TOPICS.command("ping"), json.dumps(envelope).encode(), False)


def _of_a_stranger(mint: Mint) -> Incoming:
    return mint.signed(mint.command(), mint.stranger)


def _pretending(mint: Mint) -> Incoming:
    """The stranger's signature under the operator's name."""
    payload = json.dumps(mint.command()).encode()
    made = json.loads(mint.stranger.sign(COMMAND, payload))["signatures"][0]["sig"]
    raw = encode_envelope(COMMAND, payload, [(mint.operator.keyid, base64.b64decode(made))])
    return Incoming(TOPICS.command("ping"), raw, False)


def _exchanged(mint: Mint) -> Incoming:
    """A right signature, of another command."""
    envelope, other = json.loads(mint.honest().payload), json.loads(mint.honest().payload)
    envelope["signatures"] = other["signatures"]
    return Incoming(TOPICS.command("ping"), json.dumps(envelope).encode(), False)


def _without_the_right(mint: Mint) -> Incoming:
    return mint.signed(mint.command(verb="model.rollback"), mint.reader)


def _expired(mint: Mint) -> Incoming:
    ago = mint.chance.choice([0, 1, 3600, 86_400 * 365])
    return mint.signed(mint.command(issued_at=mint.now - ago - 60, expires_at=mint.now - ago))


def _from_the_future(mint: Mint) -> Incoming:
    ahead = mint.chance.choice([600, 86_400, 86_400 * 365 * 5])
    return mint.signed(mint.command(issued_at=mint.now + ahead, expires_at=mint.now + ahead + 60))


def _long_lived(mint: Mint) -> Incoming:
    return mint.signed(mint.command(expires_at=mint.now + 86_401))


def _retained(mint: Mint) -> Incoming:
    good = mint.honest()
    return Incoming(good.topic, good.payload, True)


def _twice(mint: Mint) -> Incoming:
    """A key twice, in the envelope or in the command: readers differ in which one they believe."""
    good = mint.honest()
    if mint.chance.random() < 0.5:
        return Incoming(good.topic, good.payload[:-1] + b',"payloadType":"' + COMMAND.encode() + b'"}', False)
    text = json.dumps(mint.command())
    raw = mint.operator.sign(COMMAND, (text[:-1] + ', "verb": "ping"}').encode())
    return Incoming(TOPICS.command("ping"), raw, False)


def _truncated(mint: Mint) -> Incoming:
    good = mint.honest()
    return Incoming(good.topic, good.payload[: mint.chance.randrange(len(good.payload))], False)


def _flipped(mint: Mint) -> Incoming:
    """One bit, anywhere. In the name of the key it may make the signature a stranger's."""
    good = mint.honest()
    raw = bytearray(good.payload)
    raw[mint.chance.randrange(len(raw))] ^= 1 << mint.chance.randrange(8)
    return Incoming(good.topic, bytes(raw), False)


def _of_another_type(mint: Mint) -> Incoming:
    raw = mint.operator.sign(DESIRED, json.dumps(mint.command()).encode())
    if mint.chance.random() < 0.5:
        raw = raw.replace(DESIRED.encode(), COMMAND.encode())
    return Incoming(TOPICS.command("ping"), raw, False)


def _beyond_numbers(mint: Mint) -> Incoming:
    text = json.dumps(mint.command(args={"x": 0}))
    number = mint.chance.choice(["NaN", "Infinity", "1e999", "1" * 4_000, "-1e308", "1e19", "[0]", '{"a":0}'])
    raw = mint.operator.sign(COMMAND, text.replace('"x": 0', f'"x": {number}').encode())
    return Incoming(TOPICS.command("ping"), raw, False)


_MISSHAPEN: tuple[tuple[str, object], ...] = (
    *((key, value) for key in ("id", "verb", "audience", "seq", "issued_at", "args") for value in (None, [], "")),
    *(("seq", value) for value in (0, -1, 2**60, 1.5, True, "1")),
    *(("id", value) for value in ("a b", "x" * 65, "../x", 7)),
    *((key, value) for key in ("issued_at", "expires_at") for value in (-1, 1e12, True, "now")),
    *(("args", value) for value in ({"a": {}}, {"a": [1]}, {str(n): n for n in range(65)}, {"x" * 81: 1})),
    *(("reply_to", value) for value in (None, 7, "x" * 241)),
    ("verb", "x" * 65),
    ("audience", "x" * 201),
    ("surprise", 1),
)


def _misshapen(mint: Mint) -> Incoming:
    command = mint.command()
    key, value = mint.chance.choice(_MISSHAPEN)
    raw = mint.operator.sign(COMMAND, json.dumps(command | {key: value}).encode())
    return Incoming(TOPICS.command("ping"), raw, False)


def _unknown_verb(mint: Mint) -> Incoming:
    return mint.signed(mint.command(verb=mint.chance.choice(["format.disk", "exec", "PING", "model"])))


def _answer_elsewhere(mint: Mint) -> Incoming:
    elsewhere = mint.chance.choice(["edge/v1/store/other/resp/ping", "edge/v1/store/box/resp/x//", "$SYS/x", "#"])
    return mint.signed(mint.command(reply_to=elsewhere))


def _many_signatures(mint: Mint) -> Incoming:
    payload = json.dumps(mint.command()).encode()
    count = mint.chance.choice([2, 4, 5, 100])
    made = [(mint.operator.keyid, mint.chance.randbytes(64)) for _ in range(count)]
    return Incoming(TOPICS.command("ping"), encode_envelope(COMMAND, payload, made), False)


BY_CIRCUMSTANCE = frozenset({"replayed", "reordered", "retained", "under another topic", "under another verb's topic"})
"""Kinds whose payload would be a good command, if it came for the first time and by its own way."""
KINDS: dict[str, tuple[Callable[[Mint], Incoming], str]] = {
    "random bytes": (_noise, "untrusted"),
    "nested too deep": (_deep, "untrusted"),
    "signed, nested too deep": (_deep_inside, "malformed"),
    "oversize": (_oversize, "oversize"),
    "replayed": (_replayed, "repeated"),
    "reordered": (_reordered, "replayed"),
    "misaddressed": (_misaddressed, "wrong_audience"),
    "under another topic": (_under_another_topic, "wrong_audience"),
    "under another verb's topic": (_under_another_verb, "wrong_verb"),
    "no envelope": (_bare, "untrusted"),
    "signature stripped": (_stripped, "unsigned"),
    "signed by a stranger": (_of_a_stranger, "unsigned"),
    "a stranger under an operator's name": (_pretending, "forged"),
    "another command's signature": (_exchanged, "forged"),
    "a key without the right": (_without_the_right, "not_allowed"),
    "expired": (_expired, "expired"),
    "from the future": (_from_the_future, "from_the_future"),
    "too long-lived": (_long_lived, "too_long_lived"),
    "retained": (_retained, "retained"),
    "a key twice": (_twice, "untrusted malformed"),
    "truncated": (_truncated, "untrusted"),
    "one bit flipped": (_flipped, "untrusted unsigned forged malformed wrong_audience wrong_verb expired replayed too_long_lived from_the_future"),
    "signed as another type": (_of_another_type, "untrusted forged"),
    "numbers beyond all bounds": (_beyond_numbers, "malformed"),
    "misshapen": (_misshapen, "malformed"),
    "unknown verb": (_unknown_verb, "unknown_verb"),
    "answers elsewhere": (_answer_elsewhere, "wrong_reply_to"),
    "many signatures": (_many_signatures, "forged untrusted"),
}  # fmt: skip
