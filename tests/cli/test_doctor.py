from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from edge_runtime.cli import checks, checks_remote
from edge_runtime.config import DeviceConfig, Environment, MqttConfig, decode_config
from edge_runtime.lifecycle.trust.command_keys import CommandKeys, encode_command_keys
from tests.daemon.test_model_door import Market
from tests.faults.authority import Authority

from .conftest import Run, Site

CONFIG = """
[device]
id = "bay-7"
site = "store-1"
[[camera]]
name = "aisle-1"
source = "{source}"
layout = "{layout}"
[mqtt]
url = "mqtt://127.0.0.1:{port}"
"""


@pytest.fixture
def verdicts(run: Run, site: Site, tmp_path: Path) -> Mapping[str, Mapping[str, str]]:
    """What the doctor says of a device with a camera that works and a broker that is away."""
    config = tmp_path / "device.toml"
    config.write_text(CONFIG.format(source=site.full, layout=site.layout, port=9))
    ran = run("doctor", "--config", config, "--json")
    assert ran.code == 1
    assert all(list(line) == ["check", "verdict", "found", "mend"] for line in ran.lines)
    return {line["check"]: line for line in ran.lines}


def test_the_installation_is_fine_and_the_faults_are_named(verdicts: Mapping[str, Mapping[str, str]]) -> None:
    for name in ("machine", "clock", "cv2", "providers", "numpy", "config", "camera aisle-1"):
        assert verdicts[name]["verdict"] == "ok", verdicts[name]
    assert "960x720" in verdicts["camera aisle-1"]["found"]
    assert verdicts["broker"]["verdict"] == "fail"
    assert "[mqtt] url" in verdicts["broker"]["mend"]


def test_a_person_sees_the_mend_under_the_fault(run: Run, tmp_path: Path) -> None:
    ran = run("doctor", "--config", tmp_path / "none.toml")
    assert ran.code == 1
    assert "fail  config" in ran.out
    assert "-> Make one with `edge-runtime config init`" in ran.out


def test_offline_contacts_nobody(run: Run, site: Site, tmp_path: Path) -> None:
    config = tmp_path / "device.toml"
    config.write_text(CONFIG.format(source="http://127.0.0.1:9/a.mjpg", layout=site.layout, port=9))
    names = {line["check"] for line in run("doctor", "--config", config, "--offline", "--json").lines}
    assert "broker" not in names
    assert "camera aisle-1" not in names


def test_a_broker_that_answers() -> None:
    with socket.socket() as broker:
        broker.bind(("127.0.0.1", 0))
        broker.listen()
        found = checks_remote.broker(MqttConfig((f"mqtt://127.0.0.1:{broker.getsockname()[1]}",)))
    assert found.verdict == "ok"
    assert checks_remote.broker(None).verdict == "ok"


@pytest.mark.parametrize(
    ("trusts", "shows", "verdict", "found"),
    [
        ("home", "home", "ok", "answers"),
        ("other", "home", "fail", "an authority that is not trusted here"),
        ("home", "other", "fail", "it does not know the authority of the device's certificate"),
    ],
)
def test_a_broker_and_a_device_that_do_not_trust_each_other(
    tmp_path: Path, trusts: str, shows: str, verdict: str, found: str
) -> None:
    authorities = {name: Authority(tmp_path, name) for name in ("home", "other")}
    own, its = authorities[shows].issue("device"), authorities["home"].issue("broker")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authorities["home"].file))
    context.load_cert_chain(its.cert, its.key)
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as broker:

        def greet() -> None:
            line, _ = broker.accept()
            with line, suppress(OSError), context.wrap_socket(line, server_side=True) as inside:
                inside.recv(1)

        Thread(target=greet, daemon=True).start()
        url = f"mqtts://127.0.0.1:{broker.getsockname()[1]}"
        files = {"ca_file": authorities[trusts].file, "cert_file": own.cert, "key_file": own.key}
        said = checks_remote.broker(MqttConfig((url,), **files))
    assert (said.verdict, bool(said.mend)) == (verdict, verdict == "fail")
    assert found in said.found


def test_a_disk_that_is_mounted_read_only_is_not_a_question_of_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = os.statvfs(tmp_path).f_flag
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=flags | os.ST_RDONLY))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**30))
    found = checks.disk(tmp_path / "state")
    assert found.verdict == "fail" and "read-only" in found.found and found.mend


def test_a_state_folder_that_is_yet_to_be_made_is_judged_by_where_it_will_be(tmp_path: Path) -> None:
    assert checks.disk(tmp_path / "a" / "b").verdict in ("ok", "warn")


def test_a_state_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    found = checks.disk(tmp_path / "state")
    assert found.verdict == "warn"
    assert "is no folder that this user can write" in found.found


def device_of(folder: Path, more: str) -> DeviceConfig:
    text = '[device]\nid = "d"\nsite = "s"\n[[camera]]\nname = "a"\nsource = "rtsp://h"\nlayout = "l.json"\n'
    return decode_config(text + more, folder / "device.toml", Environment())


