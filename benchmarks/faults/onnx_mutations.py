"""Fault 11: hostile and malformed ONNX files, through the process in which a device proves a model.

usage: python -m benchmarks.faults.onnx_mutations [--count 10000] [--plain 500] [--seed 1] [--fresh]

A mutation holds if the parent gets a refusal with a reason, or a proof whose golden set passed (some mutations are
harmless), in time; and if the child stayed within its memory, wrote nothing, and the parent did not grow. Verdicts are
kept in var/faults/, so a campaign that was stopped goes on; they are begun afresh when the child or the mutations change.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import select
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import msgspec

from benchmarks.faults import onnx_bombs, onnx_edits
from benchmarks.faults.row import Row
from edge_runtime.assets import factory_bundles
from edge_runtime.daemon import confine, proving, proving_child
from edge_runtime.daemon.proof import ProofLimits
from edge_runtime.errors import EdgeError
from edge_runtime.inference import graph
from edge_runtime.manifest import FileDigest, decode_manifest, encode_manifest

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "var" / "faults"
MODELS = ROOT.parent / "shared" / "data" / "models"
LIMITS = ProofLimits(memory_mb=384, cpu_s=4, wall_s=30.0, latency_ms=500.0, measure_s=0.05)
PATIENT = replace(LIMITS, wall_s=240.0)
"""For children of a device's low priority, beside a campaign that has none."""
SERVERS = 5
PEAK_MB = LIMITS.memory_mb + 128
"""Private memory, and the libraries' mapped pages."""
GROWTH_MB = 8.0
"""How much the parent may grow over a whole campaign."""
_UNDER_TEST = (confine, proving_child, graph, onnx_bombs, onnx_edits)


class Source:
    """A bundle with one model file in it to mutate; `path` is written anew for each mutation."""

    def __init__(self, name: str, bundle: Path, member: str, other: bytes | None = None) -> None:
        self.name, self.member = name, member
        with zipfile.ZipFile(bundle) as archive:
            self._parts = {part: archive.read(part) for part in archive.namelist()}
        if member == "model.onnx":
            self._parts.pop("model.fp32.onnx", None)
        self.raw = other or self._parts[member]
        self._manifest = decode_manifest(self._parts.pop("manifest.json"))

    def write(self, path: Path, model: bytes) -> None:
        """A whole bundle, whose manifest vouches for the mutated file."""
        parts = self._parts | {self.member: model}
        files = {name: FileDigest(hashlib.sha256(raw).hexdigest(), len(raw)) for name, raw in parts.items()}
        manifest = encode_manifest(msgspec.structs.replace(self._manifest, files=files))
        with zipfile.ZipFile(path, "w") as archive:
            for name, raw in {"manifest.json": manifest, **parts}.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o100644 << 16
                archive.writestr(info, raw)


def sources() -> list[Source]:
    """The shipped model's two files, an older model, and detectors in its place where they are at hand."""
    bundles = factory_bundles()
    found = [Source("shipped int8", bundles[-1], "model.onnx"), Source("shipped float", bundles[-1], "model.fp32.onnx")]
    found += [Source(bundle.stem, bundle, "model.onnx") for bundle in bundles[:-1]]
    for path in (MODELS / "fastestdet/FastestDet.onnx", MODELS / "yunet/yunet_n_320_320.onnx"):
        if path.exists():
            found.append(Source(path.stem, bundles[-1], "model.onnx", path.read_bytes()))
    return found


class Server:
    """One `proving_server`, with a folder of its own in which nothing but the mutated bundle may ever be."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self._path = folder, folder / "mutant.zip"
        command = [sys.executable, "-m", "benchmarks.faults.proving_server", str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def ask(self, source: Source, model: bytes) -> None:
        """Begin to prove a mutation; `answer` tells what came of it."""
        source.write(self._path, model)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"bundle": str(self._path), "limits": asdict(LIMITS)}) + "\n")
        self._process.stdin.flush()

    def fileno(self) -> int:
        """What can be read from once there is an answer."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def answer(self) -> dict[str, object]:
        assert self._process.stdout is not None
        verdict: dict[str, object] = json.loads(self._process.stdout.readline())
        return verdict | {"stray": sorted(p.name for p in self._folder.iterdir() if p != self._path)}

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def verdicts(numbers: list[int], seed: int, folder: Path) -> Iterator[dict[str, object]]:
    """Prove mutations by their numbers, each in a forked child; every verdict says what was proved, in any order."""
    mutants = sources()
    servers = [Server(folder / f"server-{number}") for number in range(SERVERS)]
    asked: dict[Server, dict[str, object]] = {}
    idle, left = list(servers), list(reversed(numbers))
    try:
        while left or asked:
            while idle and left:
                number, server = left.pop(), idle.pop()
                source = mutants[number % len(mutants)]
                kind, model = onnx_edits.mutate(source.raw, number, seed)
                server.ask(source, model)
                asked[server] = {"number": number, "source": source.name, "mutation": kind}
            for server in select.select(list(asked), [], [])[0]:
                yield asked.pop(server) | server.answer()
                idle.append(server)
    finally:
        for server in servers:
            server.close()


