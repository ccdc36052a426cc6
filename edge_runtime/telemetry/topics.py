"""Names of the MQTT topics: one device's below `edge/v1/<site>/<device>/`, those of many below `_all` and `_group`."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import BadConfig

ROOT = "edge/v1"
EVERYONE = "_all"
"""Stands for every device of a site in a command's topic and audience."""
GROUP = "_group"
"""Comes before the name of a group, which has devices of any sites, in a command's topic and audience."""
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
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_segment("[device] site", self.site)
        check_segment("[device] id", self.device)
        for group in self.groups:
            check_segment("[device] groups:", group)

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

    @property
    def reported(self) -> str:
        """Retained: how far the device is with its desired state."""
        return f"{self.base}/reported"

    @property
    def desired(self) -> str:
        """Retained, written by operators: a signed envelope."""
        return f"{self.base}/desired"

    @property
    def ack(self) -> str:
        """Written by collectors: the ids that they have stored."""
        return f"{self.base}/ack"

    @property
    def diagnostics(self) -> str:
        return f"{self.base}/diagnostics"

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
    def audiences(self) -> dict[str, str]:
        """Every audience of a command that means this device -> how the topics of such commands begin."""
        names = (f"{self.site}/{self.device}", f"{self.site}/{EVERYONE}", *(f"{GROUP}/{name}" for name in self.groups))
        return {name: f"{command_root(name)}/" for name in names}

    @property
    def command_filters(self) -> tuple[str, ...]:
        """What to subscribe to: commands to this device, to every device of its site, and to its groups."""
        return tuple(f"{root}+" for root in self.audiences.values())


def command_root(audience: str) -> str:
    """`edge/v1/<audience>/cmd`, below which the verbs are; `<site>/<device>`, `<site>/_all` or `_group/<name>`.

    Raises BadConfig for what can be no audience.
    """
    place, _, name = audience.partition("/")
    if place != GROUP:
        check_segment("audience: site", place)
    if place == GROUP or name != EVERYONE:
        check_segment("audience:", name)
    return f"{ROOT}/{audience}/cmd"


@dataclass(frozen=True, slots=True)
class Heard:
    """What a topic says about its message."""

    site: str
    device: str
    kind: str
    """`availability`, `shelf`, `event`, `resp` ..."""
    name: str = ""
    """What comes after the kind: a camera, a verb; it may have several levels."""


def read_topic(topic: str) -> Heard | None:
    """Whose and of what kind a message is; None if it is of no device (a group's, or not of edge/v1)."""
    parts = topic.split("/", 5)
    if len(parts) < 5 or f"{parts[0]}/{parts[1]}" != ROOT or not parts[4]:
        return None
    if segment_fault(parts[2]) or segment_fault(parts[3]):
        return None
    return Heard(parts[2], parts[3], parts[4], parts[5] if len(parts) == 6 else "")
