"""A miniature archive mined through the whole graph, in this process: what the graph's tests start from."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from imgmine.dataset.labels import GOOD, Label, add_labels
from imgmine.demo.archives import TRUTH_FOLDER
from imgmine.demo.server import ArchiveServer, serve
from imgmine.demo.tagging import BY, demo_labels
from imgmine.settings import Settings, load_settings
from imgmine.store.base import Store
from imgmine.store.opening import store_of
from imgmine.store.publish import content_digest
from imgmine_assets.definitions import build_defs
from imgmine_assets.mining import Outcome, mine, run_job

NO_WATERMARKS = {"IMGMINE_WATERMARK_MODEL": "none"}
"""Four vectors more for each picture are made in the tests of watermarks, and of the UI, alone."""

_LABELLED = datetime(2023, 6, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Workplace:
    """A home of its own, with an instance of its own, and the graph over them."""

    settings: Settings
    instance: dg.DagsterInstance
    server: ArchiveServer

    @property
    def defs(self) -> dg.Definitions:
        return build_defs(settings=self.settings)

    @property
    def store(self) -> Path:
        return Path(self.settings.store)

    def run(self, job: str, archive: str | None = None) -> Outcome:
        return run_job(self.defs, self.instance, job, archive)

    def mine(self, archives: Sequence[str]) -> list[Outcome]:
        return mine(self.defs, self.instance, archives)

    def mine_all(self, archives: Sequence[str]) -> list[Outcome]:
        """Do what the demo does: mine, fit the mixture, label, fit the probes, score, make the statistics."""
        truths = [self.server.root / TRUTH_FOLDER / f"{archive}.json" for archive in archives]
        outcomes = [*self.mine(archives), self.run("fit_gmm")]
        store = store_of(self.settings)
        add_labels(store, _good_or_not(truths), by=BY, at=_LABELLED)
        outcomes.append(self.run("fit_probe"))
        outcomes += [self.run("score_archive", archive) for archive in archives]
        return [*outcomes, self.run("statistics")]


def stale(work: Workplace, archive: str) -> set[str]:
    """The assets whose partition of this archive the UI shows as made, but not up to date."""
    graph = work.defs.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(work.instance, graph, LoadingContextForTest(work.instance))
    keys = [key for key in graph.materializable_asset_keys if graph.get(key).is_partitioned]
    return {key.to_user_string() for key in keys if resolver.get_status(key, archive).value == "STALE"}


def _good_or_not(truths: Sequence[Path]) -> list[Label]:
    """One label of those of the demo, for all pictures: each that has a probe takes seconds."""
    return [label for label in demo_labels(truths, share=1) if label.label == GOOD]


@contextlib.contextmanager
def workplace(home: Path, archives: Path, **changes: object) -> Iterator[Workplace]:
    """Serve the archives in a folder, and yield a workplace in `home` that mines them."""
    home.mkdir(parents=True, exist_ok=True)
    with serve(archives) as server, dg.instance_for_test(temp_dir=str(home)) as instance:
        settings = load_settings({**NO_WATERMARKS, "IMGMINE_HOME": str(home), "IMGMINE_ARCHIVE_ORG": server.url})
        yield Workplace(replace(settings, **changes), instance, server)  # type: ignore[arg-type]


def published(store: Path) -> dict[str, str]:
    """Return the digest of every file of a local store by key, but for the warehouse (DuckDB's bytes vary)."""
    return {
        path.relative_to(store).as_posix(): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.suffix != ".duckdb"
    }


def contents(store: Store) -> dict[str, str]:
    """Return the digest of every object of a store, whatever kind it is, by key; but for the warehouse as above."""
    return {
        stored.key: content_digest(store.get_bytes(stored.key))
        for stored in store.list("")
        if not stored.key.endswith(".duckdb")
    }
