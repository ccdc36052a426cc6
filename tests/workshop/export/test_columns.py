from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import Refused, Usage
from edge_runtime.workshop.export.columns import columns_in_order, columns_of, parse_labels
from edge_runtime.workshop.labels import LABELS

names = st.text("abcdefgh0123 -_.", min_size=1, max_size=8).map(str.strip).filter(bool)


@given(st.permutations(LABELS), st.lists(names, min_size=4, max_size=4, unique=True))
def test_what_is_written_is_what_is_read(states: list[str], classes: list[str]) -> None:
    pairs = dict(zip(classes, states, strict=True))
    text = ",".join(f"{name}={state}" for name, state in pairs.items())
    assert parse_labels(text) == pairs
    assert columns_of(sorted(classes), pairs) == tuple(pairs[name] for name in sorted(classes))
    assert columns_in_order(pairs, 4) == tuple(states)


@given(st.text(max_size=60))
def test_any_text_is_a_mapping_of_states_or_a_usage_fault(text: str) -> None:
    try:
        mapping = parse_labels(text)
    except Usage as fault:
        assert fault.mend
        return
    assert set(mapping.values()) <= set(LABELS)
    assert len(set(mapping.values())) == len(mapping)


@given(st.lists(names, max_size=6, unique=True), st.dictionaries(names, st.sampled_from(LABELS), max_size=4))
def test_columns_are_complete_and_each_once_or_refused(classes: list[str], mapping: dict[str, str]) -> None:
    if len(set(mapping.values())) != len(mapping):
        return
    try:
        columns = columns_of(classes, mapping)
    except Refused as fault:
        assert fault.mend
        return
    assert set(LABELS[:3]) <= set(columns)
    assert len(columns) == len(classes) == len(set(columns))


def test_classes_that_are_states_need_no_mapping() -> None:
    assert columns_of(["empty", "low", "stocked"], {}) == ("empty", "low", "stocked")


def test_numbers_as_classes_are_mapped_by_how_they_are_written() -> None:
    assert columns_of([0, 1, 2], parse_labels("0=stocked,1=low,2=empty")) == ("stocked", "low", "empty")
    with pytest.raises(Refused, match=r"no state is given for '0', '1'"):
        columns_of([0, 1], {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "''"),
        ("full", "'full'"),
        ("=stocked", "'=stocked'"),
        ("a=stocked,a=low", "'a' twice"),
        ("low,low", "'low' twice"),
    ],
)
def test_a_mapping_with_a_fault_is_shown_back(text: str, said: str) -> None:
    with pytest.raises(Usage, match=said):
        parse_labels(text)


def test_a_state_without_a_column_is_named() -> None:
    with pytest.raises(Refused, match="no column means low"):
        columns_of(["stocked", "empty"], {})


def test_a_class_that_the_estimator_lacks_is_named() -> None:
    with pytest.raises(Refused, match="'thin', which it lacks"):
        columns_of(["stocked", "low", "empty"], parse_labels("stocked,empty,thin=low"))
