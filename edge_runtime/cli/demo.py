"""`demo`: the whole product in one command, on a simulated store."""

from __future__ import annotations

import argparse
import signal
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from edge_runtime.cli.output import STATE_COLOURS, add_json, add_verb, complain, emit, paint, say, watched
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.cli.stage import Stage, StagePlan

LAST_MESSAGES_S = 3.0
LOOK_S = 0.5
PER_LINE, CELL = 6, 17


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    verb = add_verb(
        verbs,
        "demo",
        "a simulated store, from camera to broker, in one command",
        "Starts a store that renders itself, an MQTT broker, the daemon that reads the store's network camera, and an\n"
        "independent subscriber that scores every published state against the truth. Ends by itself, or at Ctrl-C.\n"
        "Everything it writes is in a temporary folder.",
        "  edge-runtime demo\n  edge-runtime demo --duration 600 --port 8780      then open the page it names\n"
        "  edge-runtime demo --duration 60 --no-view --json | tail -1\n"
        "  edge-runtime demo --upgrade --no-view             a newer model, from a signed repository to in charge",
    )
    verb.add_argument("--duration", type=float, default=60.0, metavar="S", help="seconds to run (%(default)s)")
    verb.add_argument("--no-view", action="store_true", help="without the local web page and the table")
    verb.add_argument("--port", type=int, default=0, help="port of the local web page (0: any free one)")
    verb.add_argument("--model", type=Path, metavar="BUNDLE", help="a bundle; default: the newest that is installed")
    verb.add_argument(
        "--upgrade",
        action="store_true",
        help="begin with the older shipped model, publish the newer one in a signed repository, and bring it in over MQTT",
    )
    add_json(verb)
    verb.set_defaults(act=_demo)


def _demo(args: argparse.Namespace) -> int:
    if not 1.0 <= args.duration <= 86_400.0:
        raise Usage(f"--duration {args.duration}", "Give 1 to 86400 seconds")
    if not 0 <= args.port <= 65_535:
        raise Usage(f"--port {args.port}", "Give 0 (any free one) to 65535")
    if args.upgrade and args.model:
        raise Usage("--upgrade with --model", "Give one: an upgrade is from one shipped model to the next")
    import tempfile

    from edge_runtime.cli.stage import Stage
    from edge_runtime.daemon.compose import default_bundle
    from edge_runtime.lifecycle.bundle import verify_bundle

    verify_bundle(args.model or default_bundle())
    if not args.json:
        say("opening a simulated store, a broker and the daemon ...")
    with _Signals() as signals, tempfile.TemporaryDirectory(prefix="edge-runtime-demo-") as folder:
        with Stage(Path(folder), _plan(args)) as stage:
            began_s = time.monotonic()
            upgraded: dict[str, object] = {}
            with suppress(KeyboardInterrupt):
                if args.upgrade:
                    upgraded = {"upgrade": _upgrade(stage, args)}
                _watch(stage, began_s + args.duration, args)
            duration_s = time.monotonic() - began_s
            signals.ignore()
            stage.stop_daemon()
            summary = _summary(stage) | {"duration_s": round(duration_s, 1)} | upgraded
        if args.json:
            emit(summary)
        else:
            _say_summary(summary)
    return _verdict(summary)


def _plan(args: argparse.Namespace) -> StagePlan:
    from edge_runtime.cli.stage import StagePlan

    if not args.upgrade:
        return StagePlan(args.model, not args.no_view, args.port)
    from edge_runtime.cli.upgrade import UpgradePlan

    prepare = UpgradePlan().prepare
    return StagePlan(None, not args.no_view, args.port, commands="unsigned", telemetry_s=1.0, prepare=prepare)


def _upgrade(stage: Stage, args: argparse.Namespace) -> dict[str, object]:
    """Bring the newer model in, and say how it went."""
    from edge_runtime.cli.stage import DEVICE, SITE
    from edge_runtime.cli.upgrade import UpgradePlan, carry_out
    from edge_runtime.fleet.operator.one_device import Operator

    while not any(camera.get("slots") for camera in stage.status().get("cameras", ())):
        stage.check()
        time.sleep(LOOK_S)
    tell = complain if args.json else say
    with Operator(stage.broker, SITE, DEVICE) as operator:
        upgrade = carry_out(stage, operator, UpgradePlan(say=tell))
    record = upgrade.record()
    p95 = ", ".join(f"{name} {ms}" for name, ms in upgrade.p95_ms.items())
    tell(
        f"{upgrade.was} -> {upgrade.now}: {record['install_to_committed_s']} s from the command to the commit, "
        f"{upgrade.frames} frames, {upgrade.lost} missed at the switch ({upgrade.switch_ms} ms)\n"
        f"  milliseconds a frame (95th percentile): {p95}"
    )
    return record


