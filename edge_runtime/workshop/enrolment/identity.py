"""Who a certificate speaks for: `site/device`, or a person or program of the fleet such as `_operator/alice`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from edge_runtime.errors import Refused

OPERATOR: Final = "_operator"
COLLECTOR: Final = "_collector"
READER: Final = "_reader"
HOME: Final = "_home"
ROLES: Final = (OPERATOR, COLLECTOR, READER, HOME)
"""Stand where a device has its site. `_operator` commands, `_collector` keeps events and acknowledges them, `_reader`
only looks, `_home` is a Home Assistant."""
MAX_IDENTITY = 64
"""Characters of a certificate's common name (X.520)."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """The common name of a certificate: `site/device`. Make it with `parse`."""

    site: str
    device: str

    def __str__(self) -> str:
        return f"{self.site}/{self.device}"

    @property
    def is_device(self) -> bool:
        return self.site not in ROLES


def parse(text: str) -> Identity:
    """`lyon/till-3` or `_operator/alice`.

    Narrower than what a topic allows: letters and digits of ASCII, underscore and hyphen, so that a name means the same
    to every broker's rules (NATS takes no dot in a client's id). Raises Refused.
    """
    site, slash, device = text.partition("/")
    if not slash or "/" in device:
        raise Refused(f"{text!r} is no SITE/DEVICE", "Write it as lyon/till-3")
    if site.startswith("_") and site not in ROLES:
        raise Refused(f"{text!r}: {site!r} is no role", f"Choose one of {', '.join(ROLES)}")
    for name in (site.removeprefix("_") if site in ROLES else site, device):
        if not _NAME.match(name):
            raise Refused(
                f"{text!r}: {name!r} is not letters, digits, underscores and hyphens, beginning with a letter or digit",
                "Rename it",
            )
    if len(text) > MAX_IDENTITY:
        raise Refused(
            f"{text!r} has {len(text)} characters, a certificate's name has at most {MAX_IDENTITY}",
            "Shorten the site or the device",
        )
    return Identity(site, device)


def check_group(name: str) -> str:
    """The name of a group. Raises Refused."""
    if not _NAME.match(name) or len(name) > MAX_IDENTITY:
        raise Refused(
            f"the group {name!r} is not up to {MAX_IDENTITY} letters, digits, underscores and hyphens",
            "Rename it",
        )
    return name
