"""docs/mqtt.md: its commands as they stand, against a real mosquitto and a whole device; what they print answers a person.

The reader here knows English and the page, not the schema: answers are looked for in the text, as a person does.
"""

from __future__ import annotations

import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from fleet.brokers import Mosquitto

from edge_runtime.fleet.verdicts import Reason as Refusal
from edge_runtime.records import Reason, Remark
from edge_runtime.shelf import reading, states
from tests.daemon.device import Device
from tests.daemon.rig import shelf_picture
from tests.daemon.test_broker import emptied

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "mqtt.md").read_text("utf-8")
BLOCKS = re.findall(r"```sh( optional)?\n(.*?)```", PAGE, re.DOTALL)
PATIENCE_S = 60.0


def block(about: str) -> str:
    """The page's command under a comment that begins so."""
    (found,) = [text for _, text in BLOCKS if text.startswith(f"# {about}")]
    return found


class Technician:
    """Somebody at a shell, who has set the three variables of the page."""

    def __init__(self, port: int) -> None:
        self.port = port

    def runs(self, commands: str, seconds: float = 20.0) -> str:
        """What the commands print; those that never end are ended after `seconds`, and this broker is near."""
        commands = commands.replace("-W 3 ", "-W 1 ")
        setup = f'B="-h 127.0.0.1 -p {self.port}"; SITE=store; DEVICE=dev-1\n'
        done = subprocess.run(
            ["timeout", str(seconds), "bash", "-c", setup + commands], capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def until(self, commands: str, holds: Callable[[str], bool], what: str) -> str:
        until_s = time.monotonic() + PATIENCE_S
        text = ""
        while time.monotonic() < until_s:
            text = self.runs(commands)
            if holds(text):
                return text
        raise AssertionError(f"nobody can read that {what}: {text}")


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, program: Callable[[str, str], str]
) -> Iterator[tuple[Technician, Device, Mosquitto]]:
    folder = tmp_path_factory.mktemp("store")
    program("mosquitto_sub", "mosquitto-clients")
    broker = Mosquitto(program("mosquitto", "mosquitto"), folder)
    broker.start()
    with Device(folder / "device") as device:
        device.extra = (
            f'[mqtt]\nurl = "{broker.url}"\ncommands = "unsigned"\nhome_assistant = true\n[telemetry]\ninterval_s = 2\n'
        )
        device.view = "port = 0"
        device.camera.pixels = emptied()
        device.start()
        device.until(lambda record: record.state == "ok")
        yield Technician(broker.port), device, broker
        device.end()
    broker.stop()


Place = tuple[Technician, Device, Mosquitto]


