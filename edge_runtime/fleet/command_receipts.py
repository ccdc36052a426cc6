"""Receipts of commands: written down first, then told; those that the broker did not get are told at the next connect."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal

from edge_runtime.fleet.commands import CommandGate
from edge_runtime.fleet.journal import Record
from edge_runtime.fleet.verdicts import Denied, Repeated, Taken
from edge_runtime.telemetry.builders import Stamp, clipped, rounded
from edge_runtime.telemetry.messages import Response, Scalar, encode
from edge_runtime.telemetry.publisher import Delivery, Publisher, Receipt

ReceiptState = Literal["accepted", "running", "succeeded", "failed", "refused"]
UNTOLD = 64
"""Last receipts that wait for proof that the broker has them, at most."""


class CommandReceipts:
    """Any thread may use it."""

    def __init__(self, gate: CommandGate, stamp: Stamp, publisher: Publisher, wall: Callable[[], float]) -> None:
        self._gate = gate
        self._stamp = stamp
        self._publisher = publisher
        self._wall = wall
        self._told: OrderedDict[str, tuple[str, bytes, Receipt]] = OrderedDict()
        self._lock = threading.Lock()

    def accepted(self, taken: Taken) -> Record:
        """The record of a command that is taken; nothing is told or written yet."""
        command = taken.command
        return Record(
            digest=taken.digest,
            signer=taken.signer,
            audience=command.audience,
            seq=command.seq,
            reply_to=self._gate.reply_topic(command),
            response=self._response(command.id, command.verb, "accepted"),
            command=command,
        )

    def next_of(
        self,
        record: Record,
        state: ReceiptState,
        reason: str = "",
        detail: str = "",
        result: Mapping[str, Scalar] | None = None,
    ) -> Record:
        """The record with its next receipt."""
        before = record.response
        response = self._response(before.id, before.verb, state, reason, detail, result)
        ended = state not in ("accepted", "running")
        return Record(
            digest=record.digest,
            signer=record.signer,
            audience=record.audience,
            seq=record.seq,
            reply_to=record.reply_to,
            response=response,
            command=None if ended else record.command,
        )

    def tell(self, record: Record) -> None:
        """Send the newest receipt of a record; of one that has ended, until the broker has it."""
        raw = encode(record.response)
        receipt = self._publisher.publish(record.reply_to, raw, 1, False)
        if record.ended:
            with self._lock:
                self._told[record.response.id] = (record.reply_to, raw, receipt)
                while len(self._told) > UNTOLD:
                    self._told.popitem(last=False)

    def tell_again(self, repeated: Repeated) -> None:
        self._publisher.publish(repeated.reply_to, encode(repeated.response), 1, False)

    def refuse(self, denied: Denied) -> None:
        """Answer one that was not taken; nothing is kept of it."""
        verb = clipped(denied.verb, 64)
        response = self._response(clipped(denied.id, 64), verb, "refused", denied.reason.value, denied.detail)
        self._publisher.publish(self._gate.refusal_topic(denied.verb), encode(response), 1, False)

    def connected(self) -> None:
        """Tell the last receipts again that the broker did not acknowledge. For the link's `on_connect`."""
        with self._lock:
            waiting = list(self._told.items())
        for name, (topic, raw, receipt) in waiting:
            delivery = receipt.delivery()
            if delivery is Delivery.FAILED:
                receipt = self._publisher.publish(topic, raw, 1, False)
            with self._lock:
                if delivery in (Delivery.ACKNOWLEDGED, Delivery.REFUSED):
                    self._told.pop(name, None)
                elif name in self._told:
                    self._told[name] = (topic, raw, receipt)

    def _response(
        self,
        name: str,
        verb: str,
        state: ReceiptState,
        reason: str = "",
        detail: str = "",
        result: Mapping[str, Scalar] | None = None,
    ) -> Response:
        return Response(
            **self._stamp.head(self._wall()),
            id=name,
            verb=verb,
            state=state,
            reason=reason,
            detail=clipped(detail),
            result={key: _fit(value) for key, value in (result or {}).items()},
        )


def _fit(value: Scalar) -> Scalar:
    if isinstance(value, str):
        return clipped(value)
    return rounded(value, 6) if isinstance(value, float) else value