def plain_verdicts(numbers: list[int], seed: int, folder: Path) -> Iterator[dict[str, object]]:
    """As `verdicts`, each in a process of its own, as a device does it; other mutations than those.

    This process makes the mutations too, so its growth tells nothing of the parent's.
    """
    mutants = sources()

    def prove_one(number: int) -> dict[str, object]:
        path = folder / f"plain-{number}" / "mutant.zip"
        path.parent.mkdir()
        source = mutants[number % len(mutants)]
        kind, model = onnx_edits.mutate(source.raw, number, seed + 1)
        source.write(path, model)
        verdict = {"number": number, "source": source.name, "mutation": kind} | _proved(path)
        stray = sorted(p.name for p in path.parent.iterdir() if p != path)
        shutil.rmtree(path.parent)
        return verdict | {"stray": stray}

    with ThreadPoolExecutor(SERVERS) as threads:
        yield from threads.map(prove_one, numbers)


def _proved(path: Path) -> dict[str, object]:
    try:
        found = proving.prove(path, PATIENT)
    except EdgeError as fault:
        return {"kind": type(fault).__name__, "said": fault.found}
    sound = all(v.max_error <= v.tolerance and v.golden for v in found.variants if v.passed)
    return {"kind": "Proof", "said": found.said, "sound": sound}


def held(verdict: dict[str, object]) -> bool:
    """Did the device do what it must?"""
    sound = verdict["kind"] == "ModelFault" or (verdict["kind"] == "Proof" and bool(verdict["sound"]))
    in_time = float(str(verdict.get("wall_s", 0.0))) < LIMITS.wall_s + 10.0
    small = float(str(verdict.get("peak_mb", 0.0))) < PEAK_MB
    return sound and in_time and small and bool(verdict["said"]) and not verdict["stray"]


def outcome(verdict: dict[str, object]) -> str:
    """What came of a mutation, in a word or two."""
    said = str(verdict["said"])
    endings = {
        "used more than": "out of processor time",
        "MB of memory": "out of memory",
        "killed by signal": "the child crashed",
        "was killed": "the child was killed",
        "proving it took more than": "out of time",
        "golden set": "wrong answers",
        "does not load": "does not load",
        "fails": "refused or failed",
    }
    if verdict["kind"] == "Proof":
        return "harmless"
    return next((word for part, word in endings.items() if part in said), "other")


def row(what: str, found: list[dict[str, object]]) -> Row:
    """The campaign's line: how many held, what came of them, peaks; or the first that did not hold."""
    bad = [verdict for verdict in found if not held(verdict)]
    ends = collections.Counter(outcome(verdict) for verdict in found)
    peak = max((float(str(v.get("peak_mb", 0.0))) for v in found), default=0.0)
    sizes = [float(str(v["parent_mb"])) for v in found if "parent_mb" in v]
    grown = max(sizes[len(sizes) // 10 :], default=0.0) - (sizes[len(sizes) // 10] if sizes else 0.0)
    note = ", ".join(f"{number} {end}" for end, number in ends.most_common())
    note += f"; parent grew by {grown:.1f} MB, largest child {peak:.0f} MB" if sizes else ""
    if grown > GROWTH_MB:
        bad = bad or found[-1:]
    if bad:
        note = f"first that did not hold: {json.dumps(bad[0])}; {note}"
    return Row(11, what, len(found), len(found) - len(bad), note)


def campaign(quick: bool) -> Iterable[Row]:
    """All mutations (or a few) of all sources."""
    yield from run(60, 4, 1, fresh=True, kept=None) if quick else run(10_000, 500, 1)


def run(count: int, plain: int, seed: int, fresh: bool = False, kept: Path | None = KEPT) -> Iterator[Row]:
    """Both campaigns. `kept`: where verdicts are stored between runs; None keeps none."""
    parts = (
        ("forked", "ONNX files mutated or hostile, each proved in a confined child", count, verdicts),
        ("plain", "as above, each child a new process as on a device", plain, plain_verdicts),
    )
    for name, what, wanted, prove_all in parts:
        store = kept / f"onnx-{name}-{seed}-{_code()}.jsonl" if kept else None
        found = _stored(store) if store and not fresh else []
        with tempfile.TemporaryDirectory() as folder:
            proved = {verdict["number"] for verdict in found}
            for verdict in prove_all([k for k in range(wanted) if k not in proved], seed, Path(folder)):
                found.append(verdict)
                if store:
                    store.parent.mkdir(parents=True, exist_ok=True)
                    with store.open("a") as file:
                        file.write(json.dumps(verdict) + "\n")
            shutil.rmtree(folder, ignore_errors=True)
            Path(folder).mkdir()
        yield row(what, found[:wanted])


def _stored(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _code() -> str:
    """A short digest of what the child does and of what is done to it: verdicts of other code count for nothing."""
    digest = hashlib.sha256()
    for module in _UNDER_TEST:
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:12]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="mutations proved in forked children")
    parser.add_argument("--plain", type=int, default=500, help="mutations proved in processes of their own")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="pass over the verdicts of an earlier run")
    asked = parser.parse_args()
    failed = 0
    for found in run(asked.count, asked.plain, asked.seed, asked.fresh):
        print(f"fault {found.fault}: {found.what}: {found.held} of {found.points} held; {found.note}", flush=True)
        failed += found.held < found.points
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
