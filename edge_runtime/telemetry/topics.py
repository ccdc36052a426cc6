"""Names of the MQTT topics of one device: `edge/v1/<site>/<device>/...`."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import BadConfig

ROOT = "edge/v1"
EVERYONE = "_all"
"""Stands for every device of a site in a command's topic and audience."""
MAX_SEGMENT = 64


def segment_fault(name: str) -> str:
    """Why `name` can not be one level of a topic; empty if it can.

    1 to 64 printable characters without / + # and white space; a leading _ or $ belongs to groups and brokers.
    """
    if not 1 <= len(name) <= MAX_SEGMENT:
        return f"it has {len(name)} characters, 1 to {MAX_SEGMENT} are allowed"
    bad = sorted({c for c in name if c in "/+#" or c.isspace() or not c.isprintable()})
    if bad:
        return f"it holds {', '.join(map(repr, bad))}; / + # white space and control characters are not allowed"
    if name[0] in "_$":
        return f"it begins with {name[0]!r}, which is reserved"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "it is not valid Unicode text"
    return ""


def check_segment(what: str, name: str) -> str:
    """`name`, if it can be one level of a topic. Raises BadConfig naming `what` otherwise."""
    fault = segment_fault(name)
    if fault:
        raise BadConfig(f"{what} {name[: MAX_SEGMENT + 6]!r} can not be used in an MQTT topic: {fault}", "Rename it")
    return name


@dataclass(frozen=True, slots=True)
class Topics:
    """Every topic of one device. Raises BadConfig for a site or device name that no topic can hold."""

    site: str
    device: str

    def __post_init__(self) -> None:
        check_segment("[device] site", self.site)
        check_segment("[device] id", self.device)

    @property
    def base(self) -> str:
        return f"{ROOT}/{self.site}/{self.device}"

    @property
    def availability(self) -> str:
        return f"{self.base}/availability"

    @property
    def info(self) -> str:
        return f"{self.base}/info"

    @property
    def status(self) -> str:
        return f"{self.base}/status"

    @property
    def telemetry(self) -> str:
        return f"{self.base}/telemetry"

    def shelf(self, camera: str) -> str:
        return f"{self.base}/shelf/{check_segment('camera', camera)}"

    def event(self, kind: str) -> str:
        return f"{self.base}/event/{check_segment('event kind', kind)}"

    def snapshot(self, camera: str) -> str:
        return f"{self.base}/snapshot/{check_segment('camera', camera)}"

    def command(self, verb: str) -> str:
        return f"{self.base}/cmd/{check_segment('verb', verb)}"

    def response(self, verb: str) -> str:
        return f"{self.base}/resp/{check_segment('verb', verb)}"

    @property
    def command_filters(self) -> tuple[str, str]:
        """What to subscribe to: commands to this device, and to every device of the site."""
        return f"{self.base}/cmd/+", f"{ROOT}/{self.site}/{EVERYONE}/cmd/+"
