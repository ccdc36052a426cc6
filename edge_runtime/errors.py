"""Error families. The family tells the caller what to do next; the message tells the person how to mend it.

A dark, frozen, covered or moved picture is none of these: that is an expected value (`records.Unusable`).
Programmer faults (TypeError, AssertionError) stay outside the family on purpose.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_PROBLEM = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69
EXIT_TRY_AGAIN = 75
EXIT_BAD_CONFIG = 78


class EdgeError(Exception):
    """Root of all expected failures.

    `found` says what was met (and what was expected), `mend` what the reader can do about it.
    """

    exit_code = EXIT_PROBLEM

    def __init__(self, found: str, mend: str = "") -> None:
        stop = "" if found.endswith((".", "?")) else "."
        super().__init__(f"{found}{stop} {mend}" if mend else found)
        self.found = found
        self.mend = mend


class Refused(EdgeError):
    """This item is bad and stays bad: refuse it, go on with the others."""


class Usage(EdgeError):
    """The call itself is wrong."""

    exit_code = EXIT_USAGE


class Unavailable(EdgeError):
    """A thing that is needed is not there (camera, broker, file): stop, or wait for it."""

    exit_code = EXIT_UNAVAILABLE


class TryAgain(EdgeError):
    """A passing fault: the same call may go through later."""

    exit_code = EXIT_TRY_AGAIN


class ModelFault(EdgeError):
    """The running model misbehaves (does not load, NaN, wrong shapes): fall back to the previous one."""


class BadConfig(EdgeError):
    """A human-written file is wrong. `faults` holds every fault found, not only the first."""

    exit_code = EXIT_BAD_CONFIG

    def __init__(self, found: str, mend: str = "", faults: tuple[str, ...] = ()) -> None:
        super().__init__(found, mend)
        self.faults = faults or (str(self),)
