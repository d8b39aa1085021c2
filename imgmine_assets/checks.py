"""Asset checks: how one is declared for an archive's asset, and how found problems become its result.

What is checked is beside the asset or in `imgmine.dataset.funnel`. The checks do not know of partitions, though Dagster
has a preview of such checks: with some thousand archives its page of checks takes minutes. So each result names its
archive, a check that blocks leaves its run failed, and `dataset_statistics` looks at the shares of all archives.
"""

from collections.abc import Collection, Sequence

import dagster as dg
import pyarrow as pa

from imgmine.dataset.funnel import check_funnel, check_judgement
from imgmine_assets.shown import rows_table

_PROBLEMS_SHOWN = 20
_ONE_MODEL = "judgements_are_of_one_model"


def blocking(asset: str, name: str, description: str) -> dg.AssetCheckSpec:
    """A check that ends the run before what follows: the published rows cannot be relied on."""
    return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=True)


def warning(asset: str, name: str, description: str) -> dg.AssetCheckSpec:
    """A check that only tells: somebody should look."""
    return dg.AssetCheckSpec(name, asset=asset, description=description)


def one_model(asset: str) -> dg.AssetCheckSpec:
    """The check that scores of several models do not lie side by side; see `one_model_result`."""
    return warning(asset, _ONE_MODEL, "Each table of judgements is of one model, and of one embedder's vectors.")


def one_model_result(what: str, disagreements: Sequence[str]) -> dg.AssetCheckResult:
    """The result of `one_model` for a dataset or a version of it."""
    return dg.AssetCheckResult(
        check_name=_ONE_MODEL,
        passed=not disagreements,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{what}: {'; '.join(disagreements) or 'each table is of one model'}",
    )


def result(name: str, what: str, problems: Sequence[str], looked_at: str) -> dg.AssetCheckResult:
    """The result of a blocking check of `what`, an archive or more: it passes where there are no problems.

    `looked_at` is as `300 records`.
    """
    found = f"{len(problems)} problems: {problems[0]}" if problems else "no problem"
    more = {"problems": rows_table({"problem": "string"}, [[problem] for problem in problems[:_PROBLEMS_SHOWN]])}
    return dg.AssetCheckResult(
        check_name=name,
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{what}: {looked_at}, {found}",
        metadata={"number of problems": len(problems), **(more if problems else {})},
    )


def funnel_problems(*stages: str, **tables: pa.Table) -> list[str]:
    """Return where an archive's tables, by name, do not follow from each other, as far as these stages go."""
    return [f"{found.message}: {found.rows} rows" for found in check_funnel(**tables) if found.stage in stages]


def judgement_problems(called: str, table: pa.Table, of: pa.Table, known: Collection[str]) -> list[str]:
    """Return where a table beside the funnel has not one row for each `blake2b` of another, or unknown decisions."""
    return [f"{found.message}: {found.rows} rows" for found in check_judgement(called, table, of, known)]


def allowed_difference(total: int, usual: float, tolerance: float) -> float:
    """Return how far a share of `total` may be from the usual one before somebody should look.

    Sampling error is allowed for: twice the binomial standard error is added to the tolerance, so that a small archive
    does not warn for chance alone. An archive without files has no share.
    """
    return tolerance + 2 * (usual * (1 - usual) / total) ** 0.5 if total else 1.0


def usual_share(name: str, archive: str, count: int, total: int, usual: float, tolerance: float) -> dg.AssetCheckResult:
    """The result of a warning check: whether a share is near what the collection usually gives."""
    allowed = allowed_difference(total, usual, tolerance)
    share = count / total if total else usual
    return dg.AssetCheckResult(
        check_name=name,
        passed=abs(share - usual) <= allowed,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{archive}: {count} of {total}, {share:.1%}; usually {usual:.0%} ± {allowed:.1%}",
        metadata={"share": round(share, 4), "usual": usual, "allowed difference": round(allowed, 4)},
    )


def share_at_most(name: str, archive: str, count: int, total: int, most: float) -> dg.AssetCheckResult:
    """The result of a warning check: whether a share is small enough, twice its sampling error allowed for."""
    allowed = most + allowed_difference(total, most, 0.0)
    share = count / total if total else 0.0
    return dg.AssetCheckResult(
        check_name=name,
        passed=share <= allowed,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{archive}: {count} of {total}, {share:.1%}; at most {allowed:.1%}",
        metadata={"share": round(share, 4), "at most": round(allowed, 4)},
    )
