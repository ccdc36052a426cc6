"""Floods a broker at a steady rate: `python -m benchmarks.flood.flooder PORT PER_S < commands`.

Reads lines `<topic> <file>`: publish every line of the file (hex) in turn, under the topic, until the next line; `-` is
silence. Packets are laid out beforehand and written in batches: what floods must cost little itself.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from pathlib import Path

BATCH_S = 0.01
_CONNECT = bytes.fromhex("10130004 4d515454 04020000 0007 666c6f6f646572".replace(" ", ""))
"""MQTT 3.1.1, clean session, no keep-alive, client id `flooder`."""


def publish_packet(topic: str, payload: bytes) -> bytes:
    """PUBLISH, QoS 0."""
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + payload
    size, length = len(body), bytearray()
    while True:
        size, digit = divmod(size, 128)
        length.append(digit | (0x80 if size else 0))
        if not size:
            return b"\x30" + bytes(length) + body


class Flooder:
    def __init__(self, port: int, per_s: float) -> None:
        self._per_s = per_s
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(_CONNECT)
        answer = self._socket.recv(4)
        if answer[:1] != b"\x20" or answer[3] != 0:
            raise SystemExit(f"the broker refused the flooder: {answer.hex()}")
        self._packets: list[bytes] = []
        self._owed = 0.0
        self._next = 0
        self.sent = 0

    def aim(self, order: str) -> None:
        topic, _, path = order.partition(" ")
        lines = Path(path).read_text().split() if path else []
        self._packets = [publish_packet(topic, bytes.fromhex(line)) for line in lines]
        self._owed, self._next = 0.0, 0

    def step(self, elapsed_s: float) -> None:
        """Send what is due. A broker that does not take it slows the flood; nothing is made up for."""
        if not self._packets:
            return
        self._owed = min(self._owed + elapsed_s * self._per_s, self._per_s * 0.1)
        count = int(self._owed)
        self._owed -= count
        batch = [self._packets[(self._next + n) % len(self._packets)] for n in range(count)]
        self._next += count
        self._socket.sendall(b"".join(batch))
        self.sent += count


def main() -> int:
    flooder = Flooder(int(sys.argv[1]), float(sys.argv[2]))
    before_s = time.monotonic()
    while True:
        if select.select([sys.stdin], [], [], BATCH_S)[0]:
            order = sys.stdin.readline()
            if not order:
                print(flooder.sent, flush=True)
                return 0
            flooder.aim(order.strip() if order.strip() != "-" else "")
            before_s = time.monotonic()
        now_s = time.monotonic()
        flooder.step(now_s - before_s)
        before_s = now_s


if __name__ == "__main__":
    sys.exit(main())
