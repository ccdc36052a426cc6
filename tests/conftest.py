"""What all tests share: seeds, and how a test asks for a program that is not Python."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable

import pytest

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


def pytest_configure() -> None:
    """A shell starts background jobs with SIGINT ignored, and a child inherits that: its Ctrl-C would never arrive."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
