"""Which integer types suit which processor. Pure but for one small file of the kernel's."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Target = Literal["any", "auto", "x86", "arm"]
TARGETS: tuple[Target, ...] = ("any", "auto", "x86", "arm")
DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})
"""x86 instructions that add products of u8 and s8 without saturating the pair sums."""
ARM_MACHINES = ("aarch64", "arm64")
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Types:
    """How activations and weights are stored. Weights are always S8, symmetric, one scale a channel."""

    activations: Literal["U8", "S8"]
    symmetric: bool
    """Activations have no zero point."""
    reduce_range: bool
    """Weights use 7 of 8 bits, so that the pair sums of processors without VNNI can not saturate."""
    why: str

    @property
    def name(self) -> str:
        """`U8S8`, `S8S8`, with `/7` for 7-bit weights."""
        return f"{self.activations}S8{'/7' if self.reduce_range else ''}"


EIGHT_BITS = Types("U8", False, False, "weights keep all 8 bits; a device without VNNI may run the float file instead")


def choose_types(target: Target, machine: str, flags: frozenset[str]) -> Types:
    """The types for a target. `machine` and `flags` are of the processor at hand and matter for `auto` alone.

    `any`, the default, is one file for all: on x86 U8 activations are the fast ones (S8 took 2.4 times as long: its
    depthwise kernels are missing there), ARM has kernels for both, and 7-bit weights are right with and without VNNI.
    """
    if target == "any":
        return Types("U8", False, True, "one file for all processors: 7-bit weights need no VNNI, U8 is fast on x86")
    if target == "arm" or (target == "auto" and machine in ARM_MACHINES):
        return Types("S8", True, False, "ARM: symmetric S8 activations and weights")
    found = sorted(DOT_PRODUCTS & flags)
    if target == "auto" and found:
        return Types("U8", False, False, f"x86 with {found[0]}: weights keep all 8 bits")
    if target == "auto":
        return Types("U8", False, True, "x86 without VNNI: 7-bit weights, so that pair sums can not saturate")
    return Types("U8", False, True, "x86 with or without VNNI: 7-bit weights, so that pair sums can not saturate")


def flags_of(cpuinfo: str) -> frozenset[str]:
    """Every flag or feature that /proc/cpuinfo names."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return frozenset(word for key, _, words in lines if key.strip() in ("flags", "Features") for word in words.split())


def types_here(target: Target) -> Types:
    """`choose_types` for this machine; a processor that can not be asked counts as one without VNNI."""
    try:
        text = CPUINFO.read_text("utf-8", "replace")
    except OSError:
        text = ""
    return choose_types(target, platform.machine().lower(), flags_of(text))
