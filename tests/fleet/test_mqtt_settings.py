from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import BadConfig
from edge_runtime.fleet.settings import MqttSettings, parse_url


def test_urls() -> None:
    assert str(parse_url("mqtt://broker.shop")) == "broker.shop:1883"
    assert parse_url("mqtts://10.0.0.7").port == 8883
    assert parse_url("mqtts://[::1]:9000/").host == "::1"
    assert parse_url("mqtts://b").tls and not parse_url("mqtt://b").tls


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("broker", "is not mqtt://"),
        ("http://broker", "is not mqtt://"),
        ("mqtt://", "is not mqtt://"),
        ("mqtt://b:99999", "can not be read"),
        ("mqtt://me:secret@b:99999", "can not be read"),
        ("http://me:secret@b", "is not mqtt://"),
        ("mqtt://b:0", "is not mqtt://"),
        ("mqtt://me:secret@b", "user name or password"),
        ("mqtt://b/path", "goes on"),
    ],
)
def test_a_wrong_url_is_refused_with_the_mend(url: str, says: str) -> None:
    with pytest.raises(BadConfig, match=says) as caught:
        MqttSettings(url, "box")
    assert caught.value.mend
    assert "me:secret" not in str(caught.value)


@given(st.text(max_size=40))
def test_no_text_is_anything_but_an_address_or_a_refusal(text: str) -> None:
    try:
        address = parse_url(text)
    except BadConfig:
        return
    assert address.host and 0 < address.port < 65_536


@pytest.mark.parametrize(
    "options",
    [
        {"url": "mqtt://b", "ca_file": Path("ca.pem")},
        {"url": "mqtts://b", "cert_file": Path("c.pem")},
        {"url": "mqtt://b", "password_file": Path("p")},
        {"url": "mqtt://b", "keepalive_s": 1},
        {"url": "mqtt://b", "client_id": ""},
    ],
)
def test_what_does_not_go_together_is_refused(options: dict) -> None:
    with pytest.raises(BadConfig):
        MqttSettings(**{"client_id": "box", **options})
