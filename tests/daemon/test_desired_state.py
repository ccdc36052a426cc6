"""A device follows its desired state by itself: after sleep, without a broker, against failures; and never against a person."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from edge_runtime.daemon.convergence import Account, Convergence
from edge_runtime.daemon.errand import Errand, Outcome, Place, attempt
from edge_runtime.daemon.errand_runner import ErrandRunner
from edge_runtime.daemon.model_desk import ModelDesk
from edge_runtime.daemon.proof import Proof
from edge_runtime.daemon.run import Daemon
from edge_runtime.daemon.terms import Terms
from edge_runtime.daemon.wishes import Reporter, seen_of
from edge_runtime.errors import EdgeError, TryAgain, Unavailable
from edge_runtime.fleet.desired import Desired, DesiredGate, DesiredModel, OpenUnsigned, encode_desired
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.wish_file import NAME, WishFile
from edge_runtime.lifecycle.bundle import Variant, sha256_of_file
from edge_runtime.lifecycle.store import ModelStore
from edge_runtime.lifecycle.trust.command_keys import CommandKeys
from edge_runtime.lifecycle.trust.envelope import DESIRED, EnvelopeVerifier
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import Reported, Scalar, decode
from edge_runtime.telemetry.topics import Topics
from edge_runtime.workshop.enrolment.signing import OperatorKey
from tests.daemon.rig import Rig, shelf_picture
from tests.daemon.test_model_desk import Shop

GOOD = shelf_picture()
TOPIC = "edge/v1/site/dev/desired"
TERMS = Terms(0.0, 30.0, 4)


class Done:
    """An errand that is over when it begins."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    @property
    def ended(self) -> bool:
        return True

    def outcome(self) -> dict[str, Scalar]:
        return self._outcome.unwrap()

    def abandon(self) -> None: ...


class Site:
    """One device, its repository, and its operator. `fault` is what the next errands end with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shop = Shop(folder / "shop")
        self.shop.folder.mkdir()
        self.fault: EdgeError | None = None
        self.errands: list[str] = []
        self.reports: list[Reported] = []
        self.switch_on()

    def switch_on(self) -> None:
        self.rig = Rig(self.folder, terms=TERMS)
        place = Place(str(self.rig.store_folder), "shelf-test", "memory", terms=TERMS, development=True)
        self.wish = WishFile(self.rig.store_folder)
        self.convergence = Convergence(
            self.wish,
            lambda: seen_of(self.store, self.daemon.parts.overlay),
            ErrandRunner(self.run),
            place,
            DesiredGate("site/dev", OpenUnsigned(), self.wish),
            self.rig.clock,
            lambda: 1.0,
        )
        self.daemon: Daemon = self.rig.daemon()
        self.daemon.parts.convergence = self.convergence
        self.reporter = Reporter(Stamp(Topics("site", "dev"), 1), lambda topic, raw: self.heard(raw))
        self.daemon.open()
        self.rig.turns(self.daemon, 3, GOOD)

    def switch_off(self) -> None:
        self.daemon.close()

    @property
    def store(self) -> ModelStore:
        return ModelStore(self.rig.store_folder, self.rig.factory, self.rig.boot, allow_unsigned=True)

    def run(self, errand: Errand) -> Done:
        self.errands.append(f"{errand.verb} {errand.version or errand.sha256[:6]}")
        if self.fault is not None:
            return Done(Outcome({}, type(self.fault).__name__, self.fault.found))
        desk = ModelDesk(self.store, self.rig.store_folder, "shelf-test", self.prove, lambda: self.shop)
        return Done(attempt(errand, desk))

    def prove(self, bundle: Path) -> Proof:
        return Proof(sha256_of_file(bundle), (), Variant.PACKED, "well", 1, 0.1)

    def say(self, seq: int, version: str = "", **config: Scalar) -> bytes:
        """An operator's wish arrives."""
        model = DesiredModel(name="shelf-test", version=version) if version else None
        settings = {key.replace("__", "."): value for key, value in config.items()}
        raw = encode_desired(Desired(audience="site/dev", seq=seq, issued_at=1.0, model=model, config=settings))
        self.hear(raw)
        return raw

    def hear(self, raw: bytes) -> None:
        self.convergence.arrived(Incoming(TOPIC, raw, retained=True))

    def heard(self, raw: bytes) -> None:
        message = decode(raw)
        assert isinstance(message, Reported)
        self.reports.append(message)

    def until(self, holds: Callable[[], bool], what: str = "") -> None:
        ends_s = time.monotonic() + 30.0
        while not holds():
            assert time.monotonic() < ends_s, (what, self.convergence.account(), self.errands)
            self.turn()
            time.sleep(0.005)

    def turn(self) -> None:
        self.rig.turns(self.daemon, 1, GOOD, 2.0)
        self.reporter.attend(self.daemon)

    def ends(self, state: str) -> Account:
        self.until(lambda: self.convergence.account().state == state, state)
        return self.convergence.account()

    @property
    def running(self) -> str:
        return self.daemon.deck.id.version if self.daemon.deck.id else ""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    found = Site(tmp_path)
    for release in (1, 2, 3):
        found.shop.offer(release)
    return found


