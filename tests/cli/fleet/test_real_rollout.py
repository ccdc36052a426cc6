"""The promise of the product, with nothing virtual in it: real daemons, real bundles, a signed repository, mosquitto with TLS.

A good model reaches all, though the operator is killed and one device sleeps meanwhile; a bad one stops at the canary, which
is back on the old model: on its own disk, and not only by its own word.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from edge_runtime.assets import factory_bundles
from edge_runtime.lifecycle.bundle import read_bundle
from tests.fleet.brokers import wait_until
from tests.fleet.deployments import MosquittoFleet

from .shops import CLI, Models, Shop, camera

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
SHIPPED = read_bundle(factory_bundles()[-1]).manifest
TIMID = msgspec.structs.replace(SHIPPED.thresholds, answer=1.0)
"""Sure of nothing: whatever it sees is unknown."""
MUDDLED = msgspec.structs.replace(SHIPPED.output, labels=tuple(reversed(SHIPPED.output.labels)))
"""Sure of the wrong thing."""
BRIEF = ["--soak", "7", "--settle", "60", "--patience", "24", "--grace", "20", "--gate", "latency_rise=off"]


@dataclass(frozen=True)
class Street:
    fleet: Path
    models: Models
    shops: tuple[Shop, ...]

    def rollout(self, verb: str, name: str, *arguments: str, killed_in: str = "") -> tuple[int, list[dict]]:
        """The exit code, and what it told; with `killed_in` it is killed as soon as it tells of that."""
        command = [*CLI, "fleet", "rollout", verb, name, *arguments, "--fleet", str(self.fleet), "--json"]
        told = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                told.append(json.loads(line))
                if killed_in and killed_in == f"{told[-1]['ring']} {told[-1]['phase']}":
                    child.kill()
        return child.returncode, told

    def start(self, name: str, version: str, *more: str, killed_in: str = "") -> tuple[int, list[dict]]:
        plan = ["--model", "shelf-occupancy", "--version", version, *BRIEF, *more]
        return self.rollout("start", name, *plan, killed_in=killed_in)

    def listed(self) -> dict[str, dict]:
        command = [*CLI, "fleet", "ls", "--fleet", str(self.fleet), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return {f"{row['site']}/{row['device']}": row for row in rows}

    def runs(self) -> list[str]:
        return [shop.runs() for shop in self.shops]


@pytest.fixture(scope="module")
def street(program: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder = tmp_path_factory.mktemp("street")
    pictures, models = camera(folder / "pictures"), Models(folder / "models")
    broker = MosquittoFleet(program("mosquitto", "mosquitto"), folder)
    shops = tuple(Shop(broker, f"lyon/till-{number}", pictures, models) for number in (1, 2, 3))
    with ExitStack() as ending:
        broker.start()
        ending.callback(broker.stop)
        for shop in shops:
            ending.callback(shop.stop)
            shop.start()
        street = Street(broker.fleet.folder.path, models, shops)
        wait_until(lambda: sum(row["online"] for row in street.listed().values()) == 3, "all are there", 60)
        yield street


def test_a_bad_model_that_its_device_takes_out_by_itself_goes_no_further(street: Street) -> None:
    """Its shadow run beside the factory's model is enough for the device; the rollout hears of it."""
    street.models.publish("1.1.1", output=MUDDLED)
    code, told = street.start("muddled", "1.1.1", "--rings", "canary=1,100%")
    assert (code, told[-1]["phase"]) == (1, "restored"), told
    assert "canary: gate failed_share failed" in told[-1]["note"]
    assert street.runs() == ["1.1.0"] * 3
    assert [row["model"] for row in street.listed().values()] == ["shelf-occupancy-1.1.0"] * 3


def test_a_good_model_reaches_all_though_the_operator_is_killed_and_one_device_sleeps(street: Street) -> None:
    street.models.publish("1.2.0")
    sleeper = street.shops[2]
    sleeper.stop()
    code, told = street.start("good", "1.2.0", "--rings", "canary=1,100%", killed_in="canary soaking")
    assert code < 0, told
    code, told = street.rollout("resume", "good")
    assert (code, told[-1]["phase"]) == (0, "completed"), told
    assert [row["reported"]["state"] for row in street.listed().values() if row["online"]] == ["converged"] * 2
    assert street.runs() == ["1.2.0", "1.2.0", "1.1.0"]
    sleeper.start()
    wait_until(lambda: street.listed()[sleeper.name]["model"] == "shelf-occupancy-1.2.0", "the sleeper has it too", 60)
    wait_until(lambda: sleeper.runs() == "1.2.0", "and keeps it", 60)


def test_a_bad_model_that_its_device_has_kept_is_taken_back_below_the_release_floor(street: Street) -> None:
    """No trial to speak of, so that it is committed: only the rollout's gates are left to notice."""
    street.models.publish("1.3.0", thresholds=TIMID)
    code, told = street.start("timid", "1.3.0", "--rings", "canary=1,100%", "--shadow", "0", "--trial", "0")
    assert (code, told[-1]["phase"]) == (1, "restored"), told
    assert "canary: gate unknown_rise failed" in told[-1]["note"]
    assert street.runs() == ["1.2.0"] * 3
    (canary,) = [shop for shop in street.shops if shop.has("1.3.0")]
    assert canary.has("1.3.0") == "staged", "it is there, and nothing runs it"
    assert canary.floor() == 3, "it was committed: by the floor alone, 1.2.0 could not come in any more"
    row = street.listed()[canary.name]
    assert (row["model"], row["reported"]["state"]) == ("shelf-occupancy-1.2.0", "converged")
    assert street.rollout("status", "timid")[0] == 1