class _Signals:
    """What ends a program at a terminal ends the demo as Ctrl-C does; once it is ending, nothing disturbs.

    So no process stays behind when a terminal is closed. What the caller ignores (nohup) stays ignored.
    """

    _ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

    def __enter__(self) -> _Signals:
        found = {number: signal.getsignal(number) for number in self._ENDING}
        self._before = {number: handler for number, handler in found.items() if handler is not signal.SIG_IGN}
        for number in self._before:
            signal.signal(number, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ignore(self) -> None:
        """From now on."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    @staticmethod
    def _stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt


def _watch(stage: Stage, until_s: float, args: argparse.Namespace) -> None:
    table = watched() and not args.json and not args.no_view
    lines, url, told = 0, "", False
    tell = complain if args.json else say
    while time.monotonic() < until_s:
        time.sleep(min(LOOK_S, max(0.0, until_s - time.monotonic())))
        stage.check()
        stage.witness.settle()
        status = stage.status()
        url = url or str(status.get("view", ""))
        if not told and (trouble := next((r for r in status.get("reasons", ()) if r.startswith("view: ")), "")):
            told, lines = True, 0
            tell(f"{trouble.removeprefix('view: ')}. The demo goes on without its page")
        if table:
            lines = _redraw(stage, url, lines, until_s - time.monotonic())
        elif url and not told:
            told = True
            tell(f"the local page: {url}")


def _redraw(stage: Stage, url: str, lines_before: int, left_s: float) -> int:
    """Draw the table over the last one; returns how many lines it has."""
    import shutil

    columns, height = shutil.get_terminal_size()
    heard = stage.witness.heard()
    shown = []
    if heard.shelf is not None:
        reason = f", {heard.shelf.reason}" if heard.shelf.reason else ""
        cells = [
            f"{line.slot:>6} {paint(line.state.value.ljust(8), STATE_COLOURS[line.state.value])}"
            for line in heard.shelf.slots
        ]
        fit = max(1, min(PER_LINE, columns // CELL))
        shown = ["  ".join(cells[k : k + fit]) for k in range(0, len(cells), fit)]
        shown += ["", f"model {heard.shelf.model}{reason}{f', page {url}' if url else ''}"[:columns]]
    accuracy = stage.witness.score.accuracy
    right = "" if accuracy is None else f", {accuracy:.1%} of the answers right"
    counts = f"{heard.messages} messages, {heard.events} events received{right}; {max(0.0, left_s):.0f} s left"
    shown.append(counts[:columns])
    for event in heard.newest_events:
        at = time.strftime("%H:%M:%S", time.localtime(event.at))
        shown.append(f"  {at}  {event.slot or event.kind}: {event.was or '-'} -> {event.now}")
    shown = shown[: height - 1]  # what scrolls out of the terminal can not be drawn over
    text = "\n".join(shown)
    up = f"\x1b[{lines_before}F\x1b[J" if lines_before else ""
    print(f"{up}{text}", flush=True)
    return len(shown)


def _summary(stage: Stage) -> dict[str, object]:
    """Counted by the daemon on its side, and by the witness on the other."""
    status = stage.status()
    broker = status.get("broker") or {}
    published = int(broker.get("events", 0))
    until_s = time.monotonic() + LAST_MESSAGES_S
    while stage.witness.heard().events < published and time.monotonic() < until_s:
        time.sleep(0.05)
    stage.witness.settle()
    heard, score = stage.witness.heard(), stage.witness.score
    model = status.get("model") or {}
    return {
        "frames": sum(int(camera["frames"]) for camera in status.get("cameras", ())),
        "events": heard.events,
        "events_published": published,
        "events_received": heard.events,
        "messages_published": int(broker.get("sent", 0)),
        "messages_received": heard.messages,
        "accuracy": _rounded(score.accuracy, 4),
        "balanced_accuracy": _rounded(score.balanced_accuracy, 4),
        "coverage": _rounded(score.coverage, 4),
        "scored_slots": score.slots,
        "confusion": score.confusion(),
        "p95_ms": _rounded(heard.p95_ms, 2),
        "rss_mb": heard.rss_mb,
        "model": f"{model['name']} {model['version']}" if model else None,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _verdict(summary: dict[str, object]) -> int:
    lost = int(str(summary["events_published"])) - int(str(summary["events_received"]))
    if lost > 0:
        complain(f"{lost} of {summary['events_published']} published events did not arrive at the subscriber")
    if not summary["frames"]:
        complain(
            f"the daemon read no frame in {summary['duration_s']} s. "
            "Give it --duration 20 or more; `edge-runtime doctor` looks for another cause"
        )
    return EXIT_PROBLEM if lost > 0 or not summary["frames"] else EXIT_OK


def _say_summary(summary: dict[str, object]) -> None:
    say(
        f"\n{paint('done', 'bold')} after {summary['duration_s']} s: {summary['frames']} frames, model {summary['model']}\n"
        f"  {summary['events_received']} of {summary['events_published']} published events received, "
        f"{summary['messages_received']} messages in all\n"
        f"  accuracy {_percent(summary['accuracy'])} over answered slots, coverage {_percent(summary['coverage'])} "
        f"({summary['scored_slots']} published slot states against the truth)"
    )
    if summary["p95_ms"] is not None:
        say(f"  {summary['p95_ms']} ms a frame (95th percentile), {summary['rss_mb']} MB")


def _percent(share: object) -> str:
    return f"{share:.1%}" if isinstance(share, float) else "unknown"
