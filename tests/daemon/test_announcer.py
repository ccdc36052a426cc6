"""Home Assistant is told of the device, told again when it starts, and the device goes when that is switched off."""

from __future__ import annotations

from pathlib import Path

from fleet.memory_broker import MemoryBroker, MemoryLink, MemoryReceipt

from edge_runtime.daemon.announcer import FILE, Announcer
from edge_runtime.fleet.session import Incoming
from edge_runtime.telemetry.home_assistant import BIRTH_TOPIC, config_topic
from edge_runtime.telemetry.publisher import Delivery
from edge_runtime.telemetry.topics import Topics

TOPICS = Topics("lyon", "box-1")
RENAMED = Topics("lyon", "box-2")


class Shelf:
    """Retains over a link, as the uplink does."""

    def __init__(self, link: MemoryLink) -> None:
        self.link = link
        self.said = 0

    def retain(self, topic: str, payload: bytes, first: bool = False) -> None:
        self.said += 1
        self.link.publish(topic, payload, 1, True)


class Device:
    def __init__(self, folder: Path, broker: MemoryBroker, wanted: bool, topics: Topics = TOPICS) -> None:
        self.link = MemoryLink(broker)
        self.shelf = Shelf(self.link)
        self.announcer = Announcer(folder, topics, ("cam",), wanted)
        self.link.listen((BIRTH_TOPIC,), self.announcer.arrived)
        self.link.connect()
        self.announcer.start(self.shelf)

    def attend(self, times: int = 3) -> None:
        for _ in range(times):
            self.announcer.attend(self.shelf, self.link)


def kept(broker: MemoryBroker) -> dict[str, bytes]:
    return {topic: payload for topic, payload in broker.retained.items() if payload}


def test_a_device_is_announced_and_stays_so(tmp_path: Path) -> None:
    broker = MemoryBroker()
    Device(tmp_path, broker, wanted=True).attend()
    Device(tmp_path, broker, wanted=True).attend()
    assert list(kept(broker)) == [config_topic(TOPICS)]


def test_it_is_said_again_when_home_assistant_starts(tmp_path: Path) -> None:
    device = Device(tmp_path, MemoryBroker(), wanted=True)
    for payload, retained, said in ((b"offline", False, 1), (b"online", True, 1), (b"online", False, 2)):
        device.announcer.arrived(Incoming(BIRTH_TOPIC, payload, retained))
        device.attend()
        assert device.shelf.said == said


def test_switched_off_it_goes(tmp_path: Path) -> None:
    broker = MemoryBroker()
    Device(tmp_path, broker, wanted=True).attend()
    Device(tmp_path, broker, wanted=False).attend()
    assert kept(broker) == {}
    published = len(broker.published)
    Device(tmp_path, broker, wanted=False).attend()
    assert len(broker.published) == published


def test_a_device_that_never_was_announced_says_nothing_of_it(tmp_path: Path) -> None:
    broker = MemoryBroker()
    Device(tmp_path, broker, wanted=False).attend()
    assert broker.published == []
    assert not (tmp_path / FILE).exists()


def test_a_renamed_device_takes_its_old_name_away(tmp_path: Path) -> None:
    broker = MemoryBroker()
    Device(tmp_path, broker, wanted=True).attend()
    Device(tmp_path, broker, wanted=True, topics=RENAMED).attend()
    assert list(kept(broker)) == [config_topic(RENAMED)]


def test_what_is_to_go_goes_when_the_broker_is_there_again(tmp_path: Path) -> None:
    broker = MemoryBroker()
    Device(tmp_path, broker, wanted=True).attend()
    broker.acknowledges = False
    device = Device(tmp_path, broker, wanted=False)
    device.attend(1)
    broker.retained[config_topic(TOPICS)] = b"lost on its way"
    broker.cut()
    device.attend()
    assert kept(broker)
    broker.acknowledges = True
    device.link.connect()
    device.attend()
    assert kept(broker) == {}


class Forbidden(MemoryLink):
    """To a broker that says that this device may not publish there (MQTT 5)."""

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> MemoryReceipt:
        return MemoryReceipt(Delivery.REFUSED)


def test_what_the_broker_does_not_let_go_stays_noted(tmp_path: Path) -> None:
    broker = MemoryBroker()
    Device(tmp_path, broker, wanted=True).attend()
    device = Device(tmp_path, broker, wanted=False)
    device.link = Forbidden(broker)
    device.link.connect()
    device.attend()
    assert list(kept(broker)) == [config_topic(TOPICS)]
    Device(tmp_path, broker, wanted=False).attend()
    assert kept(broker) == {}


def test_a_spoiled_note_is_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff{")
    broker = MemoryBroker()
    Device(tmp_path, broker, wanted=False).attend()
    assert broker.published == []
