"""The whole graph as Dagster loads it: `defs`, and `build_defs` for whoever wants another resource in it."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from imgmine.archives.hash_lists import lists_version
from imgmine.settings import Settings, load_settings
from imgmine_assets.anomaly_scores import anomaly_scores
from imgmine_assets.categories import categories_of
from imgmine_assets.console import concise_console
from imgmine_assets.dataset import dataset
from imgmine_assets.dataset_statistics import dataset_statistics
from imgmine_assets.dbt_reports import build_dbt_reports
from imgmine_assets.embeddings import embeddings_of
from imgmine_assets.executor import one_process
from imgmine_assets.failed_archives import no_archive_left_failed
from imgmine_assets.gmm_model import gmm_model_of
from imgmine_assets.images import build_images
from imgmine_assets.jobs import ALL_JOBS
from imgmine_assets.labels import labels
from imgmine_assets.near_duplicates import near_duplicates
from imgmine_assets.nsfw_scores import nsfw_scores
from imgmine_assets.ownership_parts import ownership_parts
from imgmine_assets.probe_model import probe_model
from imgmine_assets.probe_scores import probe_scores
from imgmine_assets.raw_archives import raw_archives
from imgmine_assets.releases import releases
from imgmine_assets.remove_deleted import remove_deleted
from imgmine_assets.takedown_applied import takedown_applied
from imgmine_assets.unique_files import build_unique_files
from imgmine_assets.watermark_scores import watermark_scores_of
from resources.archive_org import ArchiveOrgResource
from resources.blocklist import BlocklistResource
from resources.decoders import DecodersResource
from resources.models import ModelsResource
from resources.store import StoreResource
from resources.warehouse import WarehouseResource
from sensors.deleted_partitions import deleted_partitions
from sensors.killed_runs import killed_runs
from sensors.new_archives import build_new_archives
from sensors.schedules import daily_failures, daily_statistics


def build_resources(settings: Settings) -> dict[str, Any]:
    """Return the resources that the settings describe."""
    return {
        "archive_org": ArchiveOrgResource(
            base_url=settings.archive_org,
            contact=settings.contact,
            collection=settings.collection,
            cache=str(settings.cache),
            cache_bytes=settings.cache_bytes,
            mode=settings.fetch,
            select_known=settings.select_known,
            connections=settings.connections,
        ),
        "store": StoreResource(
            url=settings.store,
            s3_endpoint=settings.s3_endpoint,
            scratch=str(settings.scratch),
            shard_bytes=settings.shard_bytes,
        ),
        "blocklist": BlocklistResource(paths=list(map(str, settings.blocklist))),
        "decoders": DecodersResource(decoding=settings.decode),
        "warehouse": WarehouseResource(mirror=str(settings.mirror)),
        "models": ModelsResource(
            embedder=settings.embedder,
            folder=str(settings.models),
            providers=list(settings.providers),
            reference=str(settings.reference) if settings.reference else None,
            anomaly_percentile=settings.anomaly_percentile,
            detector=settings.detector,
            nsfw_threshold=settings.nsfw_threshold,
            watermark_model=settings.watermark_model,
            watermark_threshold=settings.watermark_threshold,
            show_nsfw=settings.show_nsfw,
            categories=str(settings.categories) if settings.categories else None,
        ),
    }


def build_defs(resource_overrides: Mapping[str, Any] | None = None, settings: Settings | None = None) -> dg.Definitions:
    """Return the graph. `resource_overrides` replace resources by name; settings are the environment's by default."""
    settings = settings or load_settings()
    lists = lists_version(settings.blocklist)
    return dg.Definitions(
        assets=[
            raw_archives,
            build_unique_files(settings.fetch, lists),
            build_images(settings.decode, lists),
            embeddings_of(settings.embedder, settings.models),
            gmm_model_of(settings.detector),
            anomaly_scores,
            nsfw_scores,
            watermark_scores_of(settings.watermark_model, settings.models),
            labels,
            probe_model,
            probe_scores,
            categories_of(settings.categories),
            dataset,
            ownership_parts,
            near_duplicates,
            dataset_statistics,
            build_dbt_reports(),
            releases,
            takedown_applied,
        ],
        asset_checks=[no_archive_left_failed],
        jobs=[*ALL_JOBS, remove_deleted],
        sensors=[build_new_archives(settings.discover_runs_per_tick), killed_runs, deleted_partitions],
        schedules=[daily_statistics, daily_failures],
        resources={**build_resources(settings), **(resource_overrides or {})},
        executor=one_process,
        loggers={"console": concise_console},
    )


defs = build_defs()
