"""Many trials: a run is killed at a random moment, perhaps the next one too, and the one after it must set all right.

How a run is killed is `moments`' and `runs`', what a store must hold is `places`'.
"""

import random
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path

import dagster as dg

from imgmine.demo.archives import make_archives
from imgmine.demo.damage import Damage
from imgmine.demo.exchanges import Kind
from imgmine.demo.server import ArchiveServer, serve
from tests.kills.moments import Stage, Step, Victim
from tests.kills.places import Contents, Place, broken, prepare, unlike
from tests.kills.runs import PATIENCE_S, Hangs, Run, start_run
from tests.s3_server import S3Server, running_s3

_KILLED_IN = (Stage.FETCH, Stage.PASS, Stage.GATE, Stage.PUBLISH)
_VICTIMS = {Victim.GROUP: 6, Victim.RUN: 3, Victim.WORKER: 2}
# The miniature then takes about a second to fetch.
_BYTES_A_SECOND = 1_500_000
_LONGEST_GAP_S = 2.0
_WORKERS_GONE_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where and how an archive is mined. `anew`: an earlier version of it has been published before."""

    store: str
    fetch: str
    anew: bool

    def __str__(self) -> str:
        return f"{self.store}, {self.fetch}{', anew' if self.anew else ''}"


@dataclass(frozen=True, slots=True)
class Moment:
    """Just before a step of a stage, or (`after`) so many seconds after it."""

    step: Step
    after: float | None


@dataclass(frozen=True, slots=True)
class Kill:
    """A kill that met its run: in which stage it was, as it told itself; what was killed; of how many in a row."""

    circumstances: Circumstances
    stage: Stage
    victim: Victim
    in_a_row: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """A trial: its kills, and what was wrong after them (nothing)."""

    number: int
    circumstances: Circumstances
    kills: list[Kill]
    faults: list[str]
    folder: Path


class Wrong(Exception):
    """Something after a kill is not as promised; the arguments say what."""


class Campaign:
    """Makes trials; the same seed chooses the same ones, as far as the machine's speed allows. See `campaign`."""

    def __init__(self, folder: Path, seed: int, now: ArchiveServer, before: ArchiveServer, s3: S3Server | None) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        self._now = now
        self._s3 = s3
        self._trials = 0
        [self._archive] = sorted(path.parent.name for path in now.root.glob("*/item.json"))
        self._timelines: dict[Circumstances, list[tuple[Stage, float]]] = {}
        self._earlier = folder / "earlier"
        self.version_before = self._published_by_one_run(self._earlier, before)
        self._fresh = folder / "fresh"
        self.version_now = self._published_by_one_run(self._fresh, now)
        for made in ("store", "cache"):
            shutil.rmtree(self._fresh / made)

    def _published_by_one_run(self, home: Path, server: ArchiveServer) -> Contents:
        place = prepare(home, None, server.url, "cache", None)
        run = self._start(place)
        run.wait()
        if not run.succeeded:
            raise Wrong(f"an undisturbed run fails: {run.said()[-2000:]}")
        contents = place.contents()
        if faults := broken(contents, [contents]) + place.leftovers():
            raise Wrong(*faults)
        return contents

    def trial(self, circumstances: Circumstances, in_a_row: int | None = None) -> Outcome:
        """Kill runs in a place of its own, once or a few times, let the last one end, and look at everything."""
        timeline = self._timeline(circumstances)
        self._trials += 1
        place = self._place(f"trial-{self._trials:03}", circumstances)
        kills: list[Kill] = []
        faults: list[str] = []
        in_a_row = in_a_row or self._chance.choices((1, 2, 3), (70, 22, 8))[0]
        try:
            for number in range(1, in_a_row + 1):
                kills += self._killed(place, circumstances, self._moment(timeline), number)
            self._finish(place)
        except (Wrong, Hangs) as wrong:
            faults = [str(argument) for argument in wrong.args]
        else:
            place.remove()
        return Outcome(self._trials, circumstances, kills, faults, place.home)

    def _place(self, name: str, circumstances: Circumstances) -> Place:
        like = self._earlier if circumstances.anew else self._fresh
        server = self._s3 if circumstances.store == S3 else None
        return prepare(self._folder / name, like, self._now.url, circumstances.fetch, server)

    def _start(self, place: Place, kill_at: Step | None = None) -> Run:
        outputs = len(list(place.home.glob("run-*.txt")))
        output = place.home / f"run-{outputs + 1}.txt"
        return start_run(place.home, self._archive, place.environ, output, kill_at)

    def _timeline(self, circumstances: Circumstances) -> list[tuple[Stage, float]]:
        """Return the steps of an undisturbed run and how long each took; see that it publishes what it should."""
        if circumstances not in self._timelines:
            place = self._place(f"undisturbed-{len(self._timelines)}", circumstances)
            run = self._finish(place)
            times = [moment for _, moment in run.steps]
            gaps = [min(later - earlier, _LONGEST_GAP_S) for earlier, later in pairwise([*times, times[-1]])]
            self._timelines[circumstances] = [(stage, gap) for (stage, _), gap in zip(run.steps, gaps, strict=True)]
            place.remove()
        return self._timelines[circumstances]

    def _moment(self, timeline: list[tuple[Stage, float]]) -> Moment:
        """Choose a stage, and in it a step, or a time between two: what takes long is then chosen the more often."""
        stage = self._chance.choice(_KILLED_IN)
        victim = self._chance.choices(list(_VICTIMS), list(_VICTIMS.values()))[0]
        gaps = [gap for of, gap in timeline if of is stage]
        if self._chance.random() < 0.5:
            return Moment(Step(stage, self._chance.randrange(len(gaps)), victim), None)
        number = self._chance.choices(range(len(gaps)), [gap + 1e-6 for gap in gaps])[0]
        return Moment(Step(stage, number, victim), self._chance.random() * gaps[number])

    def _killed(self, place: Place, circumstances: Circumstances, moment: Moment, in_a_row: int) -> list[Kill]:
        """Run until the moment and kill; return the kill, or none where the run came to its end before."""
        step = moment.step
        run = self._start(place, step if moment.after is None else None)
        stage = None
        if moment.after is not None:
            stage = _kill_after(run, step, moment.after)
        run.wait()
        if run.killed is Victim.WORKER or run.process.exitcode == 0:
            _require_success(run)
            self._require_finished(place)
        elif run.process.exitcode != -signal.SIGKILL:
            raise Wrong(f"a run that was not killed ends with {run.process.exitcode}: {run.said()[-2000:]}")
        _require_gone(run)
        self._require_whole(place, circumstances)
        if run.killed is Victim.WORKER:
            return [Kill(circumstances, stage or run.worker_killed_in or run.stage, Victim.WORKER, in_a_row)]
        if run.process.exitcode == 0:
            return []
        victim = Victim.RUN if step.victim is Victim.RUN else Victim.GROUP
        return [Kill(circumstances, run.stage, victim, in_a_row)]

    def _require_whole(self, place: Place, circumstances: Circumstances) -> None:
        contents = place.contents()
        versions = [self.version_now, self.version_before] if circumstances.anew else [self.version_now]
        faults = broken(contents, versions)
        if circumstances.anew:
            tables = {key for key in self.version_before if not key.endswith(".tar")}
            faults += [f"{key} is gone" for key in sorted(tables - contents.keys())]
        if faults:
            raise Wrong(*faults)

    def _finish(self, place: Place) -> Run:
        """Run to the end, undisturbed; see that all is as it should be."""
        run = self._start(place)
        run.wait()
        _require_success(run)
        self._require_finished(place)
        return run

    def _require_finished(self, place: Place) -> None:
        faults = unlike(place.contents(), self.version_now)
        faults += [f"{left} was left behind" for left in place.leftovers()]
        *others, last = place.statuses()
        if last is not dg.DagsterRunStatus.SUCCESS or not set(others) <= _ENDED:
            faults.append(f"Dagster says of the runs: {[status.value for status in (*others, last)]}")
        if faults:
            raise Wrong(*faults)


