"""`fleet init`, `enrol`, `renew`, `revoke` over a real folder: what is in it, who can read it, and what a killed run leaves."""

from __future__ import annotations

import os
import ssl
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from edge_runtime.config import read_config
from edge_runtime.errors import EdgeError, Refused, Unavailable
from edge_runtime.fleet.operator.settings import read_fleet
from edge_runtime.lifecycle.trust.command_keys import read_command_keys
from edge_runtime.lifecycle.trust.envelope import EnvelopeVerifier
from edge_runtime.workshop.enrolment import members
from edge_runtime.workshop.enrolment.begin import Plan, add_host, begin, renew
from edge_runtime.workshop.enrolment.folder import Folder
from edge_runtime.workshop.enrolment.identity import parse
from edge_runtime.workshop.enrolment.operators import Rights
from edge_runtime.workshop.enrolment.signing import OperatorKey

NOW = 1_790_000_000.0
MOSQUITTO = Plan("mosquitto", ("broker.example", "10.0.0.7"))
NATS = Plan("nats", ("n1.example", "n2.example", "n3.example"))


def clock() -> float:
    return NOW


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "fleet")
    begin(made, MOSQUITTO, None, clock)
    return made


def _enrol(folder: Folder, name: str, *groups: str, **more: object) -> Path:
    want = members.Wanted(parse(name), groups, rights=Rights())
    done = members.enrol(folder, [want], members.authority(folder, None), clock, **more)  # type: ignore[arg-type]
    return done.folders[name]


def _revoke(folder: Folder, *names: str) -> members.Done:
    return members.revoke(folder, [parse(name) for name in names], members.authority(folder, None), clock)


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _tree(path: Path) -> dict[str, bytes]:
    return {str(found.relative_to(path)): found.read_bytes() for found in path.rglob("*") if found.is_file()}


def test_init_twice_changes_nothing(folder: Folder) -> None:
    before = _tree(folder.path)
    again = begin(folder, MOSQUITTO, None, clock)
    assert again.made == ()
    assert {name: raw for name, raw in _tree(folder.path).items() if name != "mosquitto/crl.pem"} == {
        name: raw for name, raw in before.items() if name != "mosquitto/crl.pem"
    }


