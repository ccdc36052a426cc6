"""One bounded HTTP GET at a time: time-outs, Basic and Digest login, a few redirects, and an abort from any thread.

`http.client` itself, because `urllib` gives no hold of the socket, and a camera that hangs must be let go.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
from base64 import b64encode
from urllib.parse import urljoin

from edge_runtime.camera.address import NetAddress, parse_net_address, redact
from edge_runtime.camera.picture import Stalled
from edge_runtime.errors import EdgeError, TryAgain, Unavailable, Usage

MAX_REDIRECTS = 3
CHUNK_BYTES = 65_536
_BASE_HEADERS = {"User-Agent": "edge-runtime", "Accept": "*/*", "Connection": "close"}


class Response:
    """The answer to one GET: status and headers read, body still on the wire."""

    def __init__(self, sock: socket.socket, raw: http.client.HTTPResponse, place: str, timeout_s: float) -> None:
        self._sock = sock
        self._raw = raw
        self._place = place
        self._timeout_s = timeout_s
        self.status = raw.status
        self.headers = raw.headers
        self.content_type = raw.headers.get_content_type() if "Content-Type" in raw.headers else ""

    def read_some(self) -> bytes:
        """The next bytes, b"" at the end. Raises Stalled if none come in time, TryAgain if the connection breaks."""
        try:
            return self._raw.read1(CHUNK_BYTES)
        except TimeoutError:
            raise Stalled(f"{self._place} sent nothing for {self._timeout_s:g} s", "Check the camera's load") from None
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as fault:
            # ValueError, AttributeError: what http.client says when another thread has closed the connection.
            raise TryAgain(f"the connection to {self._place} broke: {_text(fault)}", "It is opened again") from None

    def read_all(self, max_bytes: int, deadline_s: float) -> bytes:
        """The whole body; raises TryAgain if it is cut off, too long, or not whole at `deadline_s` (monotonic)."""
        declared = self._raw.length
        parts: list[bytes] = []
        size = 0
        while chunk := self.read_some():
            parts.append(chunk)
            size += len(chunk)
            if size > max_bytes:
                raise TryAgain(f"{self._place} sent more than {max_bytes} bytes for one picture", "Check the address")
            if time.monotonic() > deadline_s:
                raise Stalled(f"{self._place} did not finish a picture in {self._timeout_s:g} s", "Check the network")
        if declared is not None and size < declared:
            raise TryAgain(f"{self._place} cut a picture off at {size} of {declared} bytes", "It is asked again")
        return b"".join(parts)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._raw.close()
        self._sock.close()


class HttpGet:
    """GETs of one camera address. Not for two threads at once, except `abort`."""

    def __init__(self, address: NetAddress, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._login = _Login(address.user, address.password)
        self._sock: socket.socket | None = None
        self._aborted = False

    def fetch(self, headers: dict[str, str] | None = None) -> Response:
        """Send the request, follow redirects, log in if asked.

        Gives a response with status 200 or 304. Raises Unavailable for what a person must mend, TryAgain for a camera
        that is busy.
        """
        address = self._address
        for _ in range(MAX_REDIRECTS + 2):
            response = self._request(address, headers or {})
            if response.status in (200, 304):
                return response
            response.close()
            if response.status == 401 and self._login.accept(response.headers.get_all("WWW-Authenticate") or []):
                continue
            if response.status in (301, 302, 303, 307, 308) and response.headers["Location"]:
                address = self._redirected(address, response.headers["Location"])
                continue
            raise _refusal(response.status, address)
        raise Unavailable(f"{address.name} redirects again and again", "Name the picture's own address")

    def abort(self) -> None:
        """Break a request or a read that waits in another thread."""
        self._aborted = True
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _redirected(self, old: NetAddress, location: str) -> NetAddress:
        try:
            new = parse_net_address(urljoin(f"{old.scheme}://{old.place}{old.target}", location))
        except (Usage, KeyError, ValueError):  # KeyError: a scheme without a port; ValueError: urljoin's
            raise Unavailable(f"{old.name} redirects to {redact(location)}", "Name the picture's own address") from None
        if (new.scheme, new.host, new.port) != (old.scheme, old.host, old.port):
            # The password was given for the first host only.
            self._login = _Login(new.user, new.password)
        return new

    def _request(self, address: NetAddress, headers: dict[str, str]) -> Response:
        connection = http.client.HTTPConnection(address.host, address.port)
        try:
            sock = connection.sock = self._connect(address)
            login = self._login.header(address)
            connection.request("GET", address.target, headers={**_BASE_HEADERS, **headers, **login})
            return Response(sock, connection.getresponse(), address.place, self._timeout_s)
        except (OSError, ValueError, http.client.HTTPException) as fault:
            # ValueError: a host name that IDNA does not allow, or a malformed header.
            connection.close()
            if self._aborted:
                raise TryAgain(f"{address.name} was closed", "Open it again") from None
            raise _connect_fault(fault, address, self._timeout_s) from None

    def _connect(self, address: NetAddress) -> socket.socket:
        """A connected socket that `abort` can reach from the first moment on."""
        fault = OSError("no address")
        for family, kind, protocol, _, where in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
            sock = self._sock = socket.socket(family, kind, protocol)
            try:
                if self._aborted:
                    raise ConnectionAbortedError("closed")
                sock.settimeout(self._timeout_s)
                sock.connect(where)
                if address.scheme == "https":
                    sock = self._sock = ssl.create_default_context().wrap_socket(sock, server_hostname=address.host)
                return sock
            except OSError as met:
                sock.close()
                fault = met
        raise fault


class _Login:
    """Answers the challenge of a camera: Basic, or Digest (RFC 7616, by the standard library)."""

    def __init__(self, user: str, password: str) -> None:
        self._known = bool(user or password)
        self._basic_value = "Basic " + b64encode(f"{user}:{password}".encode()).decode()
        self._digest = urllib.request.AbstractDigestAuthHandler(_AnyRealm(user, password))
        self._challenge: dict[str, str] | None = None
        self._basic = False

    def accept(self, challenges: list[str]) -> bool:
        """Take a 401's challenges. True if a further try makes sense."""
        if not self._known:
            return False
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "digest":
                try:
                    fresh = urllib.request.parse_keqv_list(urllib.request.parse_http_list(rest))
                except (ValueError, IndexError):  # no key=value list, or an empty value
                    continue
                again = self._challenge is None or fresh.get("stale", "").lower() == "true"
                self._challenge = fresh
                return again
            if scheme.lower() == "basic" and not self._basic:
                self._basic = True
                return True
        return False

    def header(self, address: NetAddress) -> dict[str, str]:
        """The Authorization header for the next request; empty before the camera has asked for one."""
        if self._challenge is not None:
            request = urllib.request.Request(f"{address.scheme}://{address.place}{address.target}")
            try:
                value = self._digest.get_authorization(request, self._challenge)
            except (ValueError, NotImplementedError, urllib.error.URLError):
                value = None
            if value:
                return {"Authorization": f"Digest {value}"}
        return {"Authorization": self._basic_value} if self._basic else {}