def told_time(text: str) -> float:
    (found,) = re.findall(r'"time":"([^"]+)"', text)
    return datetime.strptime(found, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def test_is_it_online_and_since_when(place: Place) -> None:
    technician, _, _ = place
    text = technician.until(block("Is it online"), lambda said: '"state":"online"' in said, "it is online")
    assert abs(told_time(text) - time.time()) < 600
    assert '"connection":1' in text


def test_what_model_runs_and_is_anything_wrong(place: Place) -> None:
    technician, _, _ = place
    text = technician.until(block("How is it?"), lambda said: '"state":"ok","uptime_s"' in said, "all is well")
    assert '"model":{"name":"shelf-test","version":"1.1.0"' in text
    assert '"phase":"committed"' in text
    assert '"cameras":{"a":{"state":"ok"' in text


def test_is_data_waiting(place: Place) -> None:
    technician, _, _ = place
    text = technician.runs(block("How is it?"))
    assert re.search(r'"spool":\{"events":\d+,"telemetry":\d+', text)


def test_which_slots_are_empty(place: Place) -> None:
    technician, _, _ = place
    text = technician.until(block("What stands"), lambda said: '"not_stocked":{"empty":["s1"]}' in said, "s1 is empty")
    assert text.startswith("edge/v1/store/dev-1/shelf/a ")
    assert '{"slot":"s1","sku":"sku1","state":"empty"' in text
    everywhere = technician.runs(block("Which slots are empty, in all stores"))
    assert everywhere.strip() == 'edge/v1/store/dev-1/shelf/a ["s1"]'


def test_what_version_and_how_many_slots(place: Place) -> None:
    technician, _, _ = place
    text = technician.runs(block("What is it?"))
    assert '"cameras":{"a":{"slots":4,"width":320,"height":240' in text
    assert '"commands":"unsigned"' in text


def test_everything_at_once(place: Place) -> None:
    technician, _, _ = place
    lines = technician.runs(block("Everything")).splitlines()
    topics = {line.split(" ", 1)[0].removeprefix("edge/v1/store/dev-1/") for line in lines}
    assert {"availability", "info", "status", "shelf/a"} <= topics


def test_the_fleet_at_a_glance(place: Place) -> None:
    technician, _, _ = place
    assert technician.runs(block("Who is there?")).startswith("edge/v1/store/dev-1/availability {")
    assert technician.runs(block("Who is not?")) == ""
    models = technician.until(block("Which model runs"), lambda said: "1.1.0" in said, "which model runs")
    assert models.strip() == "edge/v1/store/dev-1/status shelf-test 1.1.0"


def test_how_far_it_is_with_what_it_was_told(place: Place) -> None:
    technician, _, _ = place
    text = technician.until(block("Does it do"), bool, "it was told nothing")
    assert '"state":"none"' in text


def test_figures_come_by_themselves(place: Place) -> None:
    technician, _, _ = place
    text = technician.runs(block("Figures"), seconds=4.0)
    assert '"frames":' in text
    assert '"estimated_accuracy":' in text
    assert '"ms":{' in text


def test_why_a_camera_can_not_be_used(place: Place) -> None:
    technician, device, _ = place
    before = device.camera.pixels
    device.camera.pixels = np.zeros_like(shelf_picture())
    try:
        text = technician.until(block("What stands"), lambda said: '"usable":false' in said, "the camera sees nothing")
        assert '"reason":"black"' in text
        text = technician.until(block("How is it?"), lambda said: '"state":"degraded"' in said, "something is wrong")
        assert '"reasons":["camera a: black"]' in text
        assert '"cameras":{"a":{"state":"unusable","reason":"black"' in text
        problems = technician.runs(block("Who has a problem"))
        assert problems.strip() == 'edge/v1/store/dev-1/status ["camera a: black"]'
    finally:
        device.camera.pixels = before
    technician.until(block("How is it?"), lambda said: '"state":"ok","uptime_s"' in said, "all is well again")


def test_what_happens_and_what_became_of_a_command(place: Place) -> None:
    technician, device, _ = place
    spoken = block("What happens").rstrip() + f" & sleep 1; {block('What became of').splitlines()[1]} & sleep 1; wait"
    device.camera.pixels = shelf_picture()
    ask = (
        'mosquitto_pub $B -t edge/v1/$SITE/$DEVICE/cmd/ping -m "{\\"id\\":\\"by-hand\\",\\"verb\\":\\"ping\\",'
        '\\"audience\\":\\"$SITE/$DEVICE\\",\\"seq\\":$(date +%s)000,\\"issued_at\\":$(date +%s),'
        '\\"expires_at\\":$(($(date +%s)+60))}"'
    )
    text = technician.runs(f"(sleep 2; {ask}) &\n{spoken}", seconds=7.0)
    assert re.search(r'dev-1/event/slot \{.*"slot":"s1".*"was":"empty","now":"stocked"', text)
    assert re.search(r'dev-1/resp/ping \{.*"id":"by-hand","verb":"ping","state":"succeeded"', text)


def scraped(url: str) -> dict[tuple[str, str], float]:
    """Samples by name and state (or version)."""
    parser = pytest.importorskip("prometheus_client.parser", reason="pip install 'edge-runtime[dev]'")
    with urllib.request.urlopen(url) as answer:
        families = parser.text_string_to_metric_families(answer.read().decode())
        samples = [sample for family in families for sample in family.samples]
    return {(s.name, s.labels.get("state", s.labels.get("version", ""))): s.value for s in samples}


def test_prometheus_reads_the_same_device(place: Place) -> None:
    _, device, _ = place
    url = device.until(lambda record: bool(record.view)).view + "metrics"
    told: dict[tuple[str, str], float] = {}
    until_s = time.monotonic() + PATIENCE_S
    while told.get(("edge_runtime_frames_total", ""), 0) < 3:
        assert time.monotonic() < until_s, told
        time.sleep(0.5)
        told = scraped(url)
    assert told["edge_runtime_slots", "empty"] + told["edge_runtime_slots", "stocked"] == 4
    assert told["edge_runtime_link_state", "online"] == 1
    assert told["edge_runtime_link_connections_total", ""] == 1
    assert told["edge_runtime_model_info", "1.1.0"] == 1
    assert told["edge_runtime_messages_sent_total", ""] >= 4
    assert told["edge_runtime_spool_degraded", ""] == 0


def test_home_assistant_is_told_and_told_again_when_it_starts(place: Place) -> None:
    technician, _, _ = place
    text = technician.until(block("What Home Assistant"), lambda said: '"cmps":{' in said, "Home Assistant was told")
    assert text.startswith("homeassistant/device/edge_store_dev-1_")
    topic = text.split(" ", 1)[0]
    forget = f"mosquitto_pub $B -r -n -t {topic}; mosquitto_pub $B -t homeassistant/status -m online"
    assert technician.runs(forget) == ""
    again = technician.until(block("What Home Assistant"), lambda said: '"cmps":{' in said, "it was told again")
    assert again == text


def test_that_it_was_switched_off(place: Place) -> None:
    technician, device, _ = place
    assert device.end() == 0
    text = technician.runs(block("Is it online"))
    assert '"state":"offline","reason":"stopped"' in text
    assert technician.runs(block("Who is not?")).startswith("edge/v1/store/dev-1/availability {")


WORDS = [
    *(str(reason) for reason in Reason),
    *(str(reason) for reason in Refusal),
    *(str(remark) for remark in Remark),
    reading.OUTSIDE, reading.SATURATED, reading.RESOLUTION, reading.UNSURE, reading.BLOCKED, states.STARTING,
    *("handler", "connected", "stopped", "lost", "degraded", "unusable", "stalled", "committed", "trial"),
    *("none", "converging", "converged", "failed", "refused", "learning", "steady", "drifting"),
    *("environment", "product", "inbox_full", "too_large", "rejected", "damaged_entry", "quarantined_file"),
]  # fmt: skip


@pytest.mark.parametrize("word", sorted(set(WORDS) - {"connected"}))
def test_every_word_is_explained(word: str) -> None:
    assert re.search(rf"[`\"]{word}[`\"]", PAGE), f"docs/mqtt.md does not say what {word} means"


def test_the_page_has_no_command_that_nobody_tried() -> None:
    tried = Path(__file__).read_text("utf-8")
    named = [text.splitlines()[0].removeprefix("# ") for _, text in BLOCKS if text.startswith("#")]
    assert [
        name
        for name in named
        if not any(name.startswith(about) for about in re.findall(r'block\(["\'](.+?)["\']\)', tried))
    ] == []
