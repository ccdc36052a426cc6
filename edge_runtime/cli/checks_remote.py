"""What `doctor` asks of others: the broker and the files for it, whose commands count, the model repository."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edge_runtime.cli.checks import Check
from edge_runtime.config import DeviceConfig, MqttConfig
from edge_runtime.errors import EdgeError, Unavailable

if TYPE_CHECKING:
    from ssl import SSLContext

    from edge_runtime.cli.checks import Verdict

CONNECT_S = 5.0
ALERT_S = 0.5
"""For so long a node that has greeted may still say that it does not take the device's certificate."""
SHORT_DAYS = 30


def broker(config: MqttConfig | None) -> Check:
    """The broker's nodes answer; with TLS, they and the device trust each other. The login shows when the daemon connects."""
    if config is None:
        return Check("broker", "ok", "none configured: this device publishes nothing")
    faults = [fault for fault in (_node(config, url) for url in config.urls) if fault is not None]
    nodes = ", ".join(urlsplit(url).netloc for url in config.urls)
    if not faults:
        return Check("broker", "ok", f"{nodes} answers" if len(config.urls) == 1 else f"{nodes} answer")
    mend = ". ".join(dict.fromkeys(fault.mend for fault in faults))
    verdict: Verdict = "fail" if len(faults) == len(config.urls) else "warn"
    return Check("broker", verdict, "; ".join(fault.found for fault in faults), mend)


def _node(config: MqttConfig, text: str) -> EdgeError | None:
    """What is wrong with one node, up to the handshake."""
    url = urlsplit(text)
    host, port = url.hostname or "", url.port or (8883 if url.scheme == "mqtts" else 1883)
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S) as line:
            return None if url.scheme != "mqtts" else _handshake(config, text, line)
    except OSError as fault:
        found = f"{host}:{port}: {fault.strerror or 'no answer in time'}"
        return Unavailable(found, "Check [mqtt] url, the network and the broker")


def _handshake(config: MqttConfig, text: str, line: socket.socket) -> EdgeError | None:
    """With TLS 1.3 a broker that does not take the device's certificate says so after the handshake only."""
    import ssl

    from edge_runtime.fleet.settings import parse_url
    from edge_runtime.fleet.tls import tls_fault

    address = parse_url(text)
    try:
        context = _context(config)
    except EdgeError:
        return None  # the files are of no use: `certificates` says so
    try:
        with context.wrap_socket(line, server_hostname=address.host) as inside:
            inside.settimeout(ALERT_S)
            with suppress(TimeoutError):
                inside.recv(1)
    except ssl.SSLError as fault:
        return tls_fault(address, fault)
    return None


def _context(config: MqttConfig) -> SSLContext:
    from edge_runtime.fleet.settings import MqttSettings
    from edge_runtime.fleet.tls import tls_context

    ca, cert, key, crl = config.ca_file, config.cert_file, config.key_file, config.crl_file
    return tls_context(MqttSettings(config.url, "doctor", ca_file=ca, cert_file=cert, key_file=key, crl_file=crl))


def certificates(config: MqttConfig | None) -> Iterator[Check]:
    """The files for TLS fit together, and how long the device's own certificate lasts."""
    if config is None or not config.url.startswith("mqtts:"):
        return
    from edge_runtime.fleet.certificate import not_after

    cert = config.cert_file
    if config.key_file is not None and _open_to_all(config.key_file):
        mend = f"chmod 600 {config.key_file}: whoever reads it can speak as this device"
        yield Check("tls", "warn", f"{config.key_file} can be read by everybody on this machine", mend)
    try:
        _context(config)
    except EdgeError as fault:
        yield Check("tls", "fail", fault.found, fault.mend or "`edge-runtime fleet enrol` makes the files anew")
        return
    if cert is None:
        yield Check("tls", "ok", "the broker's certificate is checked; the device shows none of its own")
        return
    try:
        days = (not_after(cert.read_text("ascii")) - time.time()) / 86_400
    except (OSError, ValueError) as fault:
        yield Check("tls", "fail", f"{cert}: {fault}", "`edge-runtime fleet enrol` makes it anew")
        return
    found = f"the device's certificate ends in {days:.0f} days" if days > 0 else "the device's certificate has ended"
    verdict = "fail" if days <= 0 else "warn" if days < SHORT_DAYS else "ok"
    yield Check("tls", verdict, found, "" if verdict == "ok" else "Renew it with `edge-runtime fleet enrol`")  # type: ignore[arg-type]


def _open_to_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o004)
    except OSError:
        return False  # that it can not be read is told with the rest


def commands(config: DeviceConfig) -> Check:
    """Who may command this device."""
    mqtt = config.mqtt
    if mqtt is None or mqtt.commands == "off":
        return Check("commands", "ok", "off: nobody commands this device from afar")
    if mqtt.commands == "unsigned":
        mend = 'Write [mqtt] commands = "signed", with the keys of `edge-runtime fleet init`'
        return Check("commands", "warn", "unsigned: whoever may publish to the broker commands this device", mend)
    from edge_runtime.lifecycle.trust.key_ring import KeyRing

    ring = KeyRing(config.storage.state_dir, mqtt.command_keys)
    keys = ring.keys()
    if ring.problem and config.model.repository is not None and mqtt.command_keys is None:
        mend = "The daemon asks the repository when it starts; publish them with `edge-runtime repo publish`"
        return Check("commands", "warn", ring.problem, mend)
    if ring.problem:
        mend = "Copy the command-keys.json that `edge-runtime fleet init` made to where [mqtt] command_keys says"
        return Check("commands", "fail", f"{ring.problem}; every command is refused", mend)
    names = ", ".join(key.name for key in keys)
    return Check("commands", "ok", f"signed: {len(keys)} key(s) count ({names})"[:200])


def repository(config: DeviceConfig) -> Check:
    """The model repository answers, and its signatures are those of [model] root. Nothing of the device is written."""
    model = config.model
    if model.repository is None or model.root is None:
        return Check("repository", "ok", "none configured: models are installed by hand")
    from edge_runtime.lifecycle.trust.updater import Updater

    try:
        root = model.root.read_bytes()
    except OSError as fault:
        mend = "Copy the root.json of the repository's first `repo init` there"
        return Check("repository", "fail", f"{model.root} can not be read: {fault.strerror}", mend)
    with tempfile.TemporaryDirectory() as folder:
        try:
            updater = Updater(Path(folder), model.repository, root)
            updater.refresh()
            releases = updater.releases(model.name)
        except EdgeError as fault:
            mend = fault.mend or "Check [model] repository and root, the network, and the device's clock"
            return Check("repository", "fail", fault.found, mend)
    if not releases:
        mend = "Check [model] name; `edge-runtime repo publish` puts a release there"
        return Check("repository", "warn", f"it answers, and has no release of {model.name}", mend)
    return Check("repository", "ok", f"it answers; its newest {model.name} is {releases[0].version}")
