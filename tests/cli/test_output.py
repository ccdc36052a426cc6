"""What is said to a person moves no cursor, whoever's words are in it: devices, brokers and files say much of it."""

from __future__ import annotations

import pytest

from edge_runtime.cli.fleet.send import audiences_of
from edge_runtime.cli.output import complain, harmless, say
from edge_runtime.errors import Usage
from edge_runtime.fleet.operator.directory import Directory

EVIL = "\x1b]0;mine\x07\x1b[2J\x1b[8mhidden\rover\x9b2J\u202e"


def test_colours_and_ends_of_lines_stay_and_nothing_else_that_is_no_sign(capsys: pytest.CaptureFixture[str]) -> None:
    own = "\x1b[31mred\x1b[0m\n\tnext: é 日本 \u00a0 …"
    assert harmless(own) == own
    for tell in (say, complain):
        tell(own + EVIL)
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert text.startswith(own)
        assert text.removeprefix(own).removesuffix("\n").isprintable()


def test_a_message_that_names_devices_is_harmless_as_well() -> None:
    known = Directory()
    for number in range(2):
        known.take(f"edge/v1/lyon/{EVIL}{number}/availability", b'{"state": "online"}', True, 1.0)
    with pytest.raises(Usage) as caught:
        audiences_of("lyon/*", known, yes=False)
    assert harmless(str(caught.value)).isprintable()
