"""What `doctor` asks of others: the broker and the files for it, whose commands count, the model repository."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from edge_runtime.cli.checks import Check
from edge_runtime.config import DeviceConfig, MqttConfig
from edge_runtime.errors import EdgeError

CONNECT_S = 5.0
SHORT_DAYS = 30


def broker(config: MqttConfig | None) -> Check:
    """Something listens where the broker's nodes should be; the login shows when the daemon connects."""
    if config is None:
        return Check("broker", "ok", "none configured: this device publishes nothing")
    faults: list[str] = []
    for text in config.urls:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port or (8883 if url.scheme == "mqtts" else 1883)
        try:
            socket.create_connection((host, port), timeout=CONNECT_S).close()
        except OSError as fault:
            faults.append(f"{host}:{port}: {fault.strerror or 'no answer in time'}")
    nodes = ", ".join(urlsplit(url).netloc for url in config.urls)
    if not faults:
        return Check("broker", "ok", f"{nodes} answers" if len(config.urls) == 1 else f"{nodes} answer")
    mend = "Check [mqtt] url, the network and the broker"
    return Check("broker", "fail" if len(faults) == len(config.urls) else "warn", "; ".join(faults), mend)


def certificates(config: MqttConfig | None) -> Iterator[Check]:
    """The files for TLS fit together, and how long the device's own certificate lasts."""
    if config is None or not config.url.startswith("mqtts:"):
        return
    from edge_runtime.fleet.certificate import not_after
    from edge_runtime.fleet.settings import MqttSettings
    from edge_runtime.fleet.tls import tls_context

    files = (config.ca_file, config.cert_file, config.key_file, config.crl_file)
    ca, cert, key, crl = files
    try:
        tls_context(MqttSettings(config.url, "doctor", ca_file=ca, cert_file=cert, key_file=key, crl_file=crl))
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
