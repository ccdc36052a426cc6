"""The brokers of a whole fleet, as `fleet init` writes them: real programs, real certificates, and clients that have them."""

from __future__ import annotations

import getpass
import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from benchmarks.fleet.cluster import LocalCluster
from edge_runtime.fleet.local_broker import free_port
from edge_runtime.workshop.enrolment import members
from edge_runtime.workshop.enrolment.begin import Plan, begin
from edge_runtime.workshop.enrolment.folder import Folder
from edge_runtime.workshop.enrolment.identity import parse
from tests.fleet.brokers import wait_until


class FleetFolder:
    """An operator's folder, changed as the verbs change it."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.folder = Folder(path)
        self.begun = begin(self.folder, plan, None, time.time)

    def enrol(self, name: str, *groups: str, renew: bool = False) -> Path:
        """The folder of one member."""
        want = members.Wanted(parse(name), groups)
        done = members.enrol(self.folder, [want], members.authority(self.folder, None), time.time, renew)
        return done.folders[name]

    def revoke(self, name: str) -> None:
        members.revoke(self.folder, [parse(name)], members.authority(self.folder, None), time.time)


class MosquittoFleet:
    """mosquitto from the fleet's folder; only paths, the log and the address are others."""

    def __init__(self, program: str, place: Path) -> None:
        self._port = free_port()
        self.places = (("localhost", self._port),)
        self.fleet = FleetFolder(place / "fleet", Plan("mosquitto", ("localhost",), self._port))
        self._program, self._place = program, place
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        text = (self.fleet.folder / "mosquitto/mosquitto.conf").read_text("utf-8")
        for shipped, here in (
            (f"listener {self._port}\n", f"listener {self._port} 127.0.0.1\n"),
            ("/etc/mosquitto/edge/", f"{self.fleet.folder / 'mosquitto'}/"),
            ("/var/lib/mosquitto/", f"{self._place}/"),
            ("log_dest syslog", f"log_dest file {self._place}/mosquitto.log\nuser {getpass.getuser()}"),
        ):
            assert shipped in text, f"{shipped!r} is no longer in the shipped file"
            text = text.replace(shipped, here)
        (self._place / "mosquitto.conf").write_text(text, "utf-8")
        self._process = subprocess.Popen([self._program, "-c", str(self._place / "mosquitto.conf")])
        wait_until(self._listens, "mosquitto listens")

    def refresh(self) -> None:
        """What the verbs say is to be done after a change."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)
        time.sleep(0.5)

    def kill(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        process.wait(10)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(10)

    def _listens(self) -> bool:
        assert self._process is not None and self._process.poll() is None, "mosquitto ended at once"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


class NatsFleet:
    """Three nodes from the fleet's folder; only the addresses and the place of the store are others."""

    def __init__(self, place: Path) -> None:
        plan = Plan("nats", ("127.0.0.1", "127.0.0.2", "127.0.0.3"))
        self.fleet = FleetFolder(place / "fleet", plan)
        self.cluster = LocalCluster(place / "nodes", 3, self.fleet.folder.path)
        self.places = tuple((node.host, node.mqtt) for node in self.cluster.nodes)

    def start(self) -> None:
        self.cluster.start()

    def refresh(self) -> None:
        self.cluster.reload()
        time.sleep(0.5)

    def stop(self) -> None:
        self.cluster.stop()


class Member:
    """A client with a member's certificate, or with none. `answer` is what the broker said to its CONNECT, None if nothing."""

    def __init__(
        self,
        place: tuple[str, int],
        authority: Path,
        papers: Path | None,
        client_id: str,
        version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311,
        wait_s: float = 10.0,
    ) -> None:
        self.answer: ReasonCode | None = None
        self.messages: list[tuple[str, bytes, bool]] = []
        self.granted: dict[int | None, list[ReasonCode]] = {}
        self.refused_sends: list[ReasonCode] = []
        self.gone = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=version, reconnect_on_failure=False)
        context = ssl.create_default_context(cafile=authority)
        if papers is not None:
            certificate = next(path for path in papers.glob("*.crt") if path.name != "ca.crt")
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self._client.tls_set_context(context)
        self._client.on_connect = self._connected
        self._client.on_disconnect = lambda *_: self.gone.set()
        self._client.on_subscribe = self._subscribed
        self._client.on_publish = self._published
        self._client.on_message = lambda _c, _d, m: self.messages.append((m.topic, bytes(m.payload), bool(m.retain)))
        self._answered = threading.Event()
        try:
            self._client.connect(*place, keepalive=20)
        except OSError:
            self.gone.set()
            return
        self._client.loop_start()
        wait_until(lambda: self._answered.is_set() or self.gone.is_set(), "the broker's answer", wait_s)

    @property
    def admitted(self) -> bool:
        return self.answer is not None and not self.answer.is_failure

    def subscribe(self, pattern: str, qos: int = 1) -> bool:
        """Whether the broker granted it."""
        _, mid = self._client.subscribe(pattern, qos)
        wait_until(lambda: mid in self.granted or self.gone.is_set(), f"an answer to the subscription to {pattern}")
        return bool(self.granted.get(mid)) and not self.granted[mid][0].is_failure

    def send(self, topic: str, payload: bytes = b"x", retain: bool = False) -> None:
        """Sent and acknowledged, which says nothing about whether it went on."""
        self.start_sending(topic, payload, retain).wait_for_publish(10)

    def start_sending(self, topic: str, payload: bytes, retain: bool = False) -> paho.MQTTMessageInfo:
        return self._client.publish(topic, payload, 1, retain)

    def topics(self) -> set[str]:
        return {topic for topic, _, _ in tuple(self.messages)}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: paho.Client, data: object, flags: object, code: ReasonCode, props: object) -> None:
        self.answer = code
        self._answered.set()

    def _subscribed(
        self, client: paho.Client, data: object, mid: int, codes: list[ReasonCode], props: Properties | None
    ) -> None:
        self.granted[mid] = codes

    def _published(
        self, client: paho.Client, data: object, mid: int, code: ReasonCode, props: Properties | None
    ) -> None:
        if code.is_failure:
            self.refused_sends.append(code)
