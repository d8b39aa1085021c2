"""`releases`: a partition for each version of the published dataset. What one is, is imgmine.dataset.releases'."""

import time

import dagster as dg

from imgmine.dataset.releases.inputs import CODE_VERSION
from imgmine.dataset.releases.making import make_release
from imgmine.dataset.releases.recipe import Recipe, parse_recipe
from imgmine.dataset.releases.release import folder_of, release_key
from imgmine.dataset.releases.selection import RULE_MEANINGS
from imgmine.scratch import scratch_folder
from imgmine.store.base import Store
from imgmine_assets import shown
from imgmine_assets.anomaly_scores import anomaly_scores
from imgmine_assets.categories import categories
from imgmine_assets.checks import one_model, one_model_result, warning
from imgmine_assets.dataset import dataset
from imgmine_assets.failures import PASSING, explained
from imgmine_assets.images import images
from imgmine_assets.near_duplicates import near_duplicates
from imgmine_assets.nsfw_scores import nsfw_scores
from imgmine_assets.partitions import VERSIONS, versions
from imgmine_assets.probe_scores import probe_scores
from imgmine_assets.progress import log_progress
from imgmine_assets.watermark_scores import watermark_scores
from resources.store import StoreResource
from resources.warehouse import WarehouseResource

_NAME = "releases"
_OF_ALL_ARCHIVES = (images, anomaly_scores, nsfw_scores, watermark_scores, probe_scores, categories)


def recipe_key(version: str) -> str:
    """Return the key of a version's recipe; it is there before the version is."""
    return f"{folder_of(version)}/recipe.yaml"


def register(store: Store, instance: dg.DagsterInstance, version: str, recipe: Recipe) -> None:
    """Make a version a partition that can be materialized: its recipe goes into the store."""
    store.put_bytes(recipe_key(version), recipe.canonical().encode())
    instance.add_dynamic_partitions(VERSIONS, [version])


@dg.asset(
    name=_NAME,
    partitions_def=versions,
    deps=[
        dataset,
        near_duplicates,
        *(dg.AssetDep(asset, partition_mapping=dg.AllPartitionMapping()) for asset in _OF_ALL_ARCHIVES),
    ],
    group_name="dataset",
    kinds={"parquet", "tar"},
    owners=["team:imgmine"],
    pool="releases",
    retry_policy=PASSING,
    code_version=CODE_VERSION,
    check_specs=[
        warning(_NAME, "covers_every_archive", "Archives that were mined after dataset was made are in no release."),
        one_model(_NAME),
    ],
)
def releases(
    context: dg.AssetExecutionContext, store: StoreResource, warehouse: WarehouseResource
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """A numbered dataset that never changes, chosen by a recipe: `imgmine release make RECIPE` adds a version."""
    started = time.monotonic()
    version = context.partition_key
    with explained(), scratch_folder(store.scratch_root, "release", version) as scratch:
        opened = store.open()
        key = recipe_key(version)
        recipe = parse_recipe(opened.get_bytes(key).decode(), opened.uri(key))
        progress = log_progress(context.log, "pack", unit="shards")
        made = make_release(opened, recipe, version, warehouse.mirror_folder, scratch, on_progress=progress)
    release = made.release
    dropped = [(rule, n, RULE_MEANINGS[rule]) for rule, n in release.dropped.items()]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(release.fingerprint),
        metadata={
            "recipe": dg.MetadataValue.md(f"```yaml\n{release.recipe}\n```"),
            "images": release.images,
            "shards": len(release.shards),
            "bytes": release.size,
            "left out": shown.rows_table({"rule": "string", "images": "int", "why": "string"}, dropped),
            "since the version before": dg.MetadataValue.md(made.diff.as_text() if made.diff else "there is none"),
            "unchanged": not made.changed,
            "shards of an earlier run": made.resumed_shards,
            "seconds": round(time.monotonic() - started, 2),
            "dagster/row_count": release.images,
            "dagster/uri": opened.uri(release_key(version)),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="covers_every_archive",
                passed=not made.uncovered,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"{version}: {len(made.uncovered)} archives are not in the dataset yet",
                metadata={"archives": ", ".join(made.uncovered[:20]) or "none"},
            ),
            one_model_result(version, made.mixed),
        ],
    )
