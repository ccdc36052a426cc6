"""How an operator gets to the broker: addresses, certificates, and what is said when it does not work."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Reach:
    """How an operator gets to the broker. `urls`: nodes of one cluster, tried in turn."""

    urls: tuple[str, ...]
    name: str = "operator"
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


def unreachable(address: str, fault: Exception) -> Unavailable:
    """Why the broker at `address` can not be reached, with the mend."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return Unavailable(
            f"the certificate of the broker at {address} is not trusted: {fault.verify_message}",
            "Check ca_file in fleet.toml, and this computer's clock",
        )
    if isinstance(fault, ssl.SSLError):
        return Unavailable(f"TLS with {address} failed: {fault.reason or fault}", "Check cert_file and key_file")
    told = getattr(fault, "strerror", None) or fault
    return Unavailable(
        f"the broker at {address} can not be reached: {told}", "Check the address, and that the broker runs"
    )


def tls_context(reach: Reach) -> ssl.SSLContext:
    """TLS 1.2 or later, with the operator's certificate. Raises Unavailable if the files can not be used."""
    try:
        context = ssl.create_default_context(cafile=str(reach.ca_file) if reach.ca_file else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if reach.cert_file and reach.key_file:
            context.load_cert_chain(reach.cert_file, reach.key_file)
    except (OSError, ValueError) as fault:
        names = ", ".join(str(name) for name in (reach.ca_file, reach.cert_file, reach.key_file) if name)
        raise Unavailable(
            f"{names} can not be used for TLS: {fault}", "Check the files in the fleet's folder"
        ) from None
    return context
