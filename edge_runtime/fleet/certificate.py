"""Until when a certificate is valid, read without a crypto library: the few levels of DER down to its validity."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from datetime import UTC, datetime

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18


def not_after(pem: str) -> float:
    """Seconds since 1970 at which the first certificate of a PEM text ends. ValueError if there is none to read.

    X.509 (RFC 5280, 4.1): Certificate { tbs { [0] version, serial, algorithm, issuer, validity { from, until } ...
    """
    found = _BLOCK.search(pem)
    if found is None:
        raise ValueError("there is no certificate in it")
    try:
        der = b64decode("".join(found[1].split()), validate=True)
    except binascii.Error:
        raise ValueError("its certificate is damaged") from None
    certificate, _ = _element(der, _SEQUENCE)
    fields, _ = _element(certificate, _SEQUENCE)
    if fields[:1] == bytes([_VERSION]):
        _, fields = _element(fields)
    for _ in ("serial", "algorithm", "issuer"):
        _, fields = _element(fields)
    validity, _ = _element(fields, _SEQUENCE)
    _, until = _element(validity)
    return _seconds(until)


def _element(der: bytes, tag: int | None = None) -> tuple[bytes, bytes]:
    """The content of the first element, and what follows it."""
    if len(der) < 2 or (tag is not None and der[0] != tag):
        raise ValueError("its certificate is damaged")
    length, head = der[1], 2
    if length & 0x80:
        head += length & 0x7F
        length = int.from_bytes(der[2:head], "big")
    if head > 6 or len(der) < head + length:
        raise ValueError("its certificate is damaged")
    return der[head : head + length], der[head + length :]


def _seconds(der: bytes) -> float:
    text = _element(der)[0].decode("ascii", "replace")
    if der[0] == _UTC_TIME:  # two digits of the year: 50 and above are of the last century (RFC 5280, 4.1.2.5.1)
        text = ("19" if text[:2] >= "50" else "20") + text
    elif der[0] != _GENERALIZED_TIME:
        raise ValueError("its certificate is damaged")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
