"""What is to be said of the line to the broker: for the status file, for health, for diagnostics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edge_runtime.config import MqttConfig
from edge_runtime.daemon.convergence import Account
from edge_runtime.daemon.line import Line
from edge_runtime.daemon.overlay import Overlay
from edge_runtime.daemon.status_file import AfarLine, BrokerLine, DesiredLine, SpoolLine
from edge_runtime.telemetry.builders import clipped
from edge_runtime.telemetry.messages import Scalar

_LINK = ("state", "cause", "address", "protocol", "receipts", "connections", "unconfirmed", "certificate_days")
_UPLINK = ("sent", "acknowledged", "retained", "events", "inbox_dropped", "restarts")
_SPOOL = ("events", "telemetry", "bytes", "accepted", "degraded", "salvaged")


def line_troubles(line: Line) -> Iterator[str]:
    """What a person must know of. Also looks after the uplink's thread: one that ended is started again."""
    uplink = line.uplink.watch()
    yield from (f"broker: {problem}" for problem in line.link.report().problems)
    if spool := line.uplink.counts().spool.degraded:
        yield f"spool: {spool}"
    if uplink:
        yield uplink
    if line.keys is not None and line.keys.trouble:
        yield line.keys.trouble
    if line.mailbox.valve is not None and line.mailbox.valve.problem:
        yield f"broker: {line.mailbox.valve.problem}"
    if line.clerk is not None:
        yield from (f"commands: {problem}" for problem in line.clerk.problems)


def broker_line(line: Line) -> BrokerLine:
    """For the status file."""
    counts, report = line.uplink.counts(), line.link.report()
    spool = counts.spool
    return BrokerLine(
        str(report.state),
        line.link.problem,
        counts.acknowledged,
        SpoolLine(spool.events, spool.telemetry, spool.bytes, dict(spool.dropped), spool.degraded),
        counts.events,
        counts.sent,
        report.address,
        report.protocol,
        report.receipts,
        report.unconfirmed,
        None if report.certificate_days is None else round(report.certificate_days, 1),
        counts.restarts,
    )


def afar_line(mqtt: MqttConfig | None, overlay: Overlay, account: Account | None) -> AfarLine | None:
    """What may be done from afar, and what was; None without a broker."""
    if mqtt is None:
        return None
    trial = overlay.trial.why if overlay.trial is not None else ""
    desired = None
    if account is not None and account.state != "none":
        desired = DesiredLine(account.seq, account.state, account.reason, account.detail)
    return AfarLine(mqtt.commands, mqtt.snapshots, dict(overlay.in_force), trial, desired)


def line_sections(line: Line) -> dict[str, dict[str, Scalar]]:
    """Findings by section."""
    counts, report = line.uplink.counts(), line.link.report()
    dropped = {f"dropped_{reason}": number for reason, number in counts.spool.dropped.items()}
    found = {
        "link": described({name: getattr(report, name) for name in _LINK})
        | {f"problem_{n}": clipped(text) for n, text in enumerate(report.problems[:8])}
        | {"last_error": clipped(report.last_error)},
        "uplink": described({name: getattr(counts, name) for name in _UPLINK}),
        "spool": described({name: getattr(counts.spool, name) for name in _SPOOL} | dropped),
    }
    if line.keys is not None:
        found["trust"] = {"command_keys": len(line.keys.ring.keys()), "problem": clipped(line.keys.ring.problem)}
    return found


def described(values: Mapping[str, object]) -> dict[str, Scalar]:
    """Any figures as scalars: numbers stay, everything else becomes short text."""
    return {
        key[:60]: value if isinstance(value, int | float | bool | None) else clipped(str(value))
        for key, value in list(values.items())[:40]
    }