class _AnyRealm(urllib.request.HTTPPasswordMgr):
    """One user and password, whatever the camera calls its realm."""

    def __init__(self, user: str, password: str) -> None:
        super().__init__()
        self._pair = (user, password)

    def find_user_password(self, realm: str, authuri: str) -> tuple[str | None, str | None]:
        return self._pair


def _refusal(status: int, address: NetAddress) -> EdgeError:
    if status in (401, 403):
        return Unavailable(
            f"{address.name} refuses the login (HTTP {status})",
            "Check user and password in the address: http://user:password@host/path",
        )
    if status >= 500 or status in (408, 425, 429):
        return TryAgain(f"{address.name} is busy (HTTP {status})", "It is asked again")
    return Unavailable(
        f"{address.name} answers HTTP {status}",
        "Check the path; the camera's manual names its snapshot and MJPEG paths",
    )


def _connect_fault(fault: Exception, address: NetAddress, timeout_s: float) -> EdgeError:
    if isinstance(fault, socket.gaierror):
        return Unavailable(f"the host of {address.name} is not known", "Check the name, or use the IP address")
    if isinstance(fault, ConnectionRefusedError):
        return Unavailable(f"nothing listens at {address.place}", "Check that the camera is on, and the port")
    if isinstance(fault, TimeoutError):
        return Unavailable(
            f"{address.place} did not answer within {timeout_s:g} s", "Check the address, the network and the camera"
        )
    if isinstance(fault, ssl.SSLError):
        return Unavailable(
            f"no trusted TLS connection to {address.place}: {_text(fault)}",
            "Install the authority of the camera's certificate on this device",
        )
    if isinstance(fault, http.client.HTTPException):
        return Unavailable(f"{address.place} does not speak HTTP: {_text(fault)}", "Check the port and the scheme")
    return Unavailable(f"no connection to {address.place}: {_text(fault)}", "Check the address and the network")


def _text(fault: Exception) -> str:
    strerror = getattr(fault, "strerror", None)
    text = redact(str(strerror or fault or type(fault).__name__))[:200]
    return "".join(c if c.isprintable() else "?" for c in text)
