from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from faults.authority import DAY, NOW, Authority
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.fleet.certificate import not_after
from edge_runtime.fleet.tls import days_left


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "good")


@pytest.mark.parametrize(
    "until", [NOW + DAY, datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2061, 2, 3, 4, 5, 6, tzinfo=UTC)]
)
def test_the_end_of_a_certificate(authority: Authority, until: datetime) -> None:
    """Dates up to 2049 are written with two digits of the year, later ones with four."""
    pair = authority.issue("box", until=until)
    text = pair.cert.read_text()
    assert not_after(text) == until.timestamp()
    assert not_after("some words before it\n" + text + authority.file.read_text()) == until.timestamp()


def test_authorities_of_the_system_too() -> None:
    """Old ones hold RSA keys, long serials and names of every kind; OpenSSL's own reading is the judge."""
    context = ssl.create_default_context()
    found = list(zip(context.get_ca_certs(), context.get_ca_certs(binary_form=True), strict=True))
    if not found:
        pytest.skip("the system trusts no authority (apt-get install ca-certificates)")
    for told, der in found:
        assert not_after(ssl.DER_cert_to_PEM_cert(der)) == ssl.cert_time_to_seconds(told["notAfter"])


def test_days_left(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("box", until=NOW + 10 * DAY)
    assert days_left(pair.cert, NOW.timestamp()) == pytest.approx(10.0)
    assert days_left(pair.cert, (NOW + 11 * DAY).timestamp()) == pytest.approx(-1.0)
    assert days_left(None, 0.0) is None
    assert days_left(tmp_path / "absent", 0.0) is None
    assert days_left(pair.key, 0.0) is None


@given(data=st.data())
@settings(max_examples=300)
def test_damaged_certificates_are_refused_and_never_anything_else(authority: Authority, data: st.DataObject) -> None:
    der = bytearray(ssl.PEM_cert_to_DER_cert(authority.file.read_text()))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    der = der[: data.draw(st.integers(0, len(der)))]
    try:
        not_after(ssl.DER_cert_to_PEM_cert(bytes(der)))
    except ValueError:
        return


@given(st.text(max_size=200))
def test_no_text_is_anything_but_a_certificate_or_refused(text: str) -> None:
    for shown in (text, f"-----BEGIN CERTIFICATE-----{text}-----END CERTIFICATE-----"):
        with pytest.raises(ValueError):
            not_after(shown)
