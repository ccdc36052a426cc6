"""From a signed repository to the model in charge, over a real broker: a device process, its errands, its trial."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.errors import Unavailable
from edge_runtime.fleet.local_broker import LocalBroker, find_nats_server
from tests.daemon.device import Device
from tests.daemon.operator import Operator
from tests.daemon.test_candidacy import wrong_golden
from tests.lifecycle.bundles import make_bundle

pytestmark = pytest.mark.integration
changes = pytest.importorskip("edge_runtime.workshop.repository.changes")


class Market:
    """A signed repository in a folder."""

    def __init__(self, folder: Path) -> None:
        from edge_runtime.workshop.repository.keys import KeyFolders
        from edge_runtime.workshop.repository.plan import NEWCOMER

        self.folder = folder / "repository"
        self._keys = KeyFolders([folder / "keys"])
        changes.init(self.folder, NEWCOMER, self._keys)
        self.root = self.folder / "root.json"
        self._bundles = folder
        self._release = 10
        """The devices of these tests have run release 2 before."""

    def publish(self, version: str, behaviour: str = "good") -> None:
        members = {"golden.npz": wrong_golden()} if behaviour == "always_empty" else None
        path = self._bundles / f"shelf-test-{version}.zip"
        self._release += 1
        changes.publish(
            self.folder, [make_bundle(path, version, behaviour, members=members)], self._keys, self._release
        )


@pytest.fixture
def market(tmp_path: Path) -> Market:
    return Market(tmp_path)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    try:
        find_nats_server()
    except Unavailable as fault:
        pytest.skip(str(fault))
    with LocalBroker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def device(tmp_path: Path, market: Market, broker: LocalBroker) -> Iterator[Device]:
    with Device(tmp_path / "device") as made:
        made.extra = (
            f'[model]\nname = "shelf-test"\nrepository = "{market.folder}"\nroot = "{market.root}"\n'
            "shadow_s = 0\ntrial_s = 2\ntrial_frames = 10\n"
            f'[mqtt]\nurl = "{broker.url}"\ncommands = "unsigned"\n'
        )
        yield made


def test_install_activate_trial_commit_then_a_bad_one_is_refused(
    device: Device, market: Market, broker: LocalBroker
) -> None:
    reader = Operator(broker.port)
    market.publish("1.2.0")
    device.start()
    device.until(lambda record: record.state == "ok")

    installed = reader.command("model.install", 1, name="shelf-test")
    assert (installed["state"], installed["result"]["version"]) == ("succeeded", "1.2.0"), installed
    states = [record["state"] for name, record in reader.heard if name == "resp/model.install"]
    assert states == ["accepted", "running", "succeeded"]
    began = reader.command("model.activate", 2, name="shelf-test", version="1.2.0", why="pilot")
    assert began["state"] == "succeeded", began
    assert (began["result"]["phase"], began["result"]["variant"]) == ("trial", "model.onnx")
    status = reader.until("status", lambda record: record.get("candidate", {}).get("phase") == "trial")
    assert status["candidate"]["version"] == "1.2.0"
    reader.until("event/model", lambda record: record["detail"].get("phase") == "committed")
    record = device.until(lambda record: record.candidate is None and record.model is not None)
    assert record.model is not None
    assert (record.model.version, record.model.phase, record.model.origin) == ("1.2.0", "committed", "repository")
    assert record.model.release == record.model.floor > 0
    assert record.state == "ok" and record.reasons == ()

    market.publish("1.3.0", "garbage")
    assert reader.command("model.install", 3)["result"]["version"] == "1.3.0", "the newest of its own model"
    refused = reader.command("model.activate", 4, name="shelf-test", version="1.3.0")
    assert refused["state"] == "failed" and refused["reason"] == "ModelFault", refused
    assert reader.command("model.activate", 5, name="shelf-test", version="1.3.0")["state"] == "refused"
    record = device.until(lambda record: record.state == "ok")
    assert record.model is not None and record.model.version == "1.2.0"
    assert device.end() == 0
    reader.close()


def test_a_model_that_is_signed_and_proved_and_wrong_is_taken_back_by_itself(
    device: Device, market: Market, broker: LocalBroker
) -> None:
    reader = Operator(broker.port)
    market.publish("1.2.0", "late_nan")
    device.start()
    device.until(lambda record: record.state == "ok")
    assert reader.command("model.install", 1)["state"] == "succeeded"
    assert reader.command("model.activate", 2, name="shelf-test", version="1.2.0")["state"] == "succeeded"
    event = reader.until("event/model", lambda record: record["detail"].get("phase") == "rolled_back")
    assert (event["was"], event["now"]) == ("1.2.0", "1.1.0") and "NaN" in event["detail"]["reason"]
    record = device.until(lambda record: record.model is not None and record.model.version == "1.1.0")
    assert record.model is not None and record.model.phase == "committed"
    again = reader.command("model.activate", 3, name="shelf-test", version="1.2.0")
    assert again["state"] == "refused" and "quarantined" in again["detail"]
    assert reader.command("model.release", 4, sha256=event["detail"]["sha256"])["state"] == "succeeded"
    assert device.end() == 0
    reader.close()


def test_what_the_repository_does_not_vouch_for_never_comes_in(
    device: Device, market: Market, broker: LocalBroker
) -> None:
    reader = Operator(broker.port)
    market.publish("1.2.0")
    bundle = next((market.folder / "targets").rglob("*shelf-test-1.2.0.zip"))
    raw = bytearray(bundle.read_bytes())
    raw[len(raw) // 2] ^= 1
    bundle.write_bytes(raw)
    device.start()
    device.until(lambda record: record.state == "ok")
    receipt = reader.command("model.install", 1)
    assert receipt["state"] == "refused", receipt
    assert reader.command("model.install", 2, name="another")["state"] in ("refused", "failed")
    assert not list((device.state_dir / "staging").glob("*.zip"))
    record = device.until(lambda record: record.state == "ok")
    assert record.model is not None and record.model.version == "1.1.0"
    assert device.end() == 0
    reader.close()
