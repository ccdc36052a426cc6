"""The journal of commands: bounded, only for what was taken, and whatever lies in its file, the device starts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.fleet.command_form import Command
from edge_runtime.fleet.journal import KEPT, REMEMBERED, CommandJournal, Record
from edge_runtime.telemetry.messages import Response

HEAD = {"site": "store", "device": "box", "session": 1, "at": 1.0}


def record(n: int, state: str = "succeeded") -> Record:
    open_one = (
        Command(f"c-{n}", "ping", "store/box", n + 1, 1.0, 2.0, args={"text": "ä", "n": n})
        if state == "accepted"
        else None
    )
    response = Response(**HEAD, id=f"c-{n}", verb="ping", state=state, result={"n": n, "x": None, "f": 0.5})
    return Record(
        digest="d", signer="s", audience="store/box", seq=n + 1, reply_to="t", response=response, command=open_one
    )


def test_what_was_noted_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state" / "commands.json"
    journal = CommandJournal(path)
    journal.note(record(1))
    journal.note(record(2, "accepted"))
    assert journal.keep()
    again = CommandJournal(path)
    assert again.records() == (record(1), record(2, "accepted"))
    assert again.get("c-2") == record(2, "accepted") and again.get("c-3") is None


def test_it_is_bounded_and_forgets_the_oldest_that_has_ended(tmp_path: Path) -> None:
    journal = CommandJournal(tmp_path / "commands.json")
    journal.note(record(0, "accepted"))
    for n in range(1, REMEMBERED + 5):
        journal.note(record(n))
    assert len(journal.records()) == REMEMBERED
    assert journal.get("c-0") is not None, "it is under way"
    assert journal.get("c-5") is None
    journal.keep()
    assert len(CommandJournal(tmp_path / "commands.json").records()) == KEPT


def test_a_new_receipt_makes_a_command_the_newest() -> None:
    journal = CommandJournal()
    for n in range(REMEMBERED):
        journal.note(record(n))
    journal.note(record(0))
    journal.note(record(REMEMBERED))
    assert journal.get("c-0") is not None and journal.get("c-1") is None
    assert journal.keep(), "in memory there is nothing to fail"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.just(b"[" * 100_000) | st.just(b'{"records":' * 20_000), st.booleans())
def test_whatever_lies_there_is_set_aside_and_a_new_one_begun(raw: bytes, sealed: bool) -> None:
    """Also with a right digest over something else."""
    import hashlib

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "commands.json"
        if sealed:
            body = msgspec.json.encode(raw.hex())
            digest = hashlib.sha256(body).hexdigest()
            raw = msgspec.json.encode(
                {"format": "edge-command-journal/1", "sha256": digest, "records": msgspec.Raw(body)}
            )
        path.write_bytes(raw)
        journal = CommandJournal(path)
        assert journal.records() == ()
        assert path.with_name("commands.json.corrupt").read_bytes() == raw
        journal.note(record(1))
        assert journal.keep() and CommandJournal(path).records() == (record(1),)
