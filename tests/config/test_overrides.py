"""What may be changed from afar, and what never."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from edge_runtime.config import DeviceConfig, Environment, apply_overrides, check_override, decode_config
from edge_runtime.config.overrides import BOUNDS, MOST_OVERRIDES, SNAPSHOT_POLICIES, fitting
from edge_runtime.errors import Refused

TEXT = """\
[device]
id = "d"
site = "s"
[[camera]]
name = "a.b"
source = "rtsp://cam"
layout = "l.json"
[mqtt]
url = "mqtt://h"
snapshots = "{snapshots}"
"""


def device(snapshots: str = "slots", more: str = "") -> DeviceConfig:
    return decode_config(TEXT.format(snapshots=snapshots) + more, Path("/d/device.toml"), Environment())


def test_each_key_lands_where_it_belongs() -> None:
    config = apply_overrides(
        device(),
        {
            "telemetry.interval_s": 30,
            "camera.a.b.interval_s": 10,
            "log.level": "debug",
            "mqtt.snapshots": "off",
            "storage.spool_max_mb": 8,
            "model.shadow_s": 0,
        },
    )
    assert config.mqtt is not None
    assert (config.telemetry.interval_s, config.cameras[0].interval_s, config.log_level) == (30.0, 10.0, "debug")
    assert (config.mqtt.snapshots, config.storage.spool_max_mb, config.model.shadow_s) == ("off", 8, 0.0)
    assert apply_overrides(device(), {}) == device()


@pytest.mark.parametrize(
    "key", ["mqtt.url", "mqtt.commands", "device.id", "storage.state_dir", "model.repository", "camera.interval_s", ""]
)
def test_what_could_cut_a_device_off_can_not_be_set(key: str) -> None:
    with pytest.raises(Refused, match="can not be set from afar"):
        check_override(key, 1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("telemetry.interval_s", 0.1),
        ("telemetry.interval_s", True),
        ("telemetry.interval_s", float("nan")),
        ("telemetry.interval_s", "soon"),
        ("storage.spool_max_mb", 8.5),
        ("model.auto_update", 1),
        ("log.level", "loud"),
        ("camera.a.interval_s", 1e9),
        ("mqtt.snapshots", None),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_its_key(key: str, value: object) -> None:
    with pytest.raises(Refused, match=key):
        check_override(key, value)


@pytest.mark.parametrize("allowed", SNAPSHOT_POLICIES)
def test_snapshots_show_less_than_the_file_allows_and_never_more(allowed: str) -> None:
    order = SNAPSHOT_POLICIES.index(allowed)
    for asked in SNAPSHOT_POLICIES:
        if SNAPSHOT_POLICIES.index(asked) <= order:
            assert apply_overrides(device(allowed), {"mqtt.snapshots": asked}).mqtt
        else:
            with pytest.raises(Refused, match="shows more"):
                apply_overrides(device(allowed), {"mqtt.snapshots": asked})


def test_a_camera_that_is_not_there_and_updates_without_a_repository_are_refused() -> None:
    with pytest.raises(Refused, match=r"a\.b would be"):
        apply_overrides(device(), {"camera.x.interval_s": 3})
    with pytest.raises(Refused, match="repository"):
        apply_overrides(device(), {"model.auto_update": True})
    assert apply_overrides(device(more='[model]\nrepository = "r"\nroot = "t"\n'), {"model.auto_update": True})
    with pytest.raises(Refused, match=str(MOST_OVERRIDES)):
        apply_overrides(device(), {f"camera.c{n}.interval_s": 3 for n in range(MOST_OVERRIDES + 1)})


def test_an_override_that_does_not_fit_an_edited_file_is_left_out_and_told() -> None:
    config, troubles = fitting(device("off"), {"mqtt.snapshots": "slots", "log.level": "error"})
    assert config.log_level == "error" and config.mqtt is not None and config.mqtt.snapshots == "off"
    assert len(troubles) == 1 and "shows more" in troubles[0]


_values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10), st.just([]))


@given(st.dictionaries(st.sampled_from(sorted(BOUNDS)) | st.text(max_size=30), _values, max_size=6))
def test_anything_is_applied_or_refused(overrides: dict[str, object]) -> None:
    before = device("whole")
    try:
        after = apply_overrides(before, overrides)
    except Refused as fault:
        assert str(fault)
    else:
        assert (after.id, after.site, after.cameras[0].source) == (before.id, before.site, before.cameras[0].source)
    fitting(before, overrides)
