"""Fault 24: certificates that are expired, not yet valid, revoked, of another authority or for another host, on either side.

Each is told by its own message with a mend; there is no fall back to plain text; inference and spool go on meanwhile.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fleet.brokers import Mosquitto, wait_until

from edge_runtime.fleet.backoff import Cause
from edge_runtime.fleet.link import LinkState, MqttLink
from edge_runtime.fleet.settings import MqttSettings
from edge_runtime.records import Event
from edge_runtime.telemetry import builders
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.publisher import Delivery
from edge_runtime.telemetry.spool import Entry, Grade
from edge_runtime.telemetry.sqlite_spool import SqliteSpool
from edge_runtime.telemetry.topics import Topics
from edge_runtime.telemetry.uplink import Uplink
from faults.authority import DAY, NOW, Authority

pytestmark = pytest.mark.integration
TOPICS = Topics("store", "box")


def told(key: str) -> bytes:
    """An event as the device says it."""
    happened = Event(key, "slot", "cam", 1_700_000_000.0, "a", "stocked", "empty", 0.9)
    return builders.bounded_event(builders.event(Stamp(TOPICS, 1), 1, happened))


class Scene:
    """A broker that wants certificates, and devices that come to it."""

    def __init__(self, folder: Path, mosquitto: str) -> None:
        self.folder, self._mosquitto = folder, mosquitto
        self.good, self.evil = Authority(folder, "good"), Authority(folder, "evil")
        self.mine = self.good.issue("mine")
        self._broker: Mosquitto | None = None

    def serve(self, cert: Path, key: Path, crl: Path | None = None) -> None:
        self.end()
        revoked = f"\ncrlfile {crl}" if crl else ""
        listener = f"cafile {self.good.file}\ncertfile {cert}\nkeyfile {key}\nrequire_certificate true{revoked}"
        self._broker = Mosquitto(self._mosquitto, self.folder, listener=listener)
        self._broker.start()

    def settings(self, **options: object) -> MqttSettings:
        assert self._broker is not None
        files = {"ca_file": self.good.file, "cert_file": self.mine.cert, "key_file": self.mine.key}
        return MqttSettings(f"mqtts://127.0.0.1:{self._broker.port}", "box", **(files | options))  # type: ignore[arg-type]

    def end(self) -> None:
        if self._broker is not None:
            self._broker.stop()
        self._broker = None


@pytest.fixture
def scene(tmp_path: Path, program: Callable[[str, str], str]) -> Iterator[Scene]:
    made = Scene(tmp_path, program("mosquitto", "mosquitto"))
    yield made
    made.end()


def tried(settings: MqttSettings) -> MqttLink:
    """A link after its first attempt, still running."""
    link = MqttLink(settings, Stamp(TOPICS, 1), chance=lambda: 1.0)
    link.start()
    wait_until(lambda: link.state in (LinkState.ONLINE, LinkState.WAITING), "an end of the attempt")
    return link


def refused(settings: MqttSettings, *words: str, cause: Cause = Cause.TLS) -> None:
    link = tried(settings)
    try:
        assert link.cause is cause, link.problem
        for word in words:
            assert word in link.problem
        assert link.publish(TOPICS.event("slot"), b"{}").delivery() is Delivery.FAILED
    finally:
        link.stop()


def test_the_certificate_of_the_broker(scene: Scene) -> None:
    cases = (
        (scene.good.issue("old", NOW - 30 * DAY, NOW - DAY), "has expired", "set the device's clock"),
        (scene.good.issue("early", NOW + DAY, NOW + 30 * DAY), "is not valid yet", "clock"),
        (scene.evil.issue("stranger"), "authority that is not trusted", "[mqtt] ca_file"),
        (scene.good.issue("elsewhere", host="broker.example"), "another address", "url"),
        (scene.good.issue("ten", host="10.9.9.9"), "another address", "url"),
    )
    for pair, *words in cases:
        scene.serve(pair.cert, pair.key)
        refused(scene.settings(), "certificate of the broker", *words)


def test_a_certificate_of_the_broker_that_was_taken_back(scene: Scene) -> None:
    server = scene.good.issue("server")
    scene.serve(server.cert, server.key)
    link = tried(scene.settings(crl_file=scene.good.revoke([1])))
    assert link.connected, link.problem
    link.stop()
    refused(scene.settings(crl_file=scene.good.revoke([server.serial])), "was revoked", "Do not trust")
    refused(scene.settings(crl_file=scene.good.revoke([1], NOW - DAY)), "[mqtt] crl_file has expired", "Renew")
    refused(scene.settings(crl_file=scene.evil.revoke([1])), "holds no list of its authority", "ca_file")


def test_the_certificate_of_the_device(scene: Scene) -> None:
    server = scene.good.issue("server")
    taken_back = scene.good.issue("taken-back")
    scene.serve(server.cert, server.key, scene.good.revoke([taken_back.serial]))
    old = scene.good.issue("old-device", NOW - 30 * DAY, NOW - DAY)
    stranger = scene.evil.issue("strange-device")
    refused(scene.settings(cert_file=old.cert, key_file=old.key), "device's certificate has expired", "Renew [mqtt]")
    refused(scene.settings(cert_file=taken_back.cert, key_file=taken_back.key), "was revoked", "Renew [mqtt]")
    refused(scene.settings(cert_file=stranger.cert, key_file=stranger.key), "authority of the device's certificate")
    refused(scene.settings(cert_file=None, key_file=None), "certificate of the device", "[mqtt] cert_file")


def test_files_that_are_of_no_use(scene: Scene) -> None:
    server, other = scene.good.issue("server"), scene.good.issue("other")
    scene.serve(server.cert, server.key)
    rubbish = scene.folder / "rubbish"
    rubbish.write_text("rubbish")
    absent = scene.folder / "absent"
    for options, words in (
        ({"key_file": other.key}, ("does not fit the certificate", "Put back the key")),
        ({"cert_file": absent}, ("cert_file", "absent", "No such file")),
        ({"key_file": absent}, ("key_file", "absent", "No such file")),
        ({"ca_file": absent}, ("ca_file", "absent", "No such file")),
        ({"crl_file": absent}, ("crl_file", "absent", "No such file")),
        ({"cert_file": rubbish}, ("cert_file", "PEM")),
        ({"ca_file": rubbish}, ("ca_file", "PEM")),
        ({"crl_file": rubbish}, ("crl_file", "X509 CRL")),
    ):
        refused(scene.settings(**options), *words, cause=Cause.CREDENTIALS)


def test_renewed_files_are_taken_at_the_next_connect_and_the_spool_keeps_what_happened_meanwhile(scene: Scene) -> None:
    server = scene.good.issue("server")
    scene.serve(server.cert, server.key)
    old, new = scene.good.issue("mine", NOW - 30 * DAY, NOW - DAY), scene.good.issue("renewed")
    link = MqttLink(scene.settings(cert_file=old.cert, key_file=old.key), Stamp(TOPICS, 1), chance=lambda: 0.02)
    uplink = Uplink(link, SqliteSpool(scene.folder / "spool.db"))
    link.start()
    uplink.start()
    uplink.offer(Entry("e1", Grade.EVENT, TOPICS.event("slot"), told("e1")))
    wait_until(lambda: link.cause is Cause.TLS, "refused")
    assert link.report().certificate_days == pytest.approx(-1.0, abs=0.2)
    assert any("ended 1 days ago" in problem and "mine.crt" in problem for problem in link.problems)
    shutil.copy(new.cert, old.cert)
    shutil.copy(new.key, old.key)
    wait_until(lambda: uplink.counts().acknowledged == 1, "the event, over the renewed certificate")
    assert link.problems == ()
    uplink.stop()
    link.stop()


def test_the_end_of_the_own_certificate_is_said_three_weeks_before(scene: Scene) -> None:
    server = scene.good.issue("server")
    scene.serve(server.cert, server.key)
    for days, told in ((22, False), (20, True)):
        soon = scene.good.issue(f"soon{days}", until=NOW + days * DAY + timedelta(hours=1))
        link = tried(scene.settings(cert_file=soon.cert, key_file=soon.key))
        assert link.connected
        assert any("ends in 20 days" in problem for problem in link.problems) is told
        link.stop()


def test_nothing_is_ever_said_in_plain_text() -> None:
    """A port that does not speak TLS gets a TLS greeting, and not one byte of MQTT."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                try:
                    end, _ = server.accept()
                except TimeoutError:
                    continue
                with end:
                    end.settimeout(1.0)
                    received.append(end.recv(65_536))
                    end.sendall(b"\x20\x02\x00\x00" * 4)

        thread = threading.Thread(target=listen)
        thread.start()
        link = MqttLink(
            MqttSettings(f"mqtts://127.0.0.1:{server.getsockname()[1]}", "box"), Stamp(TOPICS, 1), chance=lambda: 0.005
        )
        link.start()
        wait_until(lambda: len(received) >= 3, "three attempts")
        link.stop()
        over.set()
        thread.join()
    assert "TLS on that port" in link.report().last_error
    assert all(piece[:1] == b"\x16" and b"MQTT" not in piece and b"edge/v1" not in piece for piece in received)


def test_a_list_of_brokers_is_all_tls_or_none() -> None:
    with pytest.raises(Exception, match="must not fall back to plain text"):
        MqttSettings("mqtts://a", "box", others=("mqtt://b",))
