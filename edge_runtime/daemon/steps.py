"""The candidate's steps in the store, written in another thread: a disk that is slow holds up no frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_runtime.daemon.background import Background
from edge_runtime.daemon.deck import BundleStore
from edge_runtime.daemon.judgement import BARRED, COMMITTED, TRIAL
from edge_runtime.errors import EdgeError
from edge_runtime.lifecycle.state_file import Candidate


@dataclass(frozen=True, slots=True)
class Stepped:
    """A step that was written; or, with `fault`, that the disk did not take."""

    candidate: Candidate
    step: str
    said: str
    fault: EdgeError | None


class Steps:
    """One step at a time. Owned by the inference loop."""

    def __init__(self, elsewhere: Callable[[], BundleStore]) -> None:
        """`elsewhere`: opens the store once more, for the other thread."""
        self._elsewhere = elsewhere
        self._work: Background[bool] = Background()
        self._begun: tuple[Candidate, str, str] | None = None

    @property
    def busy(self) -> bool:
        return bool(self._work.key)

    def begin(self, candidate: Candidate, step: str, said: str) -> None:
        """`step`: of `judgement`. Only while not `busy`."""

        def work() -> bool:
            write_step(self._elsewhere(), candidate, step, said)
            return True

        if self._work.start(step, work):
            self._begun = (candidate, step, said)

    def poll(self) -> Stepped | None:
        """The step that has ended since the last call, once."""
        done = self._work.poll()
        if done is None or self._begun is None:
            return None
        return Stepped(*self._begun, done.fault)


def write_step(store: BundleStore, candidate: Candidate, step: str, said: str) -> None:
    """Raises what the store raises."""
    if step == COMMITTED:
        store.commit(candidate.sha256, said)
    elif step == TRIAL:
        store.try_out(candidate.id, said)
    else:
        store.rollback(said, quarantine=step == BARRED, running=candidate.sha256)
