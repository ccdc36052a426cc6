"""`build export` and `build features`: what is wrong, what was expected, and the mend; never a traceback."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from sklearn.decomposition import FastICA
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from workshop.export.graphs import classifier, one_node, save

from edge_runtime.cli.build import extra
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, EXIT_UNAVAILABLE, EXIT_USAGE
from edge_runtime.workshop.export.receipt import read_receipt
from edge_runtime.workshop.export.samples import read_samples
from edge_runtime.workshop.features import features

from .conftest import Run

Make = Callable[[Path], Path]
ONNX = ("--labels", "stocked,low,empty,blocked", "--colour", "RGB", "--preprocess", "unit")
TRUST = ("--trust-pickle",)
STATES = np.array(["stocked", "low", "empty", "blocked"])


def table(width: int = 198) -> tuple[np.ndarray, np.ndarray]:
    samples = read_samples(None)
    return features(samples.current, samples.reference)[:, :width], STATES[np.arange(len(samples)) % 4]


def fitted(width: int = 198, states: np.ndarray | None = None, front: Any = None) -> Any:
    x, y = table(width)
    steps = [front, LogisticRegression(max_iter=20)] if front is not None else [StandardScaler(), LogisticRegression()]
    return make_pipeline(*steps).fit(x, y if states is None else states[np.arange(len(x)) % len(states)])


def dumped(thing: Any) -> Make:
    def make(folder: Path) -> Path:
        path = folder / "shelf.joblib"
        joblib.dump(thing, path)
        return path

    return make


def bytes_of(body: bytes, name: str) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(body)
        return folder / name

    return make


def graph(model: onnx.ModelProto) -> Make:
    return lambda folder: save(model, folder / "crops.onnx")


def with_external_data(folder: Path) -> Path:
    path = folder / "crops.onnx"
    onnx.save(classifier(), path, save_as_external_data=True, location="crops.data", size_threshold=0)
    return path


def own_class(folder: Path) -> Path:
    """A pickle of a class whose module is not there when it is loaded."""
    module = folder / "my_own_parts.py"
    module.write_text("class Scale:\n    def fit(self, x, y=None): return self\n    def predict(self, x): return x\n")
    sys.path.insert(0, str(folder))
    import my_own_parts  # type: ignore[import-not-found]

    (folder / "own.pkl").write_bytes(pickle.dumps(my_own_parts.Scale()))
    sys.path.remove(str(folder))
    del sys.modules["my_own_parts"]
    module.unlink()
    return folder / "own.pkl"


NOT_THERE: Make = lambda folder: folder / "no.onnx"  # noqa: E731
OLD = classifier(opset=17)
OLD.opset_import[0].version = 6
NEW = classifier(opset=17)
NEW.opset_import[0].version = 25
BROKEN = classifier()
BROKEN.graph.node[-1].input[1] = "nowhere"
NAN = classifier()
NAN.graph.node[-1].output[0] = "sums"
NAN.graph.node.append(onnx.helper.make_node("Neg", ["sums"], ["minus"]))
NAN.graph.node.append(onnx.helper.make_node("Relu", ["minus"], ["none"]))
NAN.graph.node.append(onnx.helper.make_node("Sub", ["none", "none"], ["zero"]))
NAN.graph.node.append(onnx.helper.make_node("Div", ["zero", "zero"], ["scores"]))

FAULTS: list[tuple[str, Make, tuple[str, ...], int, tuple[str, ...]]] = [
    ("no ONNX file", NOT_THERE, ONNX, EXIT_UNAVAILABLE, ("no.onnx", "can not be read")),
    ("empty", bytes_of(b"", "x.onnx"), ONNX, EXIT_PROBLEM, ("is empty (0 bytes)", "Export it again")),
    ("a text", bytes_of(b"import onnx\n" * 9, "x.onnx"), ONNX, EXIT_PROBLEM, ("not a", "ONNX file", "Export it again")),
    ("cut off", bytes_of(classifier().SerializeToString()[:700], "x.onnx"), ONNX, EXIT_PROBLEM, ("ONNX file", "again")),
    ("no graph", bytes_of(onnx.ModelProto().SerializeToString() or b"\x08\x08", "x.onnx"), ONNX, 1, ("no graph",)),
    (
        "external data",
        with_external_data,
        ONNX,
        EXIT_PROBLEM,
        ("a file beside it", "onnx.save(onnx.load('crops.onnx')"),
    ),
    ("old opset", graph(OLD), ONNX, EXIT_PROBLEM, ("opset 6 of ai.onnx", "7 to 21", "opset_version=17")),
    ("new opset", graph(NEW), ONNX, EXIT_PROBLEM, ("opset 25 of ai.onnx", "opset_version=17")),
    (
        "own operator",
        graph(one_node("Fly", "my.own")),
        ONNX,
        EXIT_PROBLEM,
        ("my.own.Fly", "the_node", "Export it again"),
    ),
    ("unknown operator", graph(one_node("Fly")), ONNX, EXIT_PROBLEM, ("onnxruntime does not run", "Fly")),
    ("broken graph", graph(BROKEN), ONNX, EXIT_PROBLEM, ("onnxruntime does not run", "nowhere")),
    ("answers NaN", graph(NAN), ONNX, EXIT_PROBLEM, ("NaN or infinity for 64 of 64", "Mend the model first")),
    ("fixed batch", graph(classifier(rows=1)), ONNX, EXIT_PROBLEM, ("slots is fixed", "--free-batch")),
    ("other columns", graph(classifier(columns=5)), ONNX, EXIT_PROBLEM, ("5 columns", "names 4")),
    ("no labels", graph(classifier()), ONNX[2:], EXIT_USAGE, ("--labels stocked,low,empty,blocked",)),
    ("no colour", graph(classifier()), ONNX[:2], EXIT_USAGE, ("--colour RGB",)),
    (
        "scaled twice",
        graph(classifier()),
        (*ONNX, "--mean", "1,2,3", "--std", "1,2,3"),
        EXIT_USAGE,
        ("--preprocess unit", "one of the two"),
    ),
    (
        "no number",
        graph(classifier()),
        (*ONNX[:4], "--mean", "1,2,3", "--std", "1,nan,3"),
        EXIT_USAGE,
        ("--std", "above zero"),
    ),
    ("half precision", graph(classifier(dtype=TensorProto.FLOAT16)), ONNX, EXIT_PROBLEM, ("float16", "float()")),
    ("no file of an estimator", lambda f: f / "no.joblib", TRUST, EXIT_UNAVAILABLE, ("no.joblib", "can not be read")),
    ("nobody trusts it", dumped(fitted()), (), EXIT_USAGE, ("was not loaded", "--trust-pickle", "runs whatever code")),
    ("no pickle", bytes_of(b"\x80nonsense", "x.pkl"), TRUST, EXIT_PROBLEM, ("not a pickle that loads", "joblib.dump")),
    (
        "a script",
        bytes_of(b"import joblib\nprint(1)\n", "fit.py"),
        TRUST,
        EXIT_PROBLEM,
        ("not a pickle that loads", "joblib.dump"),
    ),
    (
        "half a pickle",
        bytes_of(pickle.dumps(fitted())[:900], "x.pkl"),
        TRUST,
        EXIT_PROBLEM,
        ("not a pickle that loads",),
    ),
    ("a class of one's own", own_class, TRUST, EXIT_PROBLEM, ("'my_own_parts'", "can not be exported")),
    ("not fitted", dumped(make_pipeline(StandardScaler(), LogisticRegression())), TRUST, 1, ("not fitted", "Call fit")),
    ("no estimator", dumped({"a": 1}), TRUST, EXIT_PROBLEM, ("holds a dict", "pipeline itself")),
    ("a regression", dumped(LinearRegression().fit([[0], [1]], [0, 1])), TRUST, 1, ("no classifier", "slot states")),
    (
        "a search that chose none",
        dumped(GridSearchCV(GaussianNB(), {"var_smoothing": [1e-3]}, refit=False, cv=2).fit(*table(4))),
        TRUST,
        EXIT_PROBLEM,
        ("GridSearchCV", "refit=True"),
    ),
    ("other features", dumped(fitted(60)), TRUST, EXIT_PROBLEM, ("60 features", "grid/1 has 198", "build features")),
    ("the other set", dumped(fitted(108)), TRUST, EXIT_PROBLEM, ("108 features", "--features grid-alone/1")),
    ("other classes", dumped(fitted(states=np.array(["full", "thin"]))), TRUST, 1, ("'full'", "--labels full=stocked")),
    ("too few classes", dumped(fitted(states=STATES[:2])), TRUST, EXIT_PROBLEM, ("no column means empty",)),
    ("a bad mapping", dumped(fitted()), (*TRUST, "--labels", "a=full"), EXIT_USAGE, ("'a=full'", "CLASS=STATE")),
    ("no such features", dumped(fitted()), (*TRUST, "--features", "grid/9"), 1, ("'grid/9'", "grid/1")),
    ("no grid", dumped(fitted()), (*TRUST, "--size", "81"), EXIT_PROBLEM, ("81x81", "80x80")),
    ("no size", dumped(fitted()), (*TRUST, "--size", "large"), EXIT_USAGE, ("'large' is no size",)),
    ("detector", dumped(fitted()), (*TRUST, "--task", "detect"), EXIT_USAGE, ("needs an .onnx file",)),
    ("no samples", dumped(fitted()), (*TRUST, "--samples", "nowhere.npz"), 69, ("nowhere.npz", "build features")),
    (
        "parts without an ONNX form",
        dumped(fitted(front=make_pipeline(FunctionTransformer(np.abs), FastICA(4, max_iter=5, tol=9.0)))),
        TRUST,
        EXIT_PROBLEM,
        ("2 part(s)", "pipeline.functiontransformer (FunctionTransformer)", "pipeline.fastica (FastICA): use PCA"),
    ),
]


@pytest.mark.parametrize(
    ("make", "options", "code", "words"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
def test_a_fault_is_told_with_its_mend(
    run: Run, tmp_path: Path, make: Make, options: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    out = tmp_path / "out.onnx"
    ran = run("build", "export", make(tmp_path), *options, "--out", out)
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err
    for word in words:
        assert word in ran.err, ran.err
    assert not out.exists()
    assert not list(tmp_path.glob("*.part"))


def test_a_pickle_that_nobody_trusts_does_not_run(run: Run, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return Path.touch, (tmp_path / "harm",)

    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Harm()))
    assert run("build", "export", tmp_path / "x.pkl", "--out", tmp_path / "x.onnx").code == EXIT_USAGE
    assert not (tmp_path / "harm").exists()


def test_an_estimator_goes_to_a_file_and_a_receipt(run: Run, tmp_path: Path) -> None:
    source, out = dumped(fitted())(tmp_path), tmp_path / "shelf.onnx"
    ran = run("build", "export", source, *TRUST, "--out", out, "--json")
    assert ran.code == EXIT_OK, ran.err
    receipt = read_receipt(out)
    assert receipt.features == "grid/1"
    assert receipt.source.what == "StandardScaler > LogisticRegression"
    assert receipt.parity.agreement == 1.0
    assert receipt.parity.max_error < 1e-5
    assert ran.lines[0]["model"]["sha256"] == receipt.model.sha256
    first = out.read_bytes(), (tmp_path / "shelf.onnx.export.json").read_bytes()
    assert run("build", "export", source, *TRUST, "--out", out).code == EXIT_USAGE, "nothing is replaced unasked"
    assert run("build", "export", source, *TRUST, "--out", out, "--force").code == EXIT_OK
    assert first == (out.read_bytes(), (tmp_path / "shelf.onnx.export.json").read_bytes())


def test_a_function_gives_the_estimator(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joblib.dump(fitted(), tmp_path / "shelf.joblib")
    (tmp_path / "my_training.py").write_text("import joblib\ndef made():\n    return joblib.load('shelf.joblib')\n")
    monkeypatch.chdir(tmp_path)
    ran = run("build", "export", "my_training:made", "--out", "shelf.onnx")
    assert ran.code == EXIT_OK, ran.err
    assert read_receipt(Path("shelf.onnx")).source.name == "my_training:made"
    sys.modules.pop("my_training")


@pytest.mark.parametrize(
    ("code", "name", "exit_code", "said"),
    [
        ("made = 1", "my_training:other", EXIT_UNAVAILABLE, "can not be imported"),
        ("def made(:", "my_training:made", EXIT_UNAVAILABLE, "can not be imported"),
        ("import not_there_at_all", "my_training:made", EXIT_UNAVAILABLE, "not_there_at_all"),
        ("", "no_such_training:made", EXIT_UNAVAILABLE, "no_such_training"),
        ("def made(): return 1 / 0", "my_training:made", EXIT_PROBLEM, "made() failed: ZeroDivisionError"),
        (
            "def made():\n    assert False, 'no rows'",
            "my_training:made",
            EXIT_PROBLEM,
            "AssertionError: no rows (my_training.py:2)",
        ),
        (
            "class Odd(Exception): pass\ndef made(): raise Odd('strange')",
            "my_training:made",
            EXIT_PROBLEM,
            "Odd: strange",
        ),
        ("def made(): raise SystemExit(7)", "my_training:made", EXIT_PROBLEM, "made() failed: SystemExit: 7"),
        ("raise SystemExit('usage')", "my_training:made", EXIT_UNAVAILABLE, "can not be imported: SystemExit: usage"),
        ("def made(): return None", "my_training:made", EXIT_PROBLEM, "holds a NoneType"),
    ],
)
def test_a_function_that_gives_none(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, name: str, exit_code: int, said: str
) -> None:
    (tmp_path / "my_training.py").write_text(code + "\n")
    monkeypatch.chdir(tmp_path)
    ran = run("build", "export", name, "--out", "shelf.onnx")
    sys.modules.pop("my_training", None)
    assert (ran.code, said in ran.err) == (exit_code, True), ran.err
    assert str(tmp_path) not in sys.path


def test_a_difference_above_the_tolerance_writes_nothing(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "shelf.onnx"
    ran = run("build", "export", dumped(fitted())(tmp_path), *TRUST, "--out", out, "--tolerance", "1e-12")
    assert ran.code == EXIT_PROBLEM
    assert "differs from its source by" in ran.err
    assert not out.exists()


def test_a_missing_extra_is_a_sentence(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda module: None if module == "skl2onnx" else module)
    ran = run("build", "export", tmp_path / "x.joblib", "--out", tmp_path / "x.onnx")
    assert ran.code == EXIT_UNAVAILABLE
    assert 'needs skl2onnx, which this installation lacks. pip install "edge-runtime[build]"' in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("field", "--out", "table.txt"), EXIT_USAGE, "neither .npz nor .csv"),
        (("field", "--out", "table.npz"), EXIT_UNAVAILABLE, "no dataset in field"),
        (("field", "--out", "table.npz", "--features", "grid/9"), EXIT_PROBLEM, "grid/9"),
        (("field", "--out", "table.npz", "--size", "30"), EXIT_PROBLEM, "30x30"),
        (("field", "--out", "table.npz", "--margin", "7"), EXIT_USAGE, "--margin 7"),
    ],
)
def test_faults_of_features(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("build", "features", *arguments)
    assert (ran.code, word in ran.err) == (code, True), ran.err
    assert not list(tmp_path.iterdir())
