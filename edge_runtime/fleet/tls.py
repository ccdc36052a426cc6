"""TLS to the broker: never less than 1.2, never without its certificate and name checked; and what to do when it fails."""

from __future__ import annotations

import ssl
from pathlib import Path

from edge_runtime.fleet.backoff import Cause
from edge_runtime.fleet.certificate import not_after
from edge_runtime.fleet.faults import ConnectFault
from edge_runtime.fleet.settings import BrokerAddress, MqttSettings

_CA = "Check [mqtt] ca_file: it must hold the authority that signed the broker's certificate"
_NAME = "Write the url with the name that the certificate was made for, or have it made for this one"
_CRL = "Renew [mqtt] crl_file; it must come from the authority in ca_file"
_CLOCK = "Renew the certificate of the broker; if it is in order, set the device's clock"
_VERIFY = {
    2: ("was signed by an authority that is not trusted here", _CA),
    3: ("can not be checked: [mqtt] crl_file holds no list of its authority", _CRL),
    9: ("is not valid yet", _CLOCK),
    10: ("has expired", _CLOCK),
    11: ("can not be checked: the list in [mqtt] crl_file is not valid yet", _CRL),
    12: ("can not be checked: the list in [mqtt] crl_file has expired", _CRL),
    18: ("was signed by itself", _CA),
    19: ("was signed by an authority that is not trusted here", _CA),
    20: ("was signed by an authority that is not trusted here", _CA),
    21: ("was signed by an authority that is not trusted here", _CA),
    23: ("was revoked by its authority", "Do not trust this broker; whoever runs it must renew its certificate"),
    62: ("was made for another name", _NAME),
    64: ("was made for another address", _NAME),
}
"""OpenSSL's X509_V_ERR_* numbers -> what is wrong with the broker's certificate, and the mend."""

_ENDED = "It may want a certificate of the device ([mqtt] cert_file and key_file), or not speak TLS on that port; its log says"
_OWN = "Renew [mqtt] cert_file and key_file"
_ALERTS = {
    "CERTIFICATE_EXPIRED": ("it says that the device's certificate has expired", _OWN),
    "CERTIFICATE_REVOKED": ("it says that the device's certificate was revoked", _OWN),
    "UNKNOWN_CA": (
        "it does not know the authority of the device's certificate",
        "Have [mqtt] cert_file signed by the authority that the broker trusts",
    ),
    "CERTIFICATE_REQUIRED": ("it wants a certificate of the device", "Name [mqtt] cert_file and key_file"),
    "BAD_CERTIFICATE": ("it does not take the device's certificate", _OWN),
    "CERTIFICATE_UNKNOWN": ("it does not take the device's certificate", _OWN),
    "UNSUPPORTED_CERTIFICATE": ("it does not take the device's certificate", _OWN),
    "ACCESS_DENIED": ("it does not let the device in", "Check the broker's access list"),
    "HANDSHAKE_FAILURE": (
        "they found no common way",
        "It may want a certificate of the device: name [mqtt] cert_file and key_file",
    ),
    "WRONG_VERSION_NUMBER": ("it does not speak TLS on that port", "Check the port in [mqtt] url"),
    "UNSUPPORTED_PROTOCOL": ("it offers less than TLS 1.2, which is refused", "Bring the broker up to date"),
    "PROTOCOL_VERSION": ("it offers less than TLS 1.2, which is refused", "Bring the broker up to date"),
    "RECORD_LAYER_FAILURE": ("it does not speak TLS on that port", "Check the port in [mqtt] url"),
    "EOF": ("it ended the connection", _ENDED),
}
"""Parts of OpenSSL's reasons -> what the broker holds against the connection, and the mend."""


def tls_context(settings: MqttSettings) -> ssl.SSLContext:
    """From the files as they are now. Raises ConnectFault (CREDENTIALS) naming the one that is of no use."""
    context = _trusting(settings.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.crl_file is not None:
        _load_revoked(context, settings.crl_file)
    if settings.cert_file and settings.key_file:
        _load_own(context, settings.cert_file, settings.key_file)
    return context


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ValueError) as fault:
        raise _unusable("ca_file", ca_file, fault, "It must hold certificates in PEM") from None


def _load_revoked(context: ssl.SSLContext, crl_file: Path) -> None:
    try:
        if "BEGIN X509 CRL" not in crl_file.read_text("ascii"):
            raise ValueError("there is no list of revoked certificates in it")
        context.load_verify_locations(cafile=str(crl_file))
    except (OSError, ValueError) as fault:
        raise _unusable("crl_file", crl_file, fault, "It must hold a list in PEM (X509 CRL)") from None
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def _load_own(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
    for name, path in (("cert_file", cert_file), ("key_file", key_file)):
        try:
            path.read_bytes()
        except OSError as fault:
            raise _unusable(name, path, fault, "Check the path and who may read it") from None
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except (OSError, ValueError) as fault:
        if "MISMATCH" in str(fault).upper():
            found = f"[mqtt] key_file {key_file} does not fit the certificate in {cert_file}"
            raise ConnectFault(Cause.CREDENTIALS, found, "Put back the key that it was made with") from None
        raise _unusable("cert_file", f"{cert_file} or key_file {key_file}", fault, "Both must be in PEM") from None


def _no_password() -> str:
    """Without it OpenSSL would ask on the terminal."""
    raise ValueError("the key is encrypted, and nobody is there to type its password")


def _unusable(key: str, path: Path | str | None, fault: Exception, mend: str) -> ConnectFault:
    said = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
    if isinstance(fault, ssl.SSLError):
        said = "it is not in the right form"
    return ConnectFault(Cause.CREDENTIALS, f"[mqtt] {key} {path or '(the system)'} can not be used: {said}", mend)


def tls_fault(address: BrokerAddress, fault: ssl.SSLError) -> ConnectFault:
    """What a failed handshake, or an alert after it, means."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        what, mend = _VERIFY.get(fault.verify_code, (f"is not trusted: {fault.verify_message}", _CA))
        return ConnectFault(Cause.TLS, f"the certificate of the broker at {address} {what}", mend)
    reason = str(fault.reason or fault)
    for part, (what, mend) in _ALERTS.items():
        if part in reason.upper().replace(" ", "_"):
            return ConnectFault(Cause.TLS, f"TLS with the broker at {address} failed: {what}", mend)
    return ConnectFault(Cause.TLS, f"TLS with the broker at {address} failed: {reason}", "See the log of the broker")


def days_left(cert_file: Path | None, now: float) -> float | None:
    """Days until the certificate in the file ends, by a clock in seconds since 1970; None if that can not be said."""
    if cert_file is None:
        return None
    try:
        return (not_after(cert_file.read_text("utf-8")) - now) / 86_400.0
    except (OSError, ValueError):
        return None
