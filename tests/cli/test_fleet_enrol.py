"""`fleet init`, `fleet enrol`, `fleet revoke` as an operator types them."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from edge_runtime.cli.fleet.place import find_place
from edge_runtime.cli.main import main

HOST = ("--host", "broker.example")


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    folder = str(tmp_path / "fleet")
    assert main(["fleet", "init", folder, *HOST]) == 0
    capsys.readouterr()
    return folder


def _records(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_init_says_what_it_made_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "fleet")
    assert main(["fleet", "init", folder, "--broker", "nats", "--host", "n1.example"]) == 0
    said = capsys.readouterr().out
    assert "mqtts://n1.example:8883" in said
    assert f"fleet enrol {folder} SITE/DEVICE" in said
    assert "n1.example as /etc/nats/" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Add --host NAME"),
        (("--host", "mqtts://x:1"), "without a scheme"),
        ((*HOST, "--port", "0"), "65535"),
        ((*HOST, "--days", "9999"), "3650"),
        (("--broker", "nats", "--host", "a", "--host", "b"), "or three"),
        ((*HOST, "--operator", "a/b"), "SITE/DEVICE"),
        (("--renew", *HOST), "Leave the other arguments out"),
    ],
)
def test_wrong_arguments_make_nothing(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", "init", str(tmp_path / "fleet"), *arguments]) in (1, 2)
    assert said in capsys.readouterr().err
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]


def test_enrol_list_renew_revoke(fleet: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "enrol", fleet, "lyon/till-3", "--group", "canary", "--json"]) == 0
    [record] = _records(capsys)
    assert record["groups"] == ["canary"]
    assert (Path(record["folder"]) / "device.toml").is_file()
    assert main(["fleet", "enrol", fleet, "lyon/till-3"]) == 1
    assert "--renew" in capsys.readouterr().err
    assert main(["fleet", "enrol", fleet, "lyon/till-3", "--renew"]) == 0
    assert main(["fleet", "enrol", fleet, "lyon/till-3", "--regroup", "--group", "late"]) == 0
    assert "_group/late/cmd/+" in Path(fleet, "mosquitto/acl").read_text()
    assert main(["fleet", "revoke", fleet, "lyon/till-3"]) == 0
    assert "2 certificates count no more" in capsys.readouterr().out
    assert main(["fleet", "enrol", fleet, "--list", "--json"]) == 0
    listed = {record["identity"]: record["admitted"] for record in _records(capsys)}
    assert listed == {"_operator/operator": True, "lyon/till-3": False}


def test_many_devices_from_a_file(fleet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        "site,device,groups",
        "# tills",
        "",
        *(f"lyon,till-{k},{'canary one' if k < 3 else ''}" for k in range(300)),
    ]
    (tmp_path / "devices.csv").write_text("\n".join(lines))
    assert main(["fleet", "enrol", fleet, "--from", str(tmp_path / "devices.csv"), "--json"]) == 0
    records = _records(capsys)
    assert len(records) == 300
    assert records[0]["groups"] == ["canary", "one"]
    assert Path(fleet, "mosquitto/acl").read_text().count("\nuser lyon/") == 300


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"lyon\n", "columns"),
        (b"\xff\xfe", "UTF-8"),
        (b"", "nobody is named"),
        (b"a,b\na,b\n", "twice"),
        (b"a,#\n", "'#'"),
        (b"a," + b"x" * 200_000, "CSV"),
        (b"a,b\n" * 4_000_001, "Split it"),
    ],
)
def test_a_bad_file_enrols_nobody(
    content: bytes, said: str, fleet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "devices.csv").write_bytes(content)
    before = Path(fleet, "devices.json").read_bytes()
    assert main(["fleet", "enrol", fleet, "--from", str(tmp_path / "devices.csv")]) in (1, 2)
    assert said in capsys.readouterr().err
    assert Path(fleet, "devices.json").read_bytes() == before


def test_keys_under_a_passphrase_are_renewed_and_used_with_the_same_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("correct horse\nand a note for people\n")
    folder, opened = str(tmp_path / "fleet"), ["--passphrase-file", str(tmp_path / "secret")]
    assert main(["fleet", "init", folder, "--host", "127.0.0.1", *opened]) == 0
    assert main(["fleet", "enrol", folder, "_operator/operator", "--renew", *opened]) == 0
    place = find_place(Namespace(fleet=Path(folder), url=None))
    assert place.signer(tmp_path / "secret").sign("application/x", b"{}")
    assert "correct horse" not in "".join(capsys.readouterr())
    assert not [path for path in Path(folder).rglob("*") if path.is_file() and b"correct horse" in path.read_bytes()]


def test_a_folder_that_is_none_is_told_and_stays_untouched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "enrol", str(tmp_path / "nothing"), "a/b"]) == 69
    assert main(["fleet", "revoke", str(tmp_path / "nothing"), "a/b"]) == 69
    assert "fleet init" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
