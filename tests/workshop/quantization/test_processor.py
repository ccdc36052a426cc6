"""The types follow the processor, and say why."""

from __future__ import annotations

import pytest

from edge_runtime.workshop.quantization.processor import Target, choose_types, flags_of, types_here

VNNI = frozenset({"avx2", "avx512_vnni"})


@pytest.mark.parametrize(
    ("target", "machine", "flags", "name"),
    [
        ("any", "x86_64", VNNI, "U8S8/7"),
        ("any", "aarch64", frozenset({"asimddp"}), "U8S8/7"),
        ("auto", "x86_64", VNNI, "U8S8"),
        ("auto", "x86_64", frozenset({"avx2"}), "U8S8/7"),
        ("auto", "x86_64", frozenset(), "U8S8/7"),
        ("auto", "aarch64", frozenset({"asimddp"}), "S8S8"),
        ("x86", "aarch64", frozenset(), "U8S8/7"),
        ("arm", "x86_64", VNNI, "S8S8"),
    ],
)
def test_types_by_target(target: Target, machine: str, flags: frozenset[str], name: str) -> None:
    types = choose_types(target, machine, flags)
    assert types.name == name
    assert types.why
    assert types.symmetric == (types.activations == "S8")


def test_flags_are_read_from_both_kinds_of_processor() -> None:
    assert flags_of("processor : 0\nflags\t\t: fpu avx2 avx_vnni\n") == {"fpu", "avx2", "avx_vnni"}
    assert "asimddp" in flags_of("Features\t: fp asimd asimddp\n")
    assert flags_of("") == frozenset()


def test_this_machine_has_an_answer() -> None:
    assert types_here("auto").name in ("U8S8", "U8S8/7", "S8S8")