S3 = "S3"
FOLDER = "folder"
_ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}


def _kill_after(run: Run, step: Step, seconds: float) -> Stage | None:
    """Kill so long after a step of a stage; return where the run was, None where it ended before."""
    deadline = time.monotonic() + PATIENCE_S
    while run.counts[step.stage] <= step.number and not run.has_ended:
        run.listen(1.0)
        if time.monotonic() > deadline:
            return None  # it hangs, as whoever waits for it will say
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not run.has_ended:
        run.listen(left)
    if run.has_ended:
        return None
    stage = run.stage
    run.kill(step.victim)
    return stage


def _require_success(run: Run) -> None:
    if not run.succeeded:
        raise Wrong(f"the run ends with {run.process.exitcode}: {run.said()[-2000:]}")


def _require_gone(run: Run) -> None:
    deadline = time.monotonic() + _WORKERS_GONE_WITHIN_S
    while workers := run.workers():
        if time.monotonic() > deadline:
            raise Wrong(f"workers outlive their run: {workers}")
        time.sleep(0.02)


@contextmanager
def campaign(folder: Path, seed: int, records: int = 60, with_s3: bool = True) -> Iterator[Campaign]:
    """Make an archive and an earlier version of it, serve both, throttled, and yield a campaign on them in a folder."""
    with ExitStack() as stack:
        servers = []
        # A record is damaged that was whole in the earlier version, so that not all shards are the same.
        for name, damage in (("now", Damage.FRAME), ("before", None)):
            make_archives(folder / name, kinds=[Kind.MAY_15], records=records, damage=damage)
            server = stack.enter_context(serve(folder / name))
            server.faults.add("throttle", rate=_BYTES_A_SECOND, path="*.zst")
            servers.append(server)
        s3 = stack.enter_context(running_s3(folder / "s3")) if with_s3 else None
        yield Campaign(folder, seed, servers[0], servers[1], s3)


def circumstances_of(stores: Sequence[str], fetches: Sequence[str]) -> list[Circumstances]:
    """Return all combinations; an archive is mined anew in a third of them."""
    return [Circumstances(store, fetch, anew) for anew in (False, False, True) for fetch in fetches for store in stores]


def trials(running: Campaign, kinds: Sequence[Circumstances], kills: int) -> Iterator[Outcome]:
    """Yield trials, over all circumstances in turn, until there were so many kills."""
    made = 0
    for circumstances in cycle(kinds):
        if made >= kills:
            return
        outcome = running.trial(circumstances)
        made += len(outcome.kills)
        yield outcome
