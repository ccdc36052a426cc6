"""A repository behind a web server: any that serves static files.

Nothing that the server does can hold the device longer than it was told to wait, or make it read another scheme. No
proxy is taken from the environment, no credentials are sent: what comes is trusted for its signatures alone.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from edge_runtime import __version__
from edge_runtime.errors import EdgeError, Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.trust.ceilings import CEILINGS, Ceilings
from edge_runtime.lifecycle.trust.transport import Moved, NotThere, Stream

_BLOCK = 65_536
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ABSENT = frozenset({403, 404, 410})
_MEND = "Check the network and the address of the repository"


class HttpTransport:
    """GET, one connection a file. `base` is the address of the folder that holds `metadata/` and `targets/`."""

    def __init__(self, base: str, ceilings: Ceilings = CEILINGS) -> None:
        self._base = base if base.endswith("/") else base + "/"
        self._ceilings = ceilings
        _require_address(urlsplit(self._base), None)

    @contextmanager
    def open(self, path: str, within_s: float, first_byte: int = 0) -> Iterator[Stream]:
        line, answer = self._answer(path, time.monotonic() + within_s, first_byte)
        try:
            yield _stream(line, answer, path, first_byte)
        finally:
            line.close()

    def _answer(self, path: str, deadline: float, first_byte: int) -> tuple[_Line, http.client.HTTPResponse]:
        """The first answer that is no redirect, and its line, which the caller closes."""
        url = urljoin(self._base, quote(path, safe="/%"))
        for _ in range(self._ceilings.redirects + 1):
            line = _Line(urlsplit(url), deadline, self._ceilings.connect_s)
            try:
                answer = line.ask(first_byte)
                if answer.status not in _REDIRECTS:
                    return line, answer
                url = _next(url, answer)
            except (OSError, http.client.HTTPException, UnicodeError) as fault:  # UnicodeError: a host that is no name
                line.close()
                raise line.told(fault) from None
            except EdgeError:
                line.close()
                raise
            line.close()
        raise Refused(f"{path} is redirected more than {self._ceilings.redirects} times", _MEND)


class _Line:
    """One connection that ends at the deadline, whatever either side is doing then."""

    def __init__(self, address: SplitResult, deadline: float, silence_s: float) -> None:
        self._address, self._silence_s = address, silence_s
        self._socket: socket.socket | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._late = threading.Event()
        self._timer = threading.Timer(max(0.001, deadline - time.monotonic()), self._cut)
        self._timer.daemon = True

    def ask(self, first_byte: int) -> http.client.HTTPResponse:
        """Connect and send the request. Raises OSError, HTTPException."""
        self._timer.start()
        host, secure = self._address.hostname or "", self._address.scheme == "https"
        port = self._address.port or (443 if secure else 80)
        self._socket = socket.create_connection((host, port), self._silence_s)
        if secure:
            context = ssl.create_default_context()
            shaken = context.wrap_socket(self._socket, server_hostname=host, do_handshake_on_connect=False)
            self._socket = shaken
            self._require_time()
            shaken.do_handshake()
        self._require_time()
        self._connection = http.client.HTTPConnection(host, port, timeout=self._silence_s)
        self._connection.sock = self._socket
        headers = {"User-Agent": f"edge-runtime/{__version__}", "Accept-Encoding": "identity", "Connection": "close"}
        if first_byte:
            headers["Range"] = f"bytes={first_byte}-"
        target = self._address.path + (f"?{self._address.query}" if self._address.query else "")
        self._connection.request("GET", target, headers=headers | {"Host": self._address.netloc})
        return self._connection.getresponse()

    def pieces(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        """The body as it comes."""
        try:
            while piece := answer.read1(_BLOCK):
                yield piece
        except (OSError, http.client.HTTPException) as fault:
            raise self.told(fault) from None
        if self._late.is_set():
            raise self.told(TimeoutError())

    def told(self, fault: Exception) -> EdgeError:
        """A failure of the line in the words of the house."""
        where = f"the repository at {self._address.scheme}://{self._address.netloc}"
        if self._late.is_set() or isinstance(fault, TimeoutError):
            return TryAgain(f"{where} is too slow, or silent", _MEND)
        if isinstance(fault, ssl.SSLCertVerificationError):
            return Unavailable(
                f"the certificate of {where} is not trusted: {fault.verify_message}",
                "Set the clock, install the authority's certificate on this device, or mend the server",
            )
        return TryAgain(f"{where} can not be read: {fault or type(fault).__name__}", _MEND)

    def close(self) -> None:
        """End the connection and its timer."""
        self._timer.cancel()
        for open_thing in (self._connection, self._socket):
            if open_thing is not None:
                with suppress(OSError):
                    open_thing.close()

    def _require_time(self) -> None:
        """For a deadline that passed while there was no socket, or another one, to cut."""
        if self._late.is_set():
            raise TimeoutError

    def _cut(self) -> None:
        self._late.set()
        if self._socket is not None:
            with suppress(OSError):  # not ssl's own, which takes the session away from under who is reading
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _stream(line: _Line, answer: http.client.HTTPResponse, path: str, first_byte: int) -> Stream:
    if answer.status in _ABSENT:
        raise NotThere(f"the repository has no {path} (status {answer.status})", _MEND)
    if answer.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise Moved(f"{path} ends before byte {first_byte}", _MEND)
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT and first_byte:
        span = re.match(r"bytes +([0-9]{1,15})-", answer.getheader("Content-Range", ""))
        if span is None or int(span[1]) != first_byte:
            raise Moved(f"{path} was asked for from byte {first_byte}, and comes from elsewhere", _MEND)
        return Stream(first_byte, line.pieces(answer), answer.length)
    if answer.status == http.HTTPStatus.OK:
        return Stream(0, line.pieces(answer), answer.length)
    raise TryAgain(f"the repository answers with status {answer.status} for {path}", _MEND)


def _next(url: str, answer: http.client.HTTPResponse) -> str:
    try:
        target = urljoin(url, answer.getheader("Location", ""))
        _require_address(urlsplit(target), urlsplit(url).scheme)
    except ValueError as fault:
        raise Refused(f"the repository redirects to no address: {fault}", _MEND) from None
    return target


def _require_address(address: SplitResult, before: str | None) -> None:
    """`before`: the scheme that is left by a redirect."""
    allowed = ("https",) if before == "https" else ("http", "https")
    try:
        address.port  # noqa: B018 - a port that is no number is found here
    except ValueError as fault:
        raise Refused(f"the repository's address is wrong: {fault}", _MEND) from None
    if address.scheme not in allowed or not address.hostname or "@" in address.netloc:
        asked = f"{address.scheme}://{address.hostname or ''}"
        raise Refused(
            f"{'a redirect to ' if before else ''}{asked} is not followed; {' or '.join(allowed)} without a user was expected",
            "Mend the address of the repository, or its server's redirects",
        )
    if any(ord(letter) < 33 or ord(letter) > 126 for letter in address.geturl()):
        raise Refused("the repository's address holds spaces or letters that an address can not hold", _MEND)
