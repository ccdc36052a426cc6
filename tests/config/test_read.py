"""device.toml as a technician gets it wrong: every fault at once, with its line and its mend."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from edge_runtime.config import (
    DeviceConfig,
    Environment,
    check_files,
    config_template,
    decode_config,
    read_config,
    read_environment,
)
from edge_runtime.config.schema import SECTIONS
from edge_runtime.errors import EXIT_BAD_CONFIG, BadConfig

HERE = Path("/site/device.toml")
GOOD = """\
[device]
id = "dev-1"
site = "s1"
[[camera]]
name = "a"
source = "rtsp://cam/main"
layout = "a/layout.json"
"""


def faults_of(text: str, environment: Environment | None = None) -> tuple[str, ...]:
    with pytest.raises(BadConfig) as caught:
        decode_config(text, HERE, environment or Environment())
    assert caught.value.exit_code == EXIT_BAD_CONFIG
    return caught.value.faults


def test_the_smallest_file_is_enough_and_defaults_are_filled_in() -> None:
    config = decode_config(GOOD, HERE, Environment())
    assert (config.id, config.site) == ("dev-1", "s1")
    (camera,) = config.cameras
    assert camera.layout == Path("/site/a/layout.json")
    assert camera.interval_s > 0
    assert config.mqtt is None and config.view.enabled
    assert config.storage.state_dir == Path("/site/state")


def test_relative_paths_are_relative_to_the_file_and_urls_stay() -> None:
    text = GOOD.replace("rtsp://cam/main", "videos/day.mp4") + '[storage]\nstate_dir = "var"\n'
    config = decode_config(text, HERE, Environment())
    assert config.cameras[0].source == "/site/videos/day.mp4"
    assert config.storage.state_dir == Path("/site/var")


@pytest.mark.parametrize(
    "source", ["/dev/video0", "v4l2:/dev/video0?size=1280x960", "http://cam/x.mjpg", "file:///day.mp4", "RTSP://cam"]
)
def test_sources_that_work(source: str) -> None:
    config = decode_config(GOOD.replace("rtsp://cam/main", source), HERE, Environment())
    assert config.cameras[0].source == source


def test_under_systemd_the_state_goes_where_systemd_says() -> None:
    environment = Environment(state_dir=Path("/var/lib/edge-runtime"))
    assert decode_config(GOOD, HERE, environment).storage.state_dir == Path("/var/lib/edge-runtime")


def test_all_faults_come_at_once_each_with_its_line() -> None:
    faults = faults_of(
        '[device]\nid = "a b"\n[[camera]]\nname = "x"\nsource = "gopher://h"\nlayout = 3\ninterval = 2\n'
        '[modle]\n[mqtt]\nurl = "http://broker"\nkeepalive_s = "soon"\n[view]\nport = 99999\nenabled = 1\n'
    )
    places = [fault.split(": ", 2)[:2] for fault in faults]
    assert places == [
        ["/site/device.toml:1", "[device] site"],
        ["/site/device.toml:2", "[device] id"],
        ["/site/device.toml:5", "[camera] source"],
        ["/site/device.toml:6", "[camera] layout"],
        ["/site/device.toml:7", "[camera] interval"],
        ["/site/device.toml:8", "[modle]"],
        ["/site/device.toml:10", "[mqtt] url"],
        ["/site/device.toml:11", "[mqtt] keepalive_s"],
        ["/site/device.toml:13", "[view] port"],
        ["/site/device.toml:14", "[view] enabled"],
    ]
    assert all("found" in fault and "expected" in fault for fault in faults)


@pytest.mark.parametrize(
    ("wrong", "right"), [("[modle]", "[model]"), ("[mqtt]\nkeepalve_s = 3", "keepalive_s"), ("[veiw]", "[view]")]
)
def test_a_slip_of_the_pen_is_answered_with_the_right_word(wrong: str, right: str) -> None:
    assert any(f"Did you mean {right}?" in fault for fault in faults_of(GOOD + wrong))


@pytest.mark.parametrize(
    "text",
    [
        '[mqtt]\nurl = "mqtt://h"\npassword = "hunter2"',
        '[mqtt]\nurl = "mqtt://u:hunter2@h"',
        '[mqtt]\nurl = "ftp://u:hunter2@h"',
        '[mqtt]\nurl = "mqtt://u:hunter2@h:notaport"',
        '[mqtt]\nurl = "mqtts://h"\napi_token = "hunter2"',
        '[model]\nrepository = "https://u:hunter2@h/x"',
        '[[camera]]\nname = "b"\nlayout = "l"\nsource = "ftp://u:hunter2@h/x"',
        '[[camera]]\nname = "b"\nlayout = "l"\nsource = "rtsp://u:hunter2@h:port/x"',
        '[[camera]]\nname = "b"\nlayout = "l"\nsource = "rtsp://u:hunter2@h/\\n"',
        '[[camera]]\nname = "b"\nlayout = "l"\npassword = "hunter2"\nsource = "rtsp://h"',
        '[device]\nid="x"\nsite="y"\nsecret = "hunter2"',
    ],
)
def test_secrets_are_refused_and_never_shown(text: str) -> None:
    base = GOOD.partition("[[camera]]")[2] if text.startswith("[device]") else None
    faults = faults_of(f"{text}\n[[camera]]{base}" if base else GOOD + text)
    assert len(faults) == 1
    assert "hunter2" not in faults[0]


def test_a_password_is_answered_with_where_it_belongs() -> None:
    (fault,) = faults_of(GOOD + '[mqtt]\nurl = "mqtt://h"\npassword = "x"')
    assert "password_file" in fault


def test_a_camera_url_with_credentials_is_taken_but_not_printed() -> None:
    config = decode_config(GOOD.replace("rtsp://cam/main", "rtsp://u:hunter2@cam/main"), HERE, Environment())
    assert "hunter2" in config.cameras[0].source
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(
    ("extra", "word"),
    [
        ('[[camera]]\nname = "a"\nsource = "x"\nlayout = "l"', "a name of its own"),
        ('[mqtt]\nurl = "mqtts://h"\ncert_file = "c"', "key_file"),
        ('[mqtt]\nurl = "mqtts://h"\npassword_file = "c"', "username"),
        ('[mqtt]\nurl = "mqtt://h"\nca_file = "c"', "mqtts://"),
        ('[mqtt]\nurl = "mqtt://h"\nusername = "u"\npassword_file = "credential:p"', "LoadCredential"),
        ('[mqtt]\nurl = "mqtt://h"\nusername = "u"\npassword_file = "credential:../p"', "credential's name"),
        ("[mqtt]", "the key 'url'"),
        ("view = 3\n", "'view'"),
        ("[[view]]\n", "[view]"),
        ("[model]\nthreads = true", "whole number"),
        ("[telemetry]\ninterval_s = nan", "a number from"),
        ("[storage]\nspool_max_mb = 10.5", "whole number"),
        ('[view]\nhost = "0.0.0.0"', "ssh -L"),
    ],
)
def test_each_fault_names_its_mend(extra: str, word: str) -> None:
    (fault,) = faults_of(GOOD + extra)
    assert word in fault


def test_both_ways_of_giving_credentials_are_one_too_many() -> None:
    text = GOOD.replace("rtsp://cam/main", "rtsp://u:hunter2@cam/main") + 'credentials_file = "f"\n'
    (fault,) = faults_of(text)
    assert "credentials_file" in fault and "hunter2" not in fault


def test_a_file_that_is_no_toml_names_the_line() -> None:
    (fault,) = faults_of("[device]\nid = dev-1\n")
    assert fault.startswith("/site/device.toml:2: not TOML")


def test_an_empty_file_says_which_sections_are_missing() -> None:
    assert [fault.split(": ")[1] for fault in faults_of("")] == ["[device]", "[camera]"]


def test_a_broker_url_gets_its_port() -> None:
    for url, full in {
        "mqtt://h": "mqtt://h:1883",
        "mqtts://h": "mqtts://h:8883",
        "mqtt://[::1]:99": "mqtt://[::1]:99",
    }.items():
        config = decode_config(f'{GOOD}[mqtt]\nurl = "{url}"', HERE, Environment())
        assert config.mqtt is not None and config.mqtt.url == full


def test_a_broker_may_have_several_nodes() -> None:
    text = GOOD + '[mqtt]\nurl = ["mqtts://a", "mqtts://b:9999"]'
    config = decode_config(text, HERE, Environment())
    assert config.mqtt is not None and config.mqtt.urls == ("mqtts://a:8883", "mqtts://b:9999")
    assert config.mqtt.url == "mqtts://a:8883"


@pytest.mark.parametrize(
    "urls", ["[]", '["mqtt://a", "mqtt://a:1883"]', '["mqtt://a", "mqtts://b"]', '["mqtt://a", 3]', '[["mqtt://a"]]']
)
def test_nodes_that_are_no_broker_are_refused(urls: str) -> None:
    (fault,) = faults_of(f"{GOOD}[mqtt]\nurl = {urls}")
    assert "[mqtt] url" in fault


def test_what_a_device_says_and_obeys_has_safe_defaults() -> None:
    mqtt = decode_config(GOOD + '[mqtt]\nurl = "mqtt://h"', HERE, Environment()).mqtt
    assert mqtt is not None
    assert (mqtt.commands, mqtt.receipts, mqtt.snapshots) == ("off", "echo", "slots")
    assert (mqtt.command_keys, mqtt.home_assistant, mqtt.protocol) == (None, False, "auto")


def test_signed_commands_need_somebody_whose_signature_counts(tmp_path: Path) -> None:
    signed = '[mqtt]\nurl = "mqtt://h"\ncommands = "signed"\n'
    (fault,) = faults_of(GOOD + signed)
    assert fault.startswith("/site/device.toml:10: [mqtt] commands") and "fleet enrol" in fault
    decode_config(GOOD + signed + '[model]\nrepository = "usb"\nroot = "root.json"', HERE, Environment())
    config = decode_config(GOOD + signed + 'command_keys = "keys.json"', tmp_path / "device.toml", Environment())
    assert config.mqtt is not None and config.mqtt.command_keys == tmp_path / "keys.json"
    assert any("mqtt: command_keys" in fault and "every command is refused" in fault for fault in check_files(config))


def test_groups_are_names_that_may_stand_in_a_topic() -> None:
    text = GOOD.replace('site = "s1"', 'site = "s1"\ngroups = ["canary", "lyon"]')
    assert decode_config(text, HERE, Environment()).groups == ("canary", "lyon")
    assert decode_config(GOOD, HERE, Environment()).groups == ()
    for wrong in ('"canary"', '["a b"]', '["a", "a"]', '["_all"]', "[3]", str([f"g{n}" for n in range(17)])):
        (fault,) = faults_of(GOOD.replace('site = "s1"', f'site = "s1"\ngroups = {wrong}'))
        assert "[device] groups" in fault


def test_a_file_that_is_not_there_a_folder_and_a_picture_end_in_bad_config(tmp_path: Path) -> None:
    picture = tmp_path / "picture.toml"
    picture.write_bytes(b"\xff\xd8\xff\xe0" * 100)
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * 1_000_001)
    for path in (tmp_path / "none.toml", tmp_path, picture, large):
        with pytest.raises(BadConfig) as caught:
            read_config(path)
        assert str(path) in str(caught.value) and caught.value.mend


def test_missing_files_beside_a_good_configuration_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "device.toml"
    path.write_text(GOOD + '[mqtt]\nurl = "mqtts://h"\nusername = "u"\npassword_file = "pw"\nca_file = "ca.pem"\n')
    config = read_config(path)
    assert [fault.split(" ")[0] for fault in check_files(config)] == ["camera", "mqtt:", "mqtt:"]
    (tmp_path / "a").mkdir()
    for name in ("a/layout.json", "pw", "ca.pem"):
        (tmp_path / name).write_text("x")
    assert check_files(config) == ()


def test_the_template_is_valid_once_the_camera_is_filled_in() -> None:
    (fault,) = faults_of(config_template())
    assert "source" in fault
    config = decode_config(config_template("d", "s", "c", "rtsp://cam/main"), HERE, Environment())
    assert (config.id, config.site, config.cameras[0].name) == ("d", "s", "c")


def test_the_template_shows_every_key_and_its_comments_are_valid_too() -> None:
    text = config_template(source="rtsp://cam/main")
    for section in SECTIONS.values():
        for key in section.keys:
            assert f"{key} = " in text
    full = "".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in text.splitlines(True)
    )
    full = full.replace('layout = "aisle-1', 'layout = "x')
    config = decode_config(full, HERE, Environment(credentials=Path("/run/credentials")))
    assert config.mqtt is not None and config.mqtt.password_file == Path("/run/credentials/mqtt-password")
    assert config.view.port == 8780 and config.telemetry.interval_s == 120


@given(st.text(max_size=200))
@settings(max_examples=100)
def test_the_template_survives_any_source(source: str) -> None:
    try:
        decode_config(config_template(source=source), HERE, Environment())
    except BadConfig as fault:
        assert all("[camera] source" in one for one in fault.faults)


_values = st.one_of(
    st.integers(),
    st.booleans(),
    st.floats(),
    st.text(max_size=20).map(lambda text: '"' + text.replace("\\", "").replace('"', "") + '"'),
    st.sampled_from(['"mqtt://h"', '"rtsp://[::1"', '"http://h:99999/"', "[]", "{}", "[{}]", "1979-05-27", '"x:y@z"']),
)
_keys = st.sampled_from(sorted({key for section in SECTIONS.values() for key in section.keys} | {"zzz", "a.b"}))
_headers = st.sampled_from([*(f"[{name}]" for name in SECTIONS), *(f"[[{name}]]" for name in SECTIONS), "[x]"])
_line = st.one_of(
    _headers, st.builds(lambda k, v: f"{k} = {str(v).lower() if isinstance(v, bool) else v}", _keys, _values)
)


@settings(max_examples=400)
@given(
    st.one_of(
        st.text(max_size=300),
        st.lists(_line, max_size=12).map("\n".join),
        st.lists(_line).map(lambda more: GOOD + "\n".join(more)),
    )
)
@example("[" * 5000)
@example("a = " + "[" * 5000)
@example("x=1\r")
@example(GOOD + "[camera.x]\ny=1")
def test_any_text_gives_a_configuration_or_bad_config_with_lines(text: str) -> None:
    try:
        config = decode_config(text, HERE, Environment())
    except BadConfig as fault:
        lines = len(text.splitlines()) + 1
        for one in fault.faults:
            place = one.removeprefix(f"{HERE}:").partition(":")[0]
            assert 1 <= int(place) <= lines
    else:
        assert isinstance(config, DeviceConfig) and config.cameras


def test_the_environment_is_read_from_what_systemd_sets() -> None:
    environment = read_environment(
        {
            "CREDENTIALS_DIRECTORY": "/run/credentials/x",
            "STATE_DIRECTORY": "/var/lib/a:/var/lib/b",
            "NOTIFY_SOCKET": "@sock",
            "WATCHDOG_USEC": "30000000",
            "WATCHDOG_PID": str(os.getpid()),
            "EDGE_RUNTIME_CONFIG": "/etc/edge-runtime/device.toml",
            "NO_COLOR": "1",
        }
    )
    assert environment == Environment(
        Path("/run/credentials/x"), Path("/var/lib/a"), "@sock", 30.0, Path("/etc/edge-runtime/device.toml"), True
    )
    assert read_environment({}) == Environment()


@pytest.mark.parametrize(
    "variables", [{"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}]
)
def test_a_watchdog_that_is_not_ours_is_ignored(variables: dict[str, str]) -> None:
    assert read_environment(variables).watchdog_s is None


def test_the_example_device_is_valid() -> None:
    path = Path(__file__).resolve().parents[2] / "deploy" / "device" / "device.toml"
    config = read_config(path, Environment(credentials=Path("/run/credentials/edge-runtime.service")))
    assert len(config.cameras) == 2 and config.mqtt is not None


def test_a_repository_needs_to_be_told_whose_signatures_count() -> None:
    (fault,) = faults_of(GOOD + '[model]\nrepository = "https://models.example.com"')
    assert fault.startswith("/site/device.toml:9: [model] repository: found repository alone") and "Add root" in fault
    (fault,) = faults_of(GOOD + "[model]\nauto_update = true")
    assert "auto_update without a repository" in fault
    model = decode_config(GOOD + '[model]\nrepository = "usb"\nroot = "root.json"', HERE, Environment()).model
    assert (model.repository, model.root) == ("/site/usb", Path("/site/root.json"))
    assert not model.auto_update and model.shadow_s > 0 and model.trial_s > 0


def test_a_repository_that_is_there_and_wrong_is_told_once() -> None:
    (fault,) = faults_of(GOOD + '[model]\nrepository = "https://me:secret@host/shelf"\nroot = "root.json"')
    assert "without credentials" in fault and "secret" not in fault
    (fault,) = faults_of(GOOD + "[model]\nshadow_s = -4")
    assert "from 0 to 2592000." in fault


def test_a_root_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    text = GOOD + '[model]\nrepository = "usb"\nroot = "root.json"'
    config = decode_config(text, tmp_path / "device.toml", Environment())
    assert any("model: root" in fault and "repo init" in fault for fault in check_files(config))
