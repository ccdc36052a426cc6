"""`edge-runtime run`: the daemon as a process, from its first configuration to SIGTERM."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from edge_runtime.config import Environment, read_config, read_environment
from edge_runtime.daemon.allocator import bound_allocator
from edge_runtime.daemon.alone import alone
from edge_runtime.daemon.compose import DEVELOPMENT, build_daemon
from edge_runtime.daemon.instruments import set_log_level
from edge_runtime.daemon.log_ring import LogRing
from edge_runtime.daemon.notify import Notifier
from edge_runtime.daemon.parts import Orders
from edge_runtime.daemon.run import Daemon
from edge_runtime.errors import EXIT_OK

log = logging.getLogger(__name__)


def serve(
    path: Path, environment: Environment | None = None, orders: Orders | None = None, development: bool = False
) -> int:
    """Run until SIGTERM or SIGINT; SIGHUP reads the configuration again. Call it in the main thread.

    `development`: unsigned bundles may run, which is said loudly. Never on a device in a store.

    Raises BadConfig if the first configuration is bad; a bad one later leaves the old one in charge. Raises TryAgain
    if another daemon works with the same state folder.
    """
    environment = environment or read_environment()
    orders = orders or Orders()
    _log(under_systemd=environment.notify_socket is not None)
    bound_allocator()
    config = read_config(path, environment)
    notifier = Notifier(environment.notify_socket)
    with ExitStack() as restored:
        _obey_signals(orders, restored)
        restored.enter_context(alone(config.storage.state_dir))
        before: Daemon | None = None
        while True:
            if development:
                log.warning("%s. Never use --development in a store", DEVELOPMENT)
            log.info("device %s/%s, %d camera(s), %s", config.site, config.id, len(config.cameras), config.path)
            daemon = build_daemon(config, environment, development, before)
            before = None
            set_log_level(daemon.parts.config.log_level)
            changed = daemon.run(orders)
            if changed is None:
                notifier.stopping()
                if daemon.restarting and environment.notify_socket is None:
                    _begin_anew()
                return EXIT_OK
            config, before = changed, daemon
            del daemon
            gc.collect()  # the one before the last is full of cycles


class _Safe(logging.Formatter):
    """What strangers sent stands in messages too: it can neither pose as a line of its own nor move a cursor."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        said = super().formatMessage(record)
        if said.isprintable():
            return said
        signs = (sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in said)
        return "".join("\n    " if sign == "\\n" else sign for sign in signs)


class _Priorities(_Safe):
    """`<6>text`: the form in which journald reads a priority from a line (sd-daemon(3)). It has the time itself."""

    def format(self, record: logging.LogRecord) -> str:
        level = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4}.get(record.levelno, 3)
        return f"<{level}>{super().format(record)}"


def _log(under_systemd: bool) -> None:
    """To standard error, unless somebody has set up logging before."""
    root = logging.getLogger()
    if not any(isinstance(handler, LogRing) for handler in root.handlers):
        root.addHandler(LogRing())
    if any(not isinstance(handler, LogRing) for handler in root.handlers):
        return
    handler = logging.StreamHandler()
    plain = "%(name)s: %(message)s"
    handler.setFormatter(_Priorities(plain) if under_systemd else _Safe(f"%(asctime)s %(levelname)s {plain}"))
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def _begin_anew() -> None:
    """Another process in the place of this one, by the same command. Under systemd the exit is enough: Restart=always."""
    logging.shutdown()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _obey_signals(orders: Orders, restored: ExitStack) -> None:
    """Signals become orders; the old handlers come back at the end."""

    def stop(number: int, frame: FrameType | None) -> None:
        orders.stop()

    def reload(number: int, frame: FrameType | None) -> None:
        orders.reload()

    for number, handler in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, reload)):
        restored.callback(signal.signal, number, signal.signal(number, handler))
