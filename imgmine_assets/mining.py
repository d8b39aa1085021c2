"""Running the graph's jobs in this process, against the instance that the UI reads: what the commands do."""

import contextlib
import io
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from imgmine.archives.archive_org import ArchiveOrgUnreachable
from imgmine.archives.item import ItemMissing
from imgmine.errors import ImgmineError
from imgmine_assets.code_location import create_linked_run, execute_here
from imgmine_assets.failed_archives import describe
from imgmine_assets.partitions import add_archives, known_archives
from resources.archive_org import ArchiveOrgResource

_CONSOLE: dict[str, Any] = {"loggers": {"console": {}}}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended; `reason` is empty where it succeeded."""

    job: str
    archive: str | None
    run_id: str
    reason: str

    @property
    def succeeded(self) -> bool:
        return not self.reason


def run_job(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    archive: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run a job to its end, for one archive or for none. A failure is returned, not raised."""
    run_id = str(uuid.uuid4())
    # dbt prints a line for each of its tests; on the terminal the log's messages are enough.
    with contextlib.redirect_stdout(io.StringIO()):
        definition = defs.resolve_job_def(job)
        run = create_linked_run(definition, instance, run_id, archive, {**_CONSOLE, **(config or {})})
        if execute_here(definition, instance, run):
            return Outcome(job, archive, run_id, "")
    failure = describe(instance, {archive or "": run})[0]
    return Outcome(job, archive, run_id, f"{failure.step}: {failure.reason}")


def mine(defs: dg.Definitions, instance: dg.DagsterInstance, archives: Sequence[str]) -> list[Outcome]:
    """Mine each archive in turn; one that fails does not keep the others from being mined."""
    add_archives(instance, archives)
    return [run_job(defs, instance, "mine_archive", archive) for archive in archives]


def not_on_ia(archive_org: ArchiveOrgResource, instance: dg.DagsterInstance, archives: Sequence[str]) -> dict[str, str]:
    """Return those archives that are no partition yet and that IA does not have, such as misspelt ones, and why.

    Whatever else is wrong with an archive, or with the way to IA, the runs say, which have the patience for it.
    """
    missing = {}
    for archive in sorted(set(archives) - known_archives(instance)):
        try:
            archive_org.look_up(archive)
        except ItemMissing as error:
            missing[archive] = str(error)
        except ArchiveOrgUnreachable:
            break
        except ImgmineError:
            continue
    return missing