def test_a_device_fetches_tries_and_keeps_the_model_that_is_wished(site: Site) -> None:
    site.say(10, "1.2.0")
    assert site.ends("converged") == Account(10, "converged")
    assert site.running == "1.2.0" and site.store.candidate is None
    said = [(report.seq, report.state) for report in site.reports]
    assert said[-1] == (10, "converged") and (10, "converging") in said
    last = site.reports[-1].model
    assert last is not None and (last.version, last.phase) == ("1.2.0", "committed")


def test_a_device_that_slept_takes_the_newest_wish_and_none_of_the_others(site: Site) -> None:
    site.say(10, "1.1.0")
    site.ends("converged")
    site.switch_off()
    site.errands.clear()
    site.switch_on()
    site.say(40, "1.3.0")  # 20 and 30 were wished while it slept; the broker keeps the last
    site.say(20, "1.2.0")  # and a broker that is taken over sends an old one after it
    site.ends("converged")
    assert site.running == "1.3.0"
    assert not any("1.2.0" in errand for errand in site.errands)
    assert site.convergence.account().seq == 40


def test_what_was_kept_goes_on_after_a_restart_without_a_broker(site: Site) -> None:
    site.fault = Unavailable("the repository does not answer")
    site.say(10, "1.1.0")
    site.until(lambda: bool(site.errands))
    site.switch_off()
    site.fault = None
    site.switch_on()
    site.ends("converged")
    assert site.running == "1.1.0"


def test_a_repository_that_is_away_is_asked_again_more_and_more_seldom(site: Site) -> None:
    site.fault = Unavailable("the repository does not answer")
    site.say(10, "1.1.0")
    began_s, asked = site.rig.clock.now, []
    while site.rig.clock.now - began_s < 3600.0:
        before = len(site.errands)
        site.rig.turns(site.daemon, 1, None, 5.0)
        time.sleep(0.001)
        if len(site.errands) > before:
            asked.append(site.rig.clock.now)
    assert 3 <= len(asked) <= 10
    gaps = [b - a for a, b in pairwise(asked)]
    assert gaps[-1] > 3 * gaps[0]
    assert site.convergence.account() == Account(10, "converging", "unavailable", "the repository does not answer")
    site.fault = None
    site.convergence.hurry()  # the broker is back
    assert site.ends("converged").seq == 10


def test_a_wish_that_is_refused_is_failed_and_not_tried_again(site: Site) -> None:
    site.say(10, "1.1.0")
    site.ends("converged")
    site.say(20, "1.2.0")
    site.ends("converged")
    site.store.quarantine(sha256_of_file(site.shop.folder / "shelf-test-1.3.0.zip"), "unknown 22 %")
    site.say(30, "1.3.0")
    account = site.ends("failed")
    assert (account.seq, account.reason) == (30, "refused") and "quarantined here: unknown 22 %" in account.detail
    count = len(site.errands)
    for _ in range(100):
        site.turn()
    assert len(site.errands) == count and site.running == "1.2.0"


def test_a_person_who_rolls_back_is_not_fought(site: Site) -> None:
    site.say(10, "1.1.0")
    site.ends("converged")
    site.daemon.change_model(lambda s: site.daemon.deck.roll_back("the shop complained", s), "the shop complained")
    assert site.ends("failed") == Account(10, "failed", "rolled_back", "the shop complained")
    for _ in range(100):
        site.turn()
    assert site.running == "1.0.0"
    site.say(20, "1.1.0")
    site.ends("converged")
    assert site.running == "1.1.0", "a newer wish for the same model is a new decision"


def test_a_guard_that_takes_the_model_out_ends_the_wish(site: Site) -> None:
    site.say(10, "1.1.0")
    site.until(lambda: site.running == "1.1.0" and site.store.candidate is not None)
    site.daemon.change_model(lambda s: site.daemon.deck.fall_back("unknown 22 %", s), "unknown 22 %")
    account = site.ends("failed")
    assert (account.reason, account.detail) == ("quarantined", "unknown 22 %")
    site.switch_off()
    site.switch_on()
    for _ in range(50):
        site.turn()
    assert site.convergence.account().state == "failed" and site.running == "1.0.0"


