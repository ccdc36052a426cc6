"""What a key accepts: each kind turns a TOML value into what the records hold, or says what it expected and the mend."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from edge_runtime.config.environment import Environment
from edge_runtime.config.secrets import shown_url

CREDENTIAL = "credential:"
CAMERA_SCHEMES = ("rtsp", "rtsps", "http", "https", "file")
MOST_URLS = 16
MOST_GROUPS = 16
_PORTS = {"mqtt": 1883, "mqtts": 8883}


class Mismatch(Exception):
    """A value that a key does not accept. `shown` replaces the value in the message where the value is secret."""

    def __init__(self, expected: str, mend: str, shown: str | None = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.mend = mend
        self.shown = shown


Kind = Callable[[object, Path, Environment], object]
"""(value, folder of the file, environment) -> value of the record; raises Mismatch."""


def name_kind(example: str) -> Kind:
    """A word that may stand in a topic and in a file name."""

    def accept(value: object, base: Path, environment: Environment) -> object:
        if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
            return value
        raise Mismatch("1 to 64 letters, digits, '.', '_' or '-'", f'Write for example "{example}"')

    return accept


def text_kind(example: str) -> Kind:
    def accept(value: object, base: Path, environment: Environment) -> object:
        if isinstance(value, str) and 0 < len(value) <= 256 and value.isprintable():
            return value
        raise Mismatch("a text of 1 to 256 characters on one line", f'Write for example "{example}"')

    return accept


def whole_kind(low: int, high: int, example: int) -> Kind:
    def accept(value: object, base: Path, environment: Environment) -> object:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise Mismatch(f"a whole number from {low} to {high}", f"Write for example {example}")

    return accept


def number_kind(low: float, high: float, example: float) -> Kind:
    def accept(value: object, base: Path, environment: Environment) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        raise Mismatch(f"a number from {low:.10g} to {high:.10g}", f"Write for example {example:.10g}")

    return accept


def flag_kind(value: object, base: Path, environment: Environment) -> object:
    if isinstance(value, bool):
        return value
    raise Mismatch("true or false", "Write true or false, without quotes")


def path_kind(example: str) -> Kind:
    """A path, relative to the file; `credential:NAME` is a systemd credential."""

    def accept(value: object, base: Path, environment: Environment) -> object:
        if not isinstance(value, str) or not value or "\0" in value or len(value) > 1024:
            raise Mismatch("a path", f'Write for example "{example}"')
        if not value.startswith(CREDENTIAL):
            return base / value
        name = value.removeprefix(CREDENTIAL)
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name) or set(name) == {"."}:
            raise Mismatch("credential: and the credential's name", 'Write for example "credential:mqtt-password"')
        if environment.credentials is None:
            raise Mismatch(
                "a service that was given credentials ($CREDENTIALS_DIRECTORY is not set)",
                f"Add LoadCredential={name}:/path/of/the/file to the unit, or write the path of a file here",
            )
        return environment.credentials / name

    return accept


def choice_kind(*choices: str) -> Kind:
    def accept(value: object, base: Path, environment: Environment) -> object:
        if value in choices:
            return value
        shown = " or ".join(f'"{choice}"' for choice in choices)
        raise Mismatch(shown, f"Write {shown}, with the quotes")

    return accept


def loopback_kind(value: object, base: Path, environment: Environment) -> object:
    """The local page shows pictures of the store and asks for no password: it stays on the device."""
    if value in ("127.0.0.1", "localhost"):
        return "127.0.0.1"
    mend = "Reach it from elsewhere through ssh: ssh -L 8780:127.0.0.1:8780 device"
    raise Mismatch('"127.0.0.1"; the page is served to this device only', mend)


def camera_source_kind(value: object, base: Path, environment: Environment) -> object:
    """A URL stays as it is; a device, file or folder becomes an absolute path."""
    mend = 'Write a device ("/dev/video0"), "rtsp://host/stream", "http://host/stream.mjpg", a video file or a folder'
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 1024:
        raise Mismatch("where the camera's pictures come from", mend)
    if value.startswith("v4l2:"):
        return value
    if "://" not in value:
        return str(base / value)
    url = _split(value, "a URL that can be read", mend)
    if url.scheme.lower() not in CAMERA_SCHEMES:
        raise Mismatch(f"a URL of {', '.join(CAMERA_SCHEMES)}", mend, repr(f"{url.scheme}://..."))
    if url.scheme.lower() != "file" and not url.hostname:
        raise Mismatch("a URL with a host", mend, repr(f"{url.scheme}://..."))
    return value


def broker_url_kind(value: object, base: Path, environment: Environment) -> object:
    """`mqtt(s)://host[:port]`; the port is filled in."""
    mend = 'Write for example "mqtts://broker.example.com" (8883) or "mqtt://127.0.0.1:1883"'
    if not isinstance(value, str) or not value.isprintable():
        raise Mismatch("a broker URL", mend)
    url = _split(value, "a broker URL that can be read", mend)
    if url.username is not None or url.password is not None:
        raise Mismatch(
            "a URL without credentials",
            "Take them out; write username and password_file instead",
            f"{url.scheme}://***@{url.hostname or ''}",
        )
    if url.scheme not in _PORTS or not url.hostname or url.path not in ("", "/") or url.query or url.fragment:
        raise Mismatch("mqtt://host:port or mqtts://host:port", mend, _masked(value))
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{url.scheme}://{host}:{url.port or _PORTS[url.scheme]}"


def broker_urls_kind(value: object, base: Path, environment: Environment) -> object:
    """One URL, or a list of the nodes of one broker; a tuple either way."""
    if not isinstance(value, list):
        return (broker_url_kind(value, base, environment),)
    urls = tuple(str(broker_url_kind(one, base, environment)) for one in value)
    mend = 'Write for example ["mqtts://a.example.com", "mqtts://b.example.com"]'
    if not 1 <= len(urls) <= MOST_URLS or len(set(urls)) < len(urls):
        raise Mismatch(f"1 to {MOST_URLS} different broker URLs", mend)
    if len({url.partition(":")[0] for url in urls}) > 1:
        raise Mismatch("mqtt:// or mqtts:// in all of them", mend, "both mqtt:// and mqtts://")
    return urls


def groups_kind(value: object, base: Path, environment: Environment) -> object:
    """A list of names, each of which may stand in a topic."""
    mend = 'Write for example groups = ["canary"]'
    expected = f"a list of at most {MOST_GROUPS} different names"
    if not isinstance(value, list) or len(value) > MOST_GROUPS:
        raise Mismatch(expected, mend)
    accept = name_kind("canary")
    names = tuple(str(accept(one, base, environment)) for one in value)
    if len(set(names)) < len(names):
        raise Mismatch(expected, mend)
    return names


def repository_kind(value: object, base: Path, environment: Environment) -> object:
    """A URL without credentials, or a folder relative to the file."""
    mend = 'Write "https://models.example.com/shelf" or a folder'
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 1024:
        raise Mismatch("a URL or a folder", mend)
    if "://" not in value:
        return str(base / value)
    url = _split(value, "a URL that can be read", mend)
    if url.username is not None or url.password is not None:
        raise Mismatch("a URL without credentials", "Take them out: a signed repository needs none", _masked(value))
    if url.scheme not in ("https", "http", "file"):
        raise Mismatch("https://, http:// or file://", mend)
    return value


def _split(value: str, expected: str, mend: str) -> SplitResult:
    try:
        url = urlsplit(value)
        if url.port is not None and not math.isfinite(url.port):
            raise ValueError
    except ValueError:
        raise Mismatch(expected, mend, _masked(value)) from None
    return url


def _masked(value: str) -> str:
    return repr(shown_url(value))
