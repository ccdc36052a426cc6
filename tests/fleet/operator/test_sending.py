"""Sending: the same bytes until everybody has answered, and never after they have expired."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.cli.fleet.send import arguments, scalar
from edge_runtime.errors import Refused, Usage
from edge_runtime.fleet.command_form import decode_command
from edge_runtime.fleet.operator import sent_file
from edge_runtime.fleet.operator.sending import Request, Sending, sign, topic_of
from edge_runtime.fleet.operator.signer import Unsigned
from edge_runtime.fleet.operator.views import ResponseView

NOW = 1_760_000_000.0


def order(*devices: str, audience: str = "s/a", lifetime_s: float = 60.0):
    return sign(Request("c-1", "ping", {"n": 1}, NOW, lifetime_s), audience, devices, Unsigned())


def receipt(state: str, reason: str = "", name: str = "c-1") -> ResponseView:
    return ResponseView(id=name, verb="ping", state=state, reason=reason)


def test_a_command_is_one_that_devices_take_and_goes_to_its_topic():
    made = order("s/a")
    command = decode_command(made.envelope)
    assert (command.audience, command.seq, command.expires_at) == ("s/a", int(NOW * 1e3), NOW + 60)
    assert made.topic == "edge/v1/s/a/cmd/ping"
    assert topic_of("_group/canary", "ping") == "edge/v1/_group/canary/cmd/ping"
    assert topic_of("s/_all", "ping") == "edge/v1/s/_all/cmd/ping"
    for audience, verb in (("s", "ping"), ("s/a/b", "ping"), ("s/+", "ping"), ("s/a", "p/q"), ("_x/a", "ping")):
        with pytest.raises(Usage):
            topic_of(audience, verb)
    with pytest.raises(Usage):
        sign(Request("c-1", "ping", {"text": "x" * 20_000}, NOW, 60.0), "s/a", (), Unsigned())
    with pytest.raises(Usage):
        sign(Request("no id!", "ping", {}, NOW, 60.0), "s/a", (), Unsigned())


def test_it_is_sent_again_more_and_more_rarely_as_the_same_bytes_until_it_expires():
    sending = Sending("c-1", [order("s/a")])
    times = [t for t in range(200) if sending.due(NOW + t, 9)]
    assert times == [0, 2, 6, 14, 29, 44, 59]


def test_it_is_over_when_everybody_has_given_a_last_answer():
    sending = Sending("c-1", [order("s/a"), order("s/b", audience="s/b")])
    assert len(sending.due(NOW, 9)) == 2
    assert sending.heard("s/a", receipt("accepted"))
    assert not sending.heard("s/a", receipt("accepted"))
    assert sending.heard("s/a", receipt("succeeded"))
    assert not sending.heard("s/a", receipt("running")), "late and out of order"
    assert not sending.heard("s/b", receipt("succeeded", name="other"))
    assert not sending.done
    assert [due.audience for due in sending.due(NOW + 10, 9)] == ["s/b"]
    assert sending.heard("s/b", receipt("refused", "expired"))
    assert sending.done


def test_busy_is_no_last_answer():
    sending = Sending("c-1", [order("s/a")])
    sending.due(NOW, 9)
    assert sending.heard("s/a", receipt("refused", "busy"))
    assert not sending.done
    assert sending.due(NOW + 40, 9)
    assert sending.heard("s/a", receipt("succeeded"))
    assert sending.done


def test_a_device_that_does_not_know_the_key_explains_its_silence_and_ends_nothing():
    """It can not name the command, for it does not believe what stands in it."""
    sending = Sending("c-1", [order("s/a"), order("s/b", audience="s/b")])
    stranger = ResponseView(verb="ping", state="refused", reason="unsigned", detail="of no key that is known here")
    for device in ("s/a", "x/y"):
        assert not sending.heard(device, stranger)
    assert (sending.answers["s/a"].reason, sending.answers["s/a"].final, set(sending.answers)) == (
        "unsigned", False, {"s/a", "s/b"},
    )  # fmt: skip
    assert sending.heard("s/a", receipt("succeeded")), "it was about another operator's command"
    assert not sending.heard("s/a", stranger)
    assert sending.answers["s/a"].reason == ""


def test_a_group_is_expected_as_a_whole_and_a_stranger_counts_as_well():
    sending = Sending("c-1", [order("s/a", "t/b", audience="_group/g")])
    sending.heard("s/a", receipt("succeeded"))
    assert sending.due(NOW, 9)
    sending.heard("x/y", receipt("succeeded"))
    sending.heard("t/b", receipt("failed"))
    assert sending.done
    assert sending.due(NOW + 50, 9) == []
    assert set(sending.answers) == {"s/a", "t/b", "x/y"}


def test_what_was_sent_is_sent_again_under_its_id_and_nothing_else(tmp_path: Path):
    made = (order("s/a"),)
    assert sent_file.sent_before(tmp_path, "c-1", "s/a", "ping", {"n": 1}) is None
    sent_file.keep(tmp_path, "c-1", "s/a", "ping", {"n": 1}, made)
    assert sent_file.sent_before(tmp_path, "c-1", "s/a", "ping", {"n": 1}) == made
    for target, verb, args in (("s/b", "ping", {"n": 1}), ("s/a", "status", {"n": 1}), ("s/a", "ping", {"n": 2})):
        with pytest.raises(Refused, match="was used for"):
            sent_file.sent_before(tmp_path, "c-1", target, verb, args)
    (tmp_path / "sent" / "c-1.json").write_bytes(b"{")
    with pytest.raises(Refused, match="damaged"):
        sent_file.sent_before(tmp_path, "c-1", "s/a", "ping", {"n": 1})


def test_values_are_what_they_look_like():
    found = arguments(
        ["a=3", "b=0.5", "c=true", "d=null", "e=1.2.0", 'f="3"', "g=", "h=x=y", "i=[1]", "j=1e999", "k=NaN"]
    )
    assert found == {
        "a": 3, "b": 0.5, "c": True, "d": None, "e": "1.2.0", "f": "3", "g": "", "h": "x=y", "i": "[1]", "j": "1e999",
        "k": "NaN",
    }  # fmt: skip
    for wrong in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(Usage):
            arguments(wrong)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_some_value(text):
    assert isinstance(scalar(text), str | int | float | bool | None)