def test_an_operator_takes_a_trial_back_with_the_next_wish(site: Site) -> None:
    site.say(10, "1.1.0")
    site.until(lambda: site.running == "1.1.0" and site.store.candidate is not None)
    site.say(20, "1.0.0")
    assert site.ends("converged").seq == 20
    assert site.running == "1.0.0" and site.store.candidate is None


def test_back_to_the_model_before_at_once(site: Site) -> None:
    site.say(10, "1.1.0")
    site.ends("converged")
    site.errands.clear()
    site.say(20, "1.0.0")
    site.ends("converged")
    assert site.running == "1.0.0" and not site.errands


def test_settings_are_put_in_force_and_reported(site: Site) -> None:
    site.say(10, telemetry__interval_s=30)
    site.until(lambda: site.daemon.parts.overlay.trial is not None)
    assert site.daemon.parts.overlay.in_force == {"telemetry.interval_s": 30}
    site.daemon.parts.overlay.prove()
    site.ends("converged")


def test_settings_that_may_not_be_set_fail_the_wish(site: Site) -> None:
    site.say(10, mqtt__url="mqtt://elsewhere")
    account = site.ends("failed")
    assert account.reason == "refused" and "can not be set from afar" in account.detail


def test_a_wish_that_was_lost_to_a_damaged_file_comes_again_with_the_retained_message(site: Site) -> None:
    raw = site.say(10, "1.1.0")
    site.ends("converged")
    site.switch_off()
    (site.rig.store_folder / NAME).write_bytes(b"\0" * 100)
    site.switch_on()
    assert site.convergence.account().state == "none"
    site.say(9, "1.2.0")
    site.hear(raw)
    site.ends("converged")
    assert site.running == "1.1.0"


def test_a_busy_device_waits_its_turn(site: Site) -> None:
    site.fault = TryAgain("the device is busy")
    site.say(10, "1.1.0")
    site.until(lambda: site.convergence.account().reason == "try_again")
    site.fault = None
    site.until(lambda: site.running == "1.1.0")


def test_a_refused_wish_is_told_where_there_is_no_other(site: Site) -> None:
    site.hear(b'{"format":"edge-desired/1"}')
    site.turn()
    assert (site.reports[-1].state, site.reports[-1].reason) == ("refused", "malformed")
    site.say(10, "1.1.0")
    site.ends("converged")
    site.hear(b"nonsense")
    site.turn()
    assert site.reports[-1].state == "converged", "noise does not hide what the device is"


def test_a_wish_that_could_not_be_trusted_is_judged_again_when_keys_have_come(site: Site, tmp_path: Path) -> None:
    key, keys = OperatorKey.create(tmp_path / "key.pem", "new"), [CommandKeys()]
    site.convergence._gate = DesiredGate("site/dev", EnvelopeVerifier(lambda: keys[-1]), site.wish)
    raw = Desired(audience="site/dev", seq=10, issued_at=1.0, model=DesiredModel(name="shelf-test", version="1.1.0"))
    site.hear(key.sign(DESIRED, encode_desired(raw)))
    site.turn()
    assert site.convergence.account().reason == "untrusted" and site.convergence.strangers == 1
    keys.append(CommandKeys((key.public_entry(),)))
    site.ends("converged")


def test_a_device_that_is_told_its_model_does_not_look_for_others_by_itself(site: Site) -> None:
    looks: list[int] = []

    class Looking:
        trouble = ""

        def attend(self) -> None:
            looks.append(1)

    site.daemon.parts.updates = Looking()  # type: ignore[assignment]
    site.turn()
    assert looks
    site.say(10, "1.1.0")
    looks.clear()
    site.ends("converged")
    assert not looks
    site.say(20, log__level="debug")
    site.turn()
    assert looks, "a wish that names no model leaves that to the device"


def test_the_retained_wish_is_asked_for_again_some_time_after_a_connect(site: Site) -> None:
    """A cluster whose node has just died takes a subscription and delivers nothing of what it retains."""
    asked: list[float] = []
    site.convergence.ask = lambda: asked.append(site.rig.clock.now)
    site.turn()
    assert not asked
    site.convergence.connected()
    began_s = site.rig.clock.now
    site.rig.turns(site.daemon, 80, None, 1.0)
    assert [at - began_s for at in asked] == [45.0]
    site.rig.turns(site.daemon, 150, None, 50.0)
    assert len(asked) == 2
