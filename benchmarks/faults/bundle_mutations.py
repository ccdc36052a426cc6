"""Faults 7 and 10: bundles with changed bytes, and zips that are forged, offered to a device's store.

usage: python -m benchmarks.faults.bundle_mutations [--count 10000] [--seed 1] [--quick]

A mutation holds if it is refused with the member or the part of the zip at fault, if the folder of the device and the
one around it hold what they held before, and if no more than 20 MB of memory were taken for it.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.faults import forged_members, forged_zips
from benchmarks.faults.forged_zips import Entry, zip_of
from benchmarks.faults.row import Row
from edge_runtime.assets import factory_bundles
from edge_runtime.errors import EdgeError, Refused
from edge_runtime.lifecycle.bundle import LIMITS, read_bundle, verify_bundle
from edge_runtime.lifecycle.strict_zip import list_members
from edge_runtime.workshop.pack import npz

ROOT = Path(__file__).resolve().parents[2]
MAX_MB = 20.0
"""By which the store's process may grow beyond what a whole bundle takes."""
SHIPPED_SAMPLES = 3000
PARTS = ("zip", "bundle", "manifest", *LIMITS)


def small_entries() -> list[Entry]:
    """The members of a whole bundle of a few kilobytes (its model is no model: nothing here runs it)."""
    golden = npz({"current": np.zeros((1, 8, 8, 3), np.uint8), "tolerance": np.array(0.1, np.float32)})
    bodies = {
        "model.onnx": random.Random(5).randbytes(700),
        "golden.npz": golden,
        "reference.npz": npz({"edges": np.linspace(0, 1, 21)}),
        "LICENSE": b"Apache-2.0\n",
    }
    shipped = read_bundle(factory_bundles()[-1])
    manifest = json.loads(_member(factory_bundles()[-1], "manifest.json"))
    manifest |= {
        "name": "shelf-small",
        "version": "1.0.0",
        "card": {},
        "description": shipped.manifest.description[:40],
    }
    return vouched(
        [Entry(b"manifest.json", json.dumps(manifest).encode()), *(Entry(k.encode(), v) for k, v in bodies.items())]
    )


def vouched(entries: list[Entry]) -> list[Entry]:
    """The entries with a manifest that vouches for the others."""
    manifest = json.loads(entries[0].body)
    manifest["files"] = {
        entry.name.decode(): {"sha256": hashlib.sha256(entry.body).hexdigest(), "bytes": len(entry.body)}
        for entry in entries[1:]
    }
    return [Entry(b"manifest.json", json.dumps(manifest, indent=1).encode()), *entries[1:]]


def _member(bundle: Path, name: str) -> bytes:
    with bundle.open("rb") as file:
        member = list_members(file, bundle.stat().st_size, LIMITS)[name]
        file.seek(member.at)
        return file.read(member.size)


class Tally:
    """How many were refused as they must be, and the first that was not."""

    def __init__(self) -> None:
        self.points = self.held = 0
        self.first = ""
        self.parts: collections.Counter[str] = collections.Counter()

    def note(self, what: str, wrong: str, part: str = "") -> None:
        self.points += 1
        self.held += not wrong
        self.first = self.first or (f"{what}: {wrong}" if wrong else "")
        if part:
            self.parts[part] += 1

    def row(self, fault: int, what: str, note: str = "") -> Row:
        bad = f"first that did not hold: {self.first}; " if self.first else ""
        return Row(fault, what, self.points, self.held, bad + note)


def judged(path: Path, raw: bytes, owner: str = "") -> tuple[str, str]:
    """What is wrong with how a changed bundle was met (empty: nothing), and the part that was named.

    `owner`: the member whose byte was changed; empty: any part may be named.
    """
    path.write_bytes(raw)
    try:
        verify_bundle(path)
    except Refused as fault:
        said = fault.found.removeprefix(f"{path}: ")
        named = next((part for part in PARTS if part in said), "")
        if not named or not fault.mend:
            return f"nothing was named: {said[:200]}", ""
        if owner and owner not in said:
            return f"{owner} was not named: {said[:200]}", named
        return "", named
    except EdgeError as fault:
        return f"{type(fault).__name__}: {fault}"[:300], ""
    return "it was accepted", ""


def changed_bytes(raw: bytes, folder: Path, places: Iterable[int], both: bool = True) -> Tally:
    """Single bytes flipped in one bit, and (`both`) in all."""
    whole = folder / "whole.zip"
    whole.write_bytes(raw)
    with whole.open("rb") as file:
        members = list_members(file, len(raw), LIMITS)
    spans = [(member.at, member.at + member.size, member.name) for member in members.values()]
    tally = Tally()
    for place in places:
        owner = next((name for first, beyond, name in spans if first <= place < beyond), "")
        for flip in (1 << place % 8, 0xFF)[: 1 + both]:
            mutant = raw[:place] + bytes([raw[place] ^ flip]) + raw[place + 1 :]
            wrong, part = judged(folder / "mutant", mutant, owner)
            tally.note(f"byte {place} ^ {flip:#x}", wrong, part)
    return tally


