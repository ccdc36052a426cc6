from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime import __version__
from edge_runtime.cli.main import build_parser

from .conftest import Run, Site


def parsers(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield " ".join((*path, name)), inner
                yield from parsers(inner, (*path, name))


@pytest.mark.parametrize(("name", "parser"), list(parsers(build_parser())), ids=lambda value: str(value)[:30])
def test_the_help_of_every_verb_shows_an_example_that_names_it(name: str, parser: argparse.ArgumentParser) -> None:
    text = parser.format_help()
    assert f"edge-runtime {name}" in text.partition("examples:")[2]


def test_the_version(run: Run) -> None:
    assert run("--version").out == f"edge-runtime {__version__}\n"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edge_runtime.cli", *map(str, arguments)]


def test_a_reader_that_goes_away_is_no_failure(site: Site) -> None:
    call = command("infer", "--layout", site.layout, *[site.full] * 40, "--model", site.bundle, "--json")
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdout.readline()
        started.stdout.close()
        assert started.stderr.read() == b""
        assert started.wait(30) == 0


def test_a_full_disk_under_standard_output_is_told(site: Site) -> None:
    call = command("infer", "--layout", site.layout, site.full, "--model", site.bundle, "--json")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (69, 1), done.stderr
    assert "No space left on device. Make room" in done.stderr


@pytest.mark.parametrize("coding", ["utf-8:strict", "ascii"])
def test_a_file_name_that_the_locale_lacks_is_told_and_can_be_read_back(
    site: Site, tmp_path: Path, coding: str
) -> None:
    photo = Path(os.fsdecode(os.fsencode(tmp_path) + b"/sch\xf6n-\xe2\x98\x83.jpg"))
    photo.write_bytes(site.full.read_bytes())
    environment = os.environ | {"PYTHONIOENCODING": coding}
    call = command("infer", "--layout", site.layout, "--model", site.bundle)
    for extra in ([], ["--json"]):
        done = subprocess.run([*call, photo, *extra], env=environment, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
    assert os.fsencode(json.loads(done.stdout)["image"]) == os.fsencode(photo)


def test_closed_outputs_are_no_failure_and_complaints_do_not_land_among_the_answers(site: Site, tmp_path: Path) -> None:
    infer = f"{shlex.join(command('infer', '--layout', site.layout, '--model', site.bundle, '--json'))} {{}} {{}}"
    silent = subprocess.run(["sh", "-c", infer.format(site.full, ">&-")], capture_output=True, text=True, check=False)
    assert (silent.returncode, silent.stderr) == (0, "")
    bad = subprocess.run(
        ["sh", "-c", infer.format(tmp_path / "none.jpg", "2>&-")], capture_output=True, text=True, check=False
    )
    assert (bad.returncode, json.loads(bad.stdout)["reason"]) == (1, "unreadable")


def test_a_path_that_the_system_refuses_is_a_message(run: Run, site: Site) -> None:
    long = "a" * 300
    assert (
        run("infer", "--layout", site.layout, "--model", site.bundle, long, "--json").lines[0]["reason"] == "unreadable"
    )
    for call in (
        ("replay", long, "--layout", site.layout),
        ("camera", "probe", long),
        ("model", "list", "--state", long),
    ):
        ran = run(*call)
        assert (ran.code, ran.err.count("\n")) == (69, 1)
        assert "File name too long. Check the path" in ran.err


def test_an_interrupt_ends_quietly(site: Site) -> None:
    call = command("infer", "--layout", site.layout, *[site.full] * 400, "--model", site.bundle, "--json")
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdout.readline()
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=30)
        assert (started.returncode, err) == (130, b"")


def test_colours_come_only_on_a_terminal_and_never_against_the_users_wish(site: Site) -> None:
    call = command("infer", "--layout", site.layout, site.full, "--model", site.bundle)
    assert "\x1b[32m" in on_terminal(call, {})
    assert "\x1b" not in on_terminal(call, {"NO_COLOR": "1"})


def on_terminal(call: list[str], extra: dict[str, str]) -> str:
    """What a program writes when its output is a terminal."""
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | extra
    reader, writer = os.openpty()
    with subprocess.Popen(call, stdout=writer, env=environment) as started:
        os.close(writer)
        said = b""
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            try:
                piece = os.read(reader, 65_536)
            except OSError:
                break
            said += piece
        started.wait(30)
    os.close(reader)
    return said.decode()
