"""Discovery: which items of the collection are new, and which of them to ask runs for.

The cursor and the choice are plain functions; the sensor around them only searches, reads what is there and answers.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg

from imgmine.archives.archive_org import FoundItem
from imgmine_assets.jobs import mine_archive
from imgmine_assets.partitions import ARCHIVES, KEYS_A_CALL, archives
from resources.archive_org import ArchiveOrgResource

# An item can show up in the Internet Archive's index some time after its publicdate.
LOOK_BACK = timedelta(days=7)
# Whether an archive has a run costs a query each; a tick that met only archives with runs goes on in the next one.
LOOKED_AT_A_TICK = 1_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the sensor has come: the newest item found, and the last partition that runs were considered for."""

    newest: FoundItem | None = None
    considered: str | None = None

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """Read what `dumps` wrote; no text is the beginning."""
        stored = json.loads(text) if text else {}
        newest = stored.get("newest")
        return cls(
            FoundItem(datetime.fromisoformat(newest[0]), newest[1]) if newest else None, stored.get("considered")
        )

    def dumps(self) -> str:
        newest = [self.newest.publicdate.isoformat(), self.newest.identifier] if self.newest else None
        return json.dumps({"newest": newest, "considered": self.considered})

    @property
    def search_from(self) -> FoundItem | None:
        """Where to begin to search: some days back, so that an item that was indexed late is found."""
        return FoundItem(self.newest.publicdate - LOOK_BACK, "") if self.newest else None


def choose_runs(
    partitions: Sequence[str], considered: str | None, has_run: Callable[[str], bool], rate: int
) -> tuple[list[str], str | None]:
    """Return up to `rate` archives to ask runs for, and the last partition considered.

    `partitions` are in the order in which they were added. An archive that has a run already, asked for by a person,
    is passed over. Where `considered` is no partition any more, all are looked at again.
    """
    start = partitions.index(considered) + 1 if considered in partitions else 0
    chosen: list[str] = []
    if rate == 0:
        return chosen, considered
    for archive in partitions[start : start + LOOKED_AT_A_TICK]:
        if not has_run(archive):
            chosen.append(archive)
        considered = archive
        if len(chosen) == rate:
            break
    return chosen, considered


def new_identifiers(found: Iterable[FoundItem], partitions: Iterable[str]) -> list[str]:
    """Return the identifiers that are not partitions yet, in the order found."""
    known = set(partitions)
    return [item.identifier for item in found if item.identifier not in known]


def build_new_archives(runs_a_tick: int) -> dg.SensorDefinition:
    """Return the sensor; `runs_a_tick` is how many runs it may ask for at each tick, 0 to discover alone."""

    @dg.sensor(
        name="new_archives",
        job=mine_archive,
        minimum_interval_seconds=300,
        description=(
            "Adds a partition for every new item of the collection on the Internet Archive, oldest first, and asks for "
            f"up to {runs_a_tick} runs at each tick (IMGMINE_DISCOVER_RUNS; 0: discover alone, and backfill by hand)."
        ),
    )
    def new_archives(context: dg.SensorEvaluationContext, archive_org: ArchiveOrgResource) -> dg.SensorResult:
        cursor = Cursor.parse(context.cursor)
        found = archive_org.items_since(cursor.search_from)
        partitions = list(context.instance.get_dynamic_partitions(ARCHIVES))
        new = new_identifiers(found, partitions)

        def has_run(archive: str) -> bool:
            return context.instance.get_runs_count(dg.RunsFilter(tags={"dagster/partition": archive})) > 0

        chosen, considered = choose_runs(partitions + new, cursor.considered, has_run, runs_a_tick)
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=archive, partition_key=archive) for archive in chosen],
            dynamic_partitions_requests=[
                archives.build_add_request(new[start : start + KEYS_A_CALL])
                for start in range(0, len(new), KEYS_A_CALL)
            ],
            skip_reason=None if chosen else _nothing_asked(len(new), runs_a_tick),
            cursor=Cursor(max([*found, cursor.newest] if cursor.newest else found, default=None), considered).dumps(),
        )

    return new_archives


def _nothing_asked(new: int, rate: int) -> str:
    if rate == 0:
        return f"{new} new archives added. IMGMINE_DISCOVER_RUNS is 0: no runs are asked for, backfill them by hand."
    return f"{new} new archives added. None is without a run among those looked at."
