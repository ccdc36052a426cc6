"""layout.json: every fault named, all at once; what is written is read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from edge_runtime.errors import EXIT_BAD_CONFIG, EXIT_UNAVAILABLE, BadConfig, Unavailable
from edge_runtime.layout import MAX_BYTES, MAX_SLOTS, read_layout, write_layout
from edge_runtime.records import Layout, Slot


def square(x: float, y: float, side: float = 50.0) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


def record(**changes: Any) -> dict[str, Any]:
    slots = [{"id": f"s{n}", "sku": "sku", "polygon": square(10 + 60 * n, 10)} for n in range(3)]
    return {
        "format": "shelf-layout/1",
        "reference": "reference.jpg",
        "image_size": [640, 480],
        "slots": slots,
    } | changes


def with_slot(**changes: Any) -> dict[str, Any]:
    made = record()
    made["slots"][1] |= changes
    return made


def written(folder: Path, content: object) -> Path:
    path = folder / "layout.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def fault_of(folder: Path, content: object) -> str:
    with pytest.raises(BadConfig) as caught:
        read_layout(written(folder, content))
    assert caught.value.exit_code == EXIT_BAD_CONFIG
    assert caught.value.mend
    return str(caught.value)


def test_a_layout_is_read(tmp_path: Path) -> None:
    layout = read_layout(written(tmp_path, record()))
    assert layout.reference == tmp_path / "reference.jpg"
    assert layout.image_size == (640, 480)
    assert [slot.id for slot in layout.slots] == ["s0", "s1", "s2"]
    assert layout.slots[1].polygon == ((70, 10), (120, 10), (120, 60), (70, 60))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "truncated"),
        ("not json", "malformed"),
        ("[]", "object"),
        (record(format="shelf-layout/2"), "shelf-layout/2"),
        (record(colour="red"), "colour"),
        (with_slot(colour="red"), "colour"),
        ({key: value for key, value in record().items() if key != "slots"}, "slots"),
        (record(slots=[]), "0 slots"),
        (record(image_size=[0, 480]), "0x480"),
        (record(image_size=[640, 10**9]), "1000000000"),
        (record(image_size=[640.5, 480]), "int"),
        (record(reference=""), "''"),
        (record(reference="../reference.jpg"), "'..'"),
        (record(reference="/etc/passwd"), "/etc/passwd"),
        (record(reference="a\x00b.jpg"), "a\\x00b.jpg"),
        (with_slot(id=""), "the id ''"),
        (with_slot(id="a/b"), "a/b"),
        (with_slot(id="x" * 65), "1 to 64"),
        (with_slot(id="s0"), "twice"),
        (with_slot(polygon=square(70, 10)[:3]), "3 points"),
        (with_slot(polygon=[*square(70, 10), [70, 30]]), "5 points"),
        (with_slot(polygon=square(600, 10)), "leaves the 640x480 picture"),
        (with_slot(polygon=square(-30, 100)), "leaves the 640x480 picture"),
        (with_slot(polygon=[[70, 10], [120, 60], [120, 10], [70, 60]]), "convex"),
        (with_slot(polygon=[[70, 10], [70, 10], [70, 10], [70, 10]]), "convex"),
        (with_slot(polygon=square(70, 10, 2)), "covers 4 pixels"),
        (with_slot(polygon=square(15, 15)), "overlap"),
        (with_slot(polygon=[[1e308, 0], [1e308, 9], [0, 9], [0, 0]]), "leaves"),
    ],
)
def test_each_fault_is_named(tmp_path: Path, content: object, word: str) -> None:
    assert word in fault_of(tmp_path, content)


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    made = record(reference="", image_size=[1, 480])
    made["slots"][0]["polygon"] = square(10, 10)[:2]
    made["slots"][2]["id"] = "s1"
    with pytest.raises(BadConfig) as caught:
        read_layout(written(tmp_path, made))
    assert len(caught.value.faults) >= 4
    assert all(str(tmp_path) in fault for fault in caught.value.faults)


def test_neighbours_that_share_an_edge_or_a_little_more_are_fine(tmp_path: Path) -> None:
    slots = [{"id": f"s{n}", "sku": "", "polygon": square(10 + 48 * n, 10)} for n in range(3)]
    assert len(read_layout(written(tmp_path, record(slots=slots))).slots) == 3


def test_a_slot_may_touch_the_edge_of_the_picture(tmp_path: Path) -> None:
    slots = [{"id": "s", "sku": "", "polygon": [[0, 0], [640, 0], [640, 480], [0, 480]]}]
    assert read_layout(written(tmp_path, record(slots=slots))).slots


def test_a_file_that_is_not_there_a_folder_and_a_picture(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as gone:
        read_layout(tmp_path / "none.json")
    assert gone.value.exit_code == EXIT_UNAVAILABLE
    with pytest.raises(BadConfig, match="folder"):
        read_layout(tmp_path)
    (tmp_path / "picture.json").write_bytes(b"\xff\xd8\xff\xe0" * 10)
    with pytest.raises(BadConfig):
        read_layout(tmp_path / "picture.json")
    (tmp_path / "large.json").write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(BadConfig, match="bytes"):
        read_layout(tmp_path / "large.json")


def test_too_many_slots_are_refused_quickly(tmp_path: Path) -> None:
    slots = [{"id": f"s{n}", "sku": "", "polygon": square(10, 10)} for n in range(MAX_SLOTS + 1)]
    with pytest.raises(BadConfig) as caught:
        read_layout(written(tmp_path, record(slots=slots)))
    assert len(caught.value.faults) < 10


_names = st.text(
    st.characters(codec="utf-8", exclude_categories=("C",), exclude_characters="/#+\u2028\u2029"),
    min_size=1,
    max_size=20,
).filter(str.isprintable)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(_names, st.text(st.characters(codec="utf-8"), max_size=20)),
        min_size=1,
        max_size=9,
        unique_by=lambda slot: slot[0],
    )
)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, named: list[tuple[str, str]]) -> None:
    slots = tuple(
        Slot(name, sku, ((60.0 * n, 1.5), (60.0 * n + 50, 1.25), (60.0 * n + 50, 99.0), (60.0 * n, 99.0)))
        for n, (name, sku) in enumerate(named)
    )
    path = tmp_path_factory.mktemp("layout") / "layout.json"
    write_layout(path, "reference.jpg", (640, 480), slots)
    assert read_layout(path) == Layout(path, path.parent / "reference.jpg", (640, 480), slots)


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)
_points = st.lists(
    st.tuples(st.floats(), st.floats()) | st.tuples(st.integers(-5, 700), st.integers(-5, 500)), max_size=6
)
_slots = st.lists(
    st.fixed_dictionaries({"id": st.text(max_size=4), "sku": st.text(max_size=4), "polygon": _points}), max_size=5
)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200)
    | _json.map(lambda value: json.dumps(value).encode())
    | _slots.map(lambda slots: json.dumps(record(slots=slots)).encode())
)
@example(b"[" * 100_000)
@example(b'{"format":"shelf-layout/1","slots":' + b"[" * 100_000)
def test_any_bytes_give_a_layout_or_bad_config(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("layout") / "layout.json"
    path.write_bytes(raw)
    try:
        layout = read_layout(path)
    except BadConfig as fault:
        assert fault.faults and all(str(path) in one for one in fault.faults)
    else:
        assert layout.slots
