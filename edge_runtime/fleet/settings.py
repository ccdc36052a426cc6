"""Where the broker is and how the device shows who it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from edge_runtime.errors import BadConfig

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_url(url: str) -> BrokerAddress:
    """`mqtt://host[:port]` or `mqtts://host[:port]`. Raises BadConfig for anything else, secrets in it included."""
    shown = repr(re.sub(r"//.*@", "//...@", url, flags=re.DOTALL))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadConfig(f"[mqtt] url {shown} can not be read as an address", "Write mqtt://host:1883") from None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise BadConfig(
            f"[mqtt] url {shown} is not mqtt://host[:port] or mqtts://host[:port]", "Write mqtt://host:1883"
        )
    if parts.username or parts.password:
        raise BadConfig(
            "[mqtt] url holds a user name or password; secrets do not belong in the configuration",
            "Write user = and password_file = instead",
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise BadConfig(f"[mqtt] url {shown} goes on after the port", "Write mqtt://host:1883")
    return BrokerAddress(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "mqtts")


class Dialect(StrEnum):
    """Which MQTT to speak."""

    AUTO = "auto"
    """5, and 3.1.1 with a broker that does not know it."""
    V311 = "3.1.1"
    V5 = "5"


class Proof(StrEnum):
    """What it takes to believe that a durable record has arrived."""

    ECHO = "echo"
    """The broker hands it back to the device, which subscribes to its own records."""
    COLLECTOR = "collector"
    """A collector names its id on the device's `ack` topic, after it has stored the record."""
    BROKER = "broker"
    """The broker's acknowledgement alone. Most brokers acknowledge what their access list drops."""


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """Raises BadConfig for what can never connect. Files are read at every connect, so that they can be renewed."""

    url: str
    client_id: str
    user: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    """Who may sign the broker's certificate; None: the authorities that the system trusts."""
    cert_file: Path | None = None
    key_file: Path | None = None
    keepalive_s: int = 30
    connect_timeout_s: float = 10.0
    others: tuple[str, ...] = ()
    """Further urls of the same service: the other nodes of a cluster."""
    dialect: Dialect = Dialect.AUTO
    proof: Proof = Proof.BROKER
    crl_file: Path | None = None
    """Certificates that the broker's authority has taken back, in PEM; none of them is trusted."""

    def __post_init__(self) -> None:
        address = parse_url(self.url)
        if any(parse_url(url).tls != address.tls for url in self.others):
            raise BadConfig(
                "[mqtt] url lists both mqtt:// and mqtts://, and a device must not fall back to plain text",
                "Write mqtts:// everywhere",
            )
        if not self.client_id:
            raise BadConfig("[mqtt] the client id is empty", "Give the device an id")
        if (self.ca_file or self.cert_file or self.key_file or self.crl_file) and not address.tls:
            raise BadConfig("[mqtt] has certificate files, but its url is not mqtts://", "Write mqtts://host:8883")
        if bool(self.cert_file) != bool(self.key_file):
            raise BadConfig(
                "[mqtt] cert_file and key_file go together, one of them is missing", "Name both, or neither"
            )
        if self.password_file and not self.user:
            raise BadConfig("[mqtt] has a password_file but no user", "Add user =")
        if not 5 <= self.keepalive_s <= 3_600:
            raise BadConfig(f"[mqtt] keepalive_s is {self.keepalive_s}, 5 to 3600 was expected")

    @property
    def address(self) -> BrokerAddress:
        return parse_url(self.url)

    @property
    def addresses(self) -> tuple[BrokerAddress, ...]:
        """All nodes, each once."""
        return tuple(dict.fromkeys(parse_url(url) for url in (self.url, *self.others)))
