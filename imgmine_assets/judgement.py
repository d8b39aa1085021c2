"""An asset that judges the images of an archive, beside the funnel: made once there is what it judges by.

What is judged, and what is shown of it, is in the asset's own module.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import dagster as dg
import pyarrow as pa

from imgmine.store.base import Store
from imgmine.store.publish import publish, unchanged
from imgmine.store.tables import Provenance
from imgmine_assets.failures import PASSING
from imgmine_assets.partitions import archives

Made: TypeAlias = tuple[pa.Table, Mapping[str, str]]
"""A table, and what its metadata says of how it was made."""


def judgement(
    name: str,
    deps: Sequence[dg.AssetsDefinition],
    description: str,
    code_version: str,
    check_specs: Sequence[dg.AssetCheckSpec],
    kinds: Sequence[str] = ("parquet",),
) -> Callable[[Callable[..., Iterator[dg.MaterializeResult[Any]]]], dg.AssetsDefinition]:
    """Declare an asset whose function may yield nothing: then nothing is materialized, and the run succeeds.

    The first archives are mined before there is a mixture, a probe or the wish for either. Only an asset that is
    skippable and can be subset may leave its checks unanswered too; `dg.asset` makes none such.
    """
    return dg.multi_asset(
        name=name,
        specs=[
            dg.AssetSpec(
                name,
                deps=deps,
                skippable=True,
                description=description,
                group_name="models",
                kinds=set(kinds),
                owners=["team:imgmine"],
                code_version=code_version,
            )
        ],
        can_subset=True,
        partitions_def=archives,
        retry_policy=PASSING,
        check_specs=check_specs,
    )


def with_code_version(asset: dg.AssetsDefinition, code_version: str) -> dg.AssetsDefinition:
    """Return the asset as of other code: a model or a list that is part of it makes its partitions stale, only them."""
    [changed] = dg.map_asset_specs(lambda spec: spec.replace_attributes(code_version=code_version), [asset])
    return changed


def publish_if_changed(
    context: dg.AssetExecutionContext,
    store: Store,
    table: str,
    inputs: str,
    code_version: str,
    make: Callable[[], Made],
) -> bool:
    """Publish what `make` returns for the archive; make nothing, and return True, where `inputs` are as before."""
    archive = context.partition_key
    if unchanged(store, [table], archive, inputs, None):
        context.log.info(f"{archive}: nothing has changed since the last run")
        return True
    rows, about = make()
    publish(store, archive, {table: rows}, Provenance(table, code_version, inputs), extra=about)
    return False