SIGNED = '[mqtt]\nurl = "mqtt://h"\ncommands = "signed"\ncommand_keys = "keys.json"\n'


def test_who_may_command_is_told_and_what_is_missing_for_it(tmp_path: Path) -> None:
    assert checks_remote.commands(device_of(tmp_path, "")).verdict == "ok"
    unsigned = checks_remote.commands(device_of(tmp_path, '[mqtt]\nurl = "mqtt://h"\ncommands = "unsigned"\n'))
    assert unsigned.verdict == "warn" and "whoever" in unsigned.found
    missing = checks_remote.commands(device_of(tmp_path, SIGNED))
    assert missing.verdict == "fail" and "every command is refused" in missing.found and "fleet init" in missing.mend
    (tmp_path / "keys.json").write_text("{}")
    assert checks_remote.commands(device_of(tmp_path, SIGNED)).verdict == "fail"
    signing = pytest.importorskip("edge_runtime.workshop.enrolment.signing", reason="cryptography is not installed")
    entry = signing.OperatorKey.create(tmp_path / "anna.pem", "anna").public_entry()
    (tmp_path / "keys.json").write_bytes(encode_command_keys(CommandKeys((entry,))))
    found = checks_remote.commands(device_of(tmp_path, SIGNED))
    assert found.verdict == "ok" and "anna" in found.found
    wanted = '[mqtt]\nurl = "mqtt://h"\ncommands = "signed"\n[model]\nrepository = "r"\nroot = "root.json"\n'
    assert checks_remote.commands(device_of(tmp_path, wanted)).verdict == "warn"


def test_config_check_names_a_key_file_that_is_none(run: Run, site: Site, tmp_path: Path) -> None:
    config = tmp_path / "device.toml"
    text = CONFIG.format(source="http://127.0.0.1:9/a.mjpg", layout=site.layout, port=9)
    config.write_text(text.replace("[mqtt]", '[mqtt]\ncommands = "signed"\ncommand_keys = "keys.json"'))
    for raw, word in ((None, "every command is refused"), (b"nonsense", "no file of command keys")):
        if raw is not None:
            (tmp_path / "keys.json").write_bytes(raw)
        ran = run("config", "check", config)
        assert ran.code == 1 and word in ran.out + ran.err
    (tmp_path / "keys.json").write_bytes(encode_command_keys(CommandKeys()))
    assert "lists no key" in run("config", "check", config, "--json").lines[0]["missing"][0]


def test_a_repository_is_asked_and_the_device_stays_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("securesystemslib", reason="the repository's tools are not installed")
    assert checks_remote.repository(device_of(tmp_path, "")).verdict == "ok"
    market = Market(tmp_path)
    more = f'[model]\nname = "shelf-test"\nrepository = "{market.folder}"\nroot = "{market.root}"\n'
    empty = checks_remote.repository(device_of(tmp_path, more))
    assert empty.verdict == "warn" and "no release of shelf-test" in empty.found
    market.publish("1.2.0")
    found = checks_remote.repository(device_of(tmp_path, more))
    assert found.verdict == "ok" and "1.2.0" in found.found
    assert not (tmp_path / "state").exists()
    market.root.write_text("{}")
    assert checks_remote.repository(device_of(tmp_path, more)).verdict == "fail"
    away = more.replace(str(market.folder), "http://127.0.0.1:9/none")
    market_root = device_of(tmp_path, away)
    assert checks_remote.repository(market_root).verdict == "fail"


def test_certificate_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    assert list(checks_remote.certificates(None)) == []
    plain = device_of(tmp_path, '[mqtt]\nurl = "mqtt://h"\n').mqtt
    assert list(checks_remote.certificates(plain)) == []
    (found,) = checks_remote.certificates(device_of(tmp_path, '[mqtt]\nurl = "mqtts://h"\n').mqtt)
    assert found.verdict == "ok"
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("no certificate")
        (tmp_path / name).chmod(0o600)
    own = '[mqtt]\nurl = "mqtts://h"\ncert_file = "c.pem"\nkey_file = "k.pem"\n'
    (wrong,) = checks_remote.certificates(device_of(tmp_path, own).mqtt)
    assert wrong.verdict == "fail" and wrong.mend
    (tmp_path / "k.pem").chmod(0o644)
    assert "chmod 600" in next(checks_remote.certificates(device_of(tmp_path, own).mqtt)).mend


def test_of_several_nodes_one_that_is_away_is_a_warning() -> None:
    with socket.socket() as up, socket.socket() as down:
        for node in (up, down):
            node.bind(("127.0.0.1", 0))
        up.listen()
        urls = tuple(f"mqtt://127.0.0.1:{node.getsockname()[1]}" for node in (up, down))
        assert checks_remote.broker(MqttConfig(urls)).verdict == "warn"
        assert checks_remote.broker(MqttConfig(urls[1:])).verdict == "fail"
