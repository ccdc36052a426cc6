"""What a broker's answer to one publish means."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from edge_runtime.fleet.carried import Sent
from edge_runtime.telemetry.publisher import Delivery


@dataclass
class Info:
    """As paho's MQTTMessageInfo."""

    mid: int = 7
    published: bool = False
    fault: Exception | None = None

    def is_published(self) -> bool:
        if self.fault:
            raise self.fault
        return self.published


def sent(info: Info, codes: dict[int, int] | None = None) -> tuple[Sent, threading.Event]:
    over = threading.Event()
    return Sent(info, over, codes), over  # type: ignore[arg-type]


def test_pending_until_acknowledged_and_failed_when_the_connection_goes() -> None:
    info = Info()
    receipt, over = sent(info)
    assert receipt.delivery() is Delivery.PENDING
    over.set()
    assert receipt.delivery() is Delivery.FAILED
    info.published = True
    assert receipt.delivery() is Delivery.ACKNOWLEDGED, "it was acknowledged before the end"


@pytest.mark.parametrize(
    ("code", "delivery", "denied"),
    [
        (0x87, Delivery.REFUSED, True),
        (0x90, Delivery.REFUSED, False),
        (0x99, Delivery.REFUSED, False),
        (0x97, Delivery.FAILED, False),
        (0x80, Delivery.FAILED, False),
        (0x83, Delivery.FAILED, False),
    ],
)
def test_a_reason_code_says_whether_to_try_again(code: int, delivery: Delivery, denied: bool) -> None:
    codes = {7: code, 8: 0x87}
    receipt, _ = sent(Info(published=True), codes)
    assert [receipt.delivery(), receipt.delivery()] == [delivery, delivery]
    assert receipt.denied is denied
    assert codes == {8: 0x87}


@pytest.mark.parametrize("fault", [ValueError("queue full"), RuntimeError("no connection")])
def test_what_never_left_has_failed(fault: Exception) -> None:
    receipt, _ = sent(Info(fault=fault))
    assert receipt.delivery() is Delivery.FAILED
