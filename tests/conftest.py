"""What all tests share: seeds, and how a test asks for a program that is not Python."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # as pytest does for tests/<room>, so that modules have one name

from telemetry import every_message

REQUIRE_ALL = os.environ.get("EDGE_TESTS_REQUIRE_ALL") == "1"
"""Set by .ci/run, which installs every program: a missing one is then a failure instead of a skip."""


@pytest.fixture(scope="session")
def program() -> Callable[[str, str], str]:
    """`program("mosquitto", "mosquitto")`: path of an executable, or skip and name the Debian package."""

    def find(name: str, package: str) -> str:
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if path is None:
            message = f"{name} is not installed (apt-get install {package})"
            if REQUIRE_ALL:
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find


def pytest_configure(config: pytest.Config) -> None:
    """The document of messages judges them from here on. Ctrl-C and hang-up must reach the programs under test.

    A shell's background jobs ignore the one, nohup the other, and what is ignored is inherited; what is handled here
    is at its default again in a new program.
    """
    config.addinivalue_line("markers", every_message.MARK)
    every_message.watch_paho()
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, lambda *_: None)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _every_message_is_documented(request: pytest.FixtureRequest) -> Iterator[None]:
    yield from every_message.judged(request)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seen = every_message.LEDGER
    if seen.published or seen.heard:
        terminalreporter.write_line(
            f"messages checked against docs/asyncapi.yaml: {seen.published} published, {seen.heard} heard"
        )