def other_lengths(raw: bytes, folder: Path, step: int) -> Tally:
    """Truncated to every length, and extended at either end and within."""
    tally = Tally()
    for length in range(0, len(raw), step):
        tally.note(f"cut to {length}", *judged(folder / "mutant", raw[:length]))
    for extra in (b"\0", b"PK\x05\x06" + bytes(18), raw, bytes(100), b"\n"):
        for place in (0, len(raw) // 2, len(raw)):
            mutant = raw[:place] + extra + raw[place:]
            tally.note(f"{len(extra)} bytes more at {place}", *judged(folder / "mutant", mutant))
    return tally


def offered(count: int, seed: int, folder: Path) -> tuple[Tally, float, collections.Counter[str]]:
    """Forged bundles, each offered to a store: the tally, by how many MB the store's process grew, how many of each kind."""
    entries = small_entries()
    state, offer = folder / "device" / "state", folder / "mutant.zip"
    command = [sys.executable, "-m", "benchmarks.faults.offer_server", str(state)]
    tally, kinds, grown = Tally(), collections.Counter[str](), 0.0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        offer.write_bytes(zip_of(entries))
        base = _offer(server, offer)
        assert base["wrong"] == "it was installed", base
        before = tree(folder)
        for number in range(count):
            kind, raw = forged(entries, random.Random(f"{seed}/{number}"))
            offer.write_bytes(raw)
            answer = _offer(server, offer)
            wrong = str(answer["wrong"])
            grown = float(str(answer["peak_mb"])) - float(str(base["peak_mb"]))
            if not wrong and grown > MAX_MB:
                wrong = f"it took {grown:.0f} MB"
            if not wrong and tree(folder) != before:
                wrong = f"the folders hold {sorted(tree(folder) ^ before)}"
            tally.note(f"{kind} ({seed}/{number})", wrong)
            kinds[kind] += 1
        assert server.stdin is not None
        server.stdin.close()
    return tally, grown, kinds


def _offer(server: subprocess.Popen[str], path: Path) -> dict[str, object]:
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(f"{path}\n")
    server.stdin.flush()
    answer: dict[str, object] = json.loads(server.stdout.readline())
    return answer


def forged(entries: list[Entry], draw: random.Random) -> tuple[str, bytes]:
    """One forgery that differs from the whole bundle."""
    while True:
        kind = draw.choice((*forged_zips.FORGERIES, *forged_members.FORGERIES, "manifests", "golden arrays"))
        if kind in forged_zips.FORGERIES:
            raw = forged_zips.FORGERIES[kind](entries, draw)
        else:
            member, forge = forged_members.FORGERIES[kind]
            changed = [Entry(e.name, forge(e.body, draw)) if e.name.decode() == member else e for e in entries]
            raw = zip_of(changed if member == "manifest.json" else vouched(changed))
        if raw != zip_of(entries):
            return kind, raw


def tree(folder: Path) -> set[tuple[str, int]]:
    """Everything below a folder but the file that is offered: names and sizes."""
    found = set()
    for path in folder.rglob("*"):
        if path != folder / "mutant.zip":
            found.add((str(path.relative_to(folder)), path.lstat().st_size if path.is_file() else -1))
    return found


def shipped_places(raw: bytes, bundle: Path, samples: int) -> list[int]:
    """All bytes of the structure and of the manifest, and some of every other member."""
    with bundle.open("rb") as file:
        members = list_members(file, len(raw), LIMITS)
    others = [member for member in members.values() if member.name != "manifest.json"]
    inside: set[int] = set()
    draw, chosen = random.Random(1), set[int]()
    for member in others:
        inside |= set(range(member.at, member.at + member.size))
        chosen |= {member.at, member.at + member.size - 1}
        chosen |= {member.at + draw.randrange(member.size) for _ in range(samples // len(others))}
    return sorted(set(range(len(raw))) - inside | chosen)


def campaign(quick: bool) -> Iterable[Row]:
    """All of it, or a few of each."""
    yield from run(150 if quick else 10_000, 1, 97 if quick else 1, 40 if quick else SHIPPED_SAMPLES)


def run(count: int, seed: int, step: int, samples: int) -> Iterator[Row]:
    """`step`: between the bytes of the small bundle that are changed, and between the lengths that it is cut to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = zip_of(small_entries())
        (folder / "small.zip").write_bytes(small)
        verify_bundle(folder / "small.zip")
        found = changed_bytes(small, folder, range(0, len(small), step))
        yield found.row(
            7,
            f"every {f'{step}th ' if step > 1 else ''}byte of a small bundle changed",
            f"named: {dict(found.parts.most_common())}",
        )
        found = other_lengths(small, folder, step)
        yield found.row(7, f"a small bundle cut to every {f'{step}th ' if step > 1 else ''}length, and extended")
        bundle = factory_bundles()[-1]
        raw = bundle.read_bytes()
        places = shipped_places(raw, bundle, samples)
        found = changed_bytes(
            raw, folder, places if samples == SHIPPED_SAMPLES else places[:: len(places) // samples], both=False
        )
        yield found.row(
            7,
            f"bytes of {bundle.name} changed: its structure, its manifest, samples of the rest",
            f"named: {dict(found.parts.most_common())}",
        )
    with tempfile.TemporaryDirectory() as name:
        found, most, kinds = offered(count, seed, Path(name))
        note = f"the store's process grew by {most:.1f} MB; " + ", ".join(
            f"{number} {kind}" for kind, number in kinds.most_common()
        )
        yield found.row(10, "forged bundles offered to a device's store", note)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="forged bundles")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a few of each")
    asked = parser.parse_args()
    failed = 0
    for found in campaign(True) if asked.quick else run(asked.count, asked.seed, 1, SHIPPED_SAMPLES):
        print(f"fault {found.fault}: {found.what}: {found.held} of {found.points} held; {found.note}", flush=True)
        failed += found.held < found.points
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
