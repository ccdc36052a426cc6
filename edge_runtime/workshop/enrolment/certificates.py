"""The fleet's own authority: certificates of brokers, devices and operators, and the list of those that count no more.

Keys are ECDSA on P-256: OpenSSL, Go and Python's ssl all take it. A client's certificate names its identity twice: the
common name `site/device` (mosquitto takes it as the user's name) and a URI `urn:edge-runtime:site/device:GENERATION`
(NATS takes that one; the generation grows when an identity is revoked, since NATS reads no revocation list).
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.workshop.enrolment.identity import Identity

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        KeySerializationEncryption,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    raise Unavailable(
        "certificates need the package cryptography, which is not installed", "pip install 'edge-runtime[fleet]'"
    ) from None

NODE_USER = "urn:edge-runtime:node"
"""What the nodes of a cluster know one another by; no device's certificate has it."""
_BACKDATED = datetime.timedelta(days=1)
"""A device's clock may be slow."""
_CA_DAYS = 7_300
_Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate in PEM, and what is kept about it."""

    certificate: bytes
    serial: str
    """In hex."""
    not_after: int
    """Unix time, s."""


def urn(identity: Identity, generation: int) -> str:
    """The name by which NATS knows the holder of a certificate."""
    return f"urn:edge-runtime:{identity}:{generation}"


def fresh_serial() -> str:
    """A serial number for `issue`, so that it can be recorded before there is a certificate that has it."""
    return f"{x509.random_serial_number():x}"


class Authority:
    """Signs certificates. Nothing here touches the disk."""

    def __init__(self, key: _Key, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def begin(cls, key_pem: bytes, passphrase: bytes | None, name: str, now: float) -> bytes:
        """The authority's own certificate in PEM, for a key that `new_key` made."""
        key = load_key(key_pem, passphrase)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        certificate = (
            _builder(subject, subject, key.public_key(), fresh_serial(), _CA_DAYS, now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM)

    @classmethod
    def load(cls, key_pem: bytes, certificate_pem: bytes, passphrase: bytes | None = None) -> Authority:
        """Raises Refused if they are none, or not each other's."""
        key, certificate = load_key(key_pem, passphrase), _load_certificate(certificate_pem)
        if certificate.public_key() != key.public_key():
            raise Refused("the authority's certificate is of another key", "Take both from one backup")
        return cls(key, certificate)

    def server(self, public: PublicKey, hosts: Sequence[str], days: int, now: float, node: bool = False) -> Issued:
        """For a broker that is reached by these names and addresses; `node`: one of a cluster."""
        names: list[x509.GeneralName] = [_host_name(host) for host in hosts]
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH]
        if node:
            names.append(x509.UniformResourceIdentifier(NODE_USER))
            purposes.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        return self._issue(public, hosts[0][:64], names, purposes, fresh_serial(), days, now)

    def client(
        self, public: PublicKey, identity: Identity, generation: int, serial: str, days: int, now: float
    ) -> Issued:
        """For a device, or a person or program of the fleet."""
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(urn(identity, generation))]
        return self._issue(public, str(identity), names, [ExtendedKeyUsageOID.CLIENT_AUTH], serial, days, now)

    def revocations(self, revoked: Mapping[str, int], number: int, now: float) -> bytes:
        """The list of serials (hex -> when, Unix s) that count no more, in PEM.

        Good for as long as the authority: OpenSSL refuses everybody when a list has run out.
        """
        today = _moment(now)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(today - _BACKDATED)
            .next_update(self._certificate.not_valid_after_utc)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for serial, when in sorted(revoked.items()):
            entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(_moment(when))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _issue(
        self,
        public: PublicKey,
        name: str,
        names: Iterable[x509.GeneralName],
        purposes: Iterable[x509.ObjectIdentifier],
        serial: str,
        days: int,
        now: float,
    ) -> Issued:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        certificate = (
            _builder(subject, self._certificate.subject, public, serial, days, now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Issued(certificate.public_bytes(Encoding.PEM), serial, int(certificate.not_valid_after_utc.timestamp()))


PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def new_key(passphrase: bytes | None = None) -> bytes:
    """A new key on P-256 in PEM (PKCS 8)."""
    protection: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def load_key(pem: bytes, passphrase: bytes | None = None) -> _Key:
    """A key that `new_key` made. Raises Refused."""
    encrypted = b"ENCRYPTED" in pem
    if encrypted and passphrase is None:
        raise Refused("the authority's key is encrypted", "Name the file of its passphrase with --passphrase-file")
    try:
        key = load_pem_private_key(pem, passphrase if encrypted else None)
    except (ValueError, UnsupportedAlgorithm):
        raise Refused("the key is malformed, or the passphrase is another one's", "Check --passphrase-file") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Refused("the key is not one on P-256", "Use the keys that `fleet init` made")
    return key


def public_of(key_pem: bytes) -> PublicKey:
    """The public half of a key that `new_key` made."""
    return load_key(key_pem).public_key()


def requested_key(csr_pem: bytes) -> PublicKey:
    """The public key of a signing request; what else it asks for is not looked at. Raises Refused."""
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key = request.public_key()
        sound = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as fault:
        raise Refused(f"the signing request is malformed: {fault}", _MAKE_CSR) from None
    if not sound:
        raise Refused("the signing request is not signed by its own key", _MAKE_CSR)
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise Refused("the signing request's key is neither P-256, P-384 nor Ed25519", _MAKE_CSR)


_MAKE_CSR = (
    "Make one: openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    " -subj /CN=device -keyout device.key -out device.csr"
)


def read_issued(certificate_pem: bytes) -> Issued:
    """What is kept about a certificate. Raises Refused."""
    certificate = _load_certificate(certificate_pem)
    return Issued(certificate_pem, f"{certificate.serial_number:x}", int(certificate.not_valid_after_utc.timestamp()))


def _load_certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise Refused("the certificate is malformed", "Take it from a backup") from None


def _builder(
    subject: x509.Name, issuer: x509.Name, public: PublicKey, serial: str, days: int, now: float
) -> x509.CertificateBuilder:
    today = _moment(now)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(int(serial, 16))
        .not_valid_before(today - _BACKDATED)
        .not_valid_after(today + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
