"""Camera addresses: taken apart, and made safe to print."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from edge_runtime.errors import Usage

_SECRET_KEY = r"[\w.-]*(?:pass|pwd|token|secret|auth|key|user|usr|login|sig)[\w.-]*"
_QUERY_SECRET = re.compile(rf"(?i)([?&;]{_SECRET_KEY}=)[^&\s#;'\"]*")
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/?#\s]*@")
_TARGET_SAFE = "/?%:@!$&'()*+,;=~-._[]"
MAX_LENGTH = 2048


def redact(text: str) -> str:
    """Any text with the user, password and token of every URL in it replaced by `***`."""
    return _QUERY_SECRET.sub(r"\1***", _USERINFO.sub(r"\1***@", text))


@dataclass(frozen=True, slots=True)
class NetAddress:
    """A network camera's URL, with the credentials taken out of it."""

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)
    """Path and query, percent-encoded; many cameras take their password in it."""
    user: str = field(repr=False)
    password: str = field(repr=False)

    @property
    def place(self) -> str:
        """host:port, for messages."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def name(self) -> str:
        """The URL, safe to print."""
        return redact(f"{self.scheme}://{'***@' if self.user else ''}{self.place}{self.target}")

    @property
    def with_credentials(self) -> str:
        """The URL for a client that takes credentials in it. Never print it."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user or self.password else ""
        return f"{self.scheme}://{login}{self.place}{self.target}"


_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}


def parse_net_address(uri: str) -> NetAddress:
    """Take a URL apart. Raises Usage, naming the fault and never the credentials."""
    mend = (
        "Write it as scheme://[user:password@]host[:port]/path, and percent-encode special characters in the password"
    )
    if len(uri) > MAX_LENGTH or not uri.isprintable() or any(c.isspace() for c in uri):
        raise Usage("the camera address holds blanks or control characters, or is too long", mend)
    try:
        parts = urlsplit(uri)
        port = parts.port
        host = parts.hostname
    except ValueError:
        raise Usage(f"{redact(uri)} has a host or port that can not be read", mend) from None
    if not host:
        raise Usage(f"{redact(uri)} names no host", mend)
    if port == 0:
        raise Usage(f"{redact(uri)} has the port 0", mend)
    target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_TARGET_SAFE)
    scheme = parts.scheme.lower()
    return NetAddress(
        scheme,
        host,
        port or _PORTS[scheme],
        target,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )
