from __future__ import annotations

import argparse
import os
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