def test_secrets_are_their_owners_alone(folder: Folder) -> None:
    _enrol(folder, "lyon/till-3")
    secret = [path for path in folder.path.rglob("*") if path.suffix in (".key", ".pem") and path.name != "crl.pem"]
    assert len(secret) == 5, "authority, server, operator, command key, device"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in secret)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_another_plan_is_refused_and_so_is_a_folder_of_something_else(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is there already, for mosquitto at"):
        begin(folder, NATS, None, clock)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letters.txt").write_text("mine")
    with pytest.raises(Refused, match="no fleet's folder"):
        begin(Folder(tmp_path / "other"), MOSQUITTO, None, clock)
    with pytest.raises(Unavailable, match="fleet init"):
        Folder(tmp_path / "nothing").read_register()


def test_the_operators_verbs_find_all_that_they_need(folder: Folder) -> None:
    settings = read_fleet(folder.path)
    assert settings.urls == ("mqtts://broker.example:8883",)
    assert settings.cert_file is not None
    assert settings.command_key is not None
    assert settings.command_keys is not None
    context = ssl.create_default_context(cafile=settings.ca_file)
    context.load_cert_chain(settings.cert_file, settings.key_file)
    keys = read_command_keys(settings.command_keys)
    envelope = OperatorKey.load(settings.command_key).sign("application/x", b"{}")
    assert EnvelopeVerifier(lambda: keys).open(envelope, "application/x").payload == b"{}"


def test_every_certificate_is_sound_to_openssl(folder: Folder, program: Callable[[str, str], str]) -> None:
    device = _enrol(folder, "lyon/till-3")
    openssl = program("openssl", "openssl")
    for purpose, path in (("sslclient", device / "device.crt"), ("sslserver", folder / "mosquitto/server.crt")):
        asked = [openssl, "verify", "-x509_strict", "-CAfile", folder / "ca.crt", "-purpose", purpose, path]
        assert subprocess.run(asked, capture_output=True, check=False).returncode == 0
        other = "sslserver" if purpose == "sslclient" else "sslclient"
        asked[asked.index(purpose)] = other
        assert subprocess.run(asked, capture_output=True, check=False).returncode != 0, "good for one purpose only"


def test_a_server_is_known_by_all_its_names(folder: Folder) -> None:
    names = _certificate(folder / "mosquitto/server.crt").extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["broker.example"]
    assert [str(found) for found in names.value.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]


def test_the_fragment_is_a_device_toml(folder: Folder) -> None:
    place = _enrol(folder, "lyon/till-3", "canary")
    text = (place / "device.toml").read_text() + '\n[[camera]]\nname = "a"\nsource = "folder:."\nlayout = "l.json"\n'
    (place / "whole.toml").write_text(text)
    config = read_config(place / "whole.toml")
    assert (config.site, config.id, config.groups) == ("lyon", "till-3", ("canary",))
    assert config.mqtt is not None
    assert config.mqtt.urls == ("mqtts://broker.example:8883",)
    assert config.mqtt.commands == "signed"
    for name in ("ca_file", "cert_file", "key_file", "command_keys"):
        assert getattr(config.mqtt, name).is_file(), name


def test_a_key_that_was_made_on_the_device_stays_there(folder: Folder, program: Callable[[str, str], str]) -> None:
    key, csr = folder / "on-device.key", folder / "on-device.csr"
    command = [program("openssl", "openssl"), "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(
        [*command, "-nodes", "-subj", "/CN=evil", "-keyout", key, "-out", csr], check=True, capture_output=True
    )
    want = members.Wanted(parse("lyon/till-3"), csr=csr.read_bytes())
    place = members.enrol(folder, [want], members.authority(folder, None), clock).folders["lyon/till-3"]
    assert not (place / "device.key").exists()
    certificate = _certificate(place / "device.crt")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    assert certificate.public_key() == private.public_key()
    assert certificate.subject.rfc4514_string() == "CN=lyon/till-3", "a request does not choose its name"


@pytest.mark.parametrize(
    "bad", [b"", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"]
)
def test_a_request_that_is_none_leaves_no_device(folder: Folder, bad: bytes) -> None:
    want = members.Wanted(parse("lyon/till-3"), csr=bad)
    with pytest.raises(Refused, match="openssl req"):
        members.enrol(folder, [want], members.authority(folder, None), clock)
    assert "lyon/till-3" not in {entry.identity for entry in folder.read_register().admitted()}
    _enrol(folder, "lyon/till-3")


def test_enrolled_twice_renewed_and_revoked(folder: Folder) -> None:
    first = _certificate(_enrol(folder, "lyon/till-3", "canary") / "device.crt")
    with pytest.raises(Refused, match="enrolled already"):
        _enrol(folder, "lyon/till-3")
    with pytest.raises(Refused, match="nothing to renew"):
        _enrol(folder, "lyon/till-4", renew=True)
    second = _certificate(_enrol(folder, "lyon/till-3", renew=True) / "device.crt")
    assert folder.read_register().find(parse("lyon/till-3")).groups == ("canary",)
    assert "user lyon/till-3\n" in (folder / "mosquitto/acl").read_text()
    assert _revoke(folder, "lyon/till-3").revoked == 2, "the old certificate and the new one"
    assert "lyon/till-3" not in (folder / "mosquitto/acl").read_text()
    listed = x509.load_pem_x509_crl((folder / "mosquitto/crl.pem").read_bytes())
    assert {entry.serial_number for entry in listed} == {first.serial_number, second.serial_number}
    assert listed.next_update_utc == _certificate(folder / "ca.crt").not_valid_after_utc, "it must not run out"
    with pytest.raises(Refused, match="not enrolled here"):
        _revoke(folder, "lyon/never")
    third = _certificate(_enrol(folder, "lyon/till-3") / "device.crt")
    names = [c.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for c in (second, third)]
    assert [n.get_values_for_type(x509.UniformResourceIdentifier) for n in names] == [
        ["urn:edge-runtime:lyon/till-3:1"],
        ["urn:edge-runtime:lyon/till-3:2"],
    ]


def test_what_a_person_wrote_and_what_is_anothers_stays(folder: Folder, tmp_path: Path) -> None:
    place = _enrol(folder, "lyon/till-3")
    (place / "device.toml").write_text("# mine\n")
    _enrol(folder, "lyon/till-3", renew=True)
    assert (place / "device.toml").read_text() == "# mine\n"
    assert 'id = "till-3"' in (place / "device.toml.enrolled").read_text()
    want = members.Wanted(parse("lyon/till-4"), out=place)
    before = (place / "device.key").read_bytes()
    with pytest.raises(Refused, match="of somebody else"):
        members.enrol(folder, [want], members.authority(folder, None), clock)
    assert (place / "device.key").read_bytes() == before


def test_two_devices_of_one_client_id_are_refused(folder: Folder) -> None:
    _enrol(folder, "lyon-1/till")
    with pytest.raises(Refused, match="same MQTT client id as lyon-1/till"):
        _enrol(folder, "lyon/1-till")


def test_a_second_operator_gets_a_folder_of_his_own_and_loses_it(folder: Folder) -> None:
    want = members.Wanted(parse("_operator/bob"), rights=Rights(("ping",), ("lyon/*",)))
    place = members.enrol(folder, [want], members.authority(folder, None), clock).folders["_operator/bob"]
    settings = read_fleet(place)
    assert settings.name == "bob"
    assert settings.command_key is not None
    verifier = EnvelopeVerifier(lambda: read_command_keys(folder / "command-keys.json"))
    opened = verifier.open(OperatorKey.load(settings.command_key).sign("application/x", b"{}"), "application/x")
    assert opened.may("ping", "lyon/till-3")
    assert not opened.may("ping", "metz/till-3")
    assert not opened.may("restart", "lyon/till-3")
    stolen = OperatorKey.load(settings.command_key)
    _revoke(folder, "_operator/bob")
    with pytest.raises(Refused):
        verifier.open(stolen.sign("application/x", b"{}"), "application/x")
    _enrol(folder, "_operator/bob")
    assert OperatorKey.load(settings.command_key).keyid != stolen.keyid, "the old key is not taken up again"


def test_a_passphrase_protects_the_authority_and_the_commands(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "fleet")
    begin(folder, MOSQUITTO, b"open sesame", clock)
    for name in (members.CA_KEY, "clients/operator/operator/command.pem"):
        assert b"ENCRYPTED" in (folder / name).read_bytes()
    with pytest.raises(Refused, match="--passphrase-file"):
        members.authority(folder, None)
    with pytest.raises(Refused, match="passphrase is another"):
        members.authority(folder, b"wrong")
    begin(folder, MOSQUITTO, b"open sesame", clock)


def test_renewing_the_brokers_leaves_old_certificates_good(folder: Folder) -> None:
    before = {path: path.read_bytes() for path in (folder / "mosquitto/server.crt", folder / "mosquitto/server.key")}
    made = renew(folder, None, clock)
    assert folder / "mosquitto/server.crt" in made
    assert all(path.read_bytes() != raw for path, raw in before.items())
    assert not folder.read_register().revoked()


def test_a_node_is_added_and_the_others_keep_their_files(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "fleet")
    begin(folder, NATS, None, clock)
    (folder / "nats/node-1/node.conf").write_text("# edited by hand\n")
    before = _tree(folder / "nats")
    server = add_host(folder, "n4.example", None, clock)
    assert server.folder == folder / "nats/node-4"
    assert {name: raw for name, raw in _tree(folder / "nats").items() if not name.startswith("node-4")} == before
    assert "nats://n1.example:6222" in (server.folder / "node.conf").read_text()
    with pytest.raises(Refused, match="no nodes"):
        other = Folder(tmp_path / "one")
        begin(other, MOSQUITTO, None, clock)
        add_host(other, "x", None, clock)


class Killed(BaseException):
    """Stands for SIGKILL."""


def _killed_at(number: int, act: Callable[[], object]) -> bool:
    """Do it, and end it when it is about to name its file of this number; False if it has fewer."""
    replace, seen = Path.replace, 0

    def end(path: Path, target: Path) -> Path:
        nonlocal seen
        seen += 1
        if seen == number:
            raise Killed
        return replace(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", end)
        try:
            act()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("plan", [MOSQUITTO, NATS], ids=lambda plan: plan.broker)
def test_init_killed_at_any_file_is_finished_by_the_next(plan: Plan, tmp_path: Path) -> None:
    number = 1
    while _killed_at(number, partial(begin, folder := Folder(tmp_path / str(number)), plan, None, clock)):
        begin(folder, plan, None, clock)
        _is_whole(folder)
        number += 1
    assert number > 12


def test_enrol_killed_at_any_file_is_finished_by_the_next(folder: Folder) -> None:
    number = 1
    while _killed_at(number, partial(_enrol, folder, name := f"lyon/till-{number}")):
        place = _enrol(folder, name)
        _is_pair(place / "device.crt", place / "device.key")
        _is_whole(folder)
        number += 1
    assert number > 7


def _is_whole(folder: Folder) -> None:
    register = folder.read_register()
    read_fleet(folder.path)
    _is_pair(folder / "clients/operator/operator/operator.crt", folder / "clients/operator/operator/operator.key")
    read_command_keys(folder / "command-keys.json")
    assert not any(c.state == "pending" for entry in register.admitted() for c in entry.certificates)
    if register.broker == "mosquitto":
        acl = (folder / "mosquitto/acl").read_text()
        assert all(f"user {entry.identity}\n" in acl for entry in register.admitted())
        _is_pair(folder / "mosquitto/server.crt", folder / "mosquitto/server.key")
    assert not list(folder.path.rglob("*.new"))


def _is_pair(certificate: Path, key: Path) -> None:
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    assert _certificate(certificate).public_key() == private.public_key()


def test_a_read_only_folder_is_told_and_leaves_nothing(folder: Folder) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    (folder.path / "devices").mkdir()
    (folder.path / "devices").chmod(0o500)
    with pytest.raises(EdgeError, match="can not be used"):
        _enrol(folder, "lyon/till-3")


def test_rights_that_no_device_could_read_are_refused_and_cost_nobody_his_commands(folder: Folder) -> None:
    before = (folder / "command-keys.json").read_bytes()
    for rights in (Rights(("",)), Rights(audiences=("x" * 201,)), Rights(("ping",) * 33)):
        want = members.Wanted(parse("_operator/bob"), rights=rights)
        with pytest.raises(Refused, match="command keys"):
            members.enrol(folder, [want], members.authority(folder, None), clock)
        assert (folder / "command-keys.json").read_bytes() == before
    _enrol(folder, "_operator/bob")
    assert len(read_command_keys(folder / "command-keys.json")) == 2
