"""`imgmine run`: the jobs that have no command of their own, for those who are not in the UI."""

import sys
from collections.abc import Sequence

import click

from imgmine.settings import load_settings

_JOBS = ("score_archive", "fit_gmm", "fit_probe", "statistics", "find_near_duplicates", "own_in_parts")
# Of an archive that is not mined there is nothing to score.
_SCORED_BY = "embeddings"


@click.command()
@click.argument("job", type=click.Choice(_JOBS), metavar="JOB")
@click.argument("partitions", nargs=-1, metavar="[PARTITION…]")
def run(job: str, partitions: Sequence[str]) -> None:
    """Run a job of the graph to its end, as launching it in the UI would.

    \b
    score_archive         score mined archives again; PARTITION is an archive
    fit_gmm               fit the mixture to the reference images
    fit_probe             fit the probes to what people labelled
    statistics            ownership, the warehouse and its reports
    find_near_duplicates  copies of one picture over all archives
    own_in_parts          ownership in 16 parts; PARTITION is a first digit

    Of a job with partitions all are run where none is named, one after the other.
    """
    import dagster as dg

    from imgmine_assets.definitions import build_defs
    from imgmine_assets.instance import open_instance
    from imgmine_assets.mining import run_job

    settings = load_settings()
    defs = build_defs(settings=settings)
    with open_instance(settings) as instance:
        definition = defs.resolve_job_def(job).partitions_def
        if definition is None:
            if partitions:
                raise click.UsageError(f"{job} has no partitions.")
            chosen: list[str | None] = [None]
        else:
            there = definition.get_partition_keys(dynamic_partitions_store=instance)
            if unknown := sorted(set(partitions) - set(there)):
                raise click.UsageError(f"{job} has no partition {', '.join(unknown)}.")
            made = instance.get_materialized_partitions(dg.AssetKey(_SCORED_BY)) if job == "score_archive" else there
            chosen = [key for key in there if key in (partitions or made)]
            if not chosen:
                raise click.ClickException("No archive is mined yet: imgmine mine ARCHIVE…")
        failed = False
        for number, key in enumerate(chosen, start=1):
            if len(chosen) > 1:
                click.echo(f"{key} ({number} of {len(chosen)})", err=True)
            outcome = run_job(defs, instance, job, key)
            failed |= not outcome.succeeded
            click.echo(f"{key or job}: {outcome.reason or 'done'}", err=not outcome.succeeded)
    if failed:
        sys.exit(1)
