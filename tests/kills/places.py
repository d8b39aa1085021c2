"""Where killed runs work: homes and stores that begin as wished, what is in them, and whether it is whole."""

import io
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.store.base import Store
from imgmine.store.local import LocalStore
from imgmine.store.publish import content_digest
from imgmine.store.s3 import S3Store
from tests.graph.mined import NO_WATERMARKS
from tests.s3_server import S3Server

Contents = Mapping[str, bytes]

_SHARD_BYTES = 400_000  # the miniature then has several


@dataclass(frozen=True)
class Place:
    """An IMGMINE_HOME, its store, and the variables that make a run work there."""

    home: Path
    store: Store
    environ: Mapping[str, str]

    def contents(self) -> dict[str, bytes]:
        """Return every object of the store."""
        return {stored.key: self.store.get_bytes(stored.key) for stored in self.store.list("")}

    def statuses(self) -> list[dg.DagsterRunStatus]:
        """Return what Dagster says of each run, oldest first."""
        with dg.DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            return [run.status for run in reversed(instance.get_runs())]

    def leftovers(self) -> list[str]:
        """Return what a run that came to its end should have taken away."""
        found = [path for path in (self.home / "scratch").glob("*/*") if path.suffix != ".lock"]
        found += [path for path in self.home.glob("cache/**/*") if ".part" in path.name or ".pending" in path.name]
        found += self.home.glob("store/**/.pending-*")
        found += self.home.glob("dagster/running/*")
        return sorted(path.relative_to(self.home).as_posix() for path in found)

    def remove(self) -> None:
        """Take it away, with what is in its store."""
        for stored in list(self.store.list("")):
            self.store.delete(stored.key)
        shutil.rmtree(self.home)


def prepare(home: Path, like: Path | None, archive_org: str, fetch: str, server: S3Server | None) -> Place:
    """Make a place, empty or with what another home has; on the S3 server, where one is given."""
    if like is None:
        home.mkdir(parents=True)
    else:
        shutil.copytree(like, home, ignore=shutil.ignore_patterns("*.txt"))
    environ = {
        **NO_WATERMARKS,
        "IMGMINE_HOME": str(home),
        "IMGMINE_ARCHIVE_ORG": archive_org,
        "IMGMINE_FETCH": fetch,
        "IMGMINE_SHARD_BYTES": str(_SHARD_BYTES),
    }
    if server is None:
        return Place(home, LocalStore(home / "store"), environ)
    store = S3Store(
        server.bucket, home.name, server.endpoint, access_key=server.access_key, secret_key=server.secret_key
    )
    for stored in LocalStore(home / "store").list(""):
        store.put_file(stored.key, home / "store" / stored.key)
    shutil.rmtree(home / "store", ignore_errors=True)
    return Place(home, store, {**environ, **server.environ(home.name)})


def broken(contents: Contents, versions: Sequence[Contents]) -> list[str]:
    """Return what is not whole in a store: a reader between two runs must find nothing here.

    `versions` are the whole stores between which a run may have been killed. Tables are theirs, byte for byte, and what
    they name is there; shards hold what their name says.
    """
    found = []
    for key, data in contents.items():
        if key.endswith(".tar"):
            digest = key.rpartition("-")[2].removesuffix(".tar")
            if content_digest(data) != digest:
                found.append(f"{key} does not hold what its name says")
        elif not any(version.get(key) == data for version in versions):
            found.append(f"{key} is of none of the versions")
    for key, data in contents.items():
        if key.endswith(".parquet") and any(version.get(key) == data for version in versions):
            found += [f"{key}: {problem}" for problem in _broken_rows(key, data, contents)]
    return found


def _broken_rows(key: str, data: bytes, contents: Contents) -> list[str]:
    with closing(io.BytesIO(data)) as stream:
        parquet = pq.ParquetFile(stream)
        table = parquet.read()
        named = (parquet.schema_arrow.metadata or {}).get(b"shards", b"").decode().split("\n")
    missing = sorted({shard for shard in named if shard} - set(contents))
    if missing:
        return [f"names {missing}, which the store does not have"]
    if key.startswith("files/"):
        return [
            f"{row['blake2b'].hex()} is not where the table says"
            for row in table.to_pylist()
            if blake2b(_member(contents, row, "shard", "shard_offset", "size"), digest_size=32).digest()
            != row["blake2b"]
        ]
    if key.startswith("images/"):
        return _broken_previews(table, contents)
    return []


def _broken_previews(table: pa.Table, contents: Contents) -> list[str]:
    previews = {
        row["blake2b"].hex(): _member(contents, row, "preview_shard", "preview_offset", "preview_size")
        for row in table.to_pylist()
        if row["preview_shard"] is not None
    }
    return [
        f"the preview of {name} is no whole JPEG"
        for name, preview in previews.items()
        if not (preview.startswith(b"\xff\xd8") and preview.endswith(b"\xff\xd9"))
    ]


def _member(contents: Contents, row: Mapping[str, object], shard: str, offset: str, size: str) -> bytes:
    start, length = row[offset], row[size]
    assert isinstance(start, int)
    assert isinstance(length, int)
    return contents[str(row[shard])][start : start + length]


def unlike(contents: Contents, expected: Contents) -> list[str]:
    """Return in what a store differs from the one that it should be, byte for byte."""
    return sorted(
        [f"{key} is missing" for key in expected.keys() - contents.keys()]
        + [f"{key} should not be there" for key in contents.keys() - expected.keys()]
        + [
            f"{key}: {len(contents[key])} bytes of BLAKE2b {content_digest(contents[key])}, should be "
            f"{len(expected[key])} of {content_digest(expected[key])}"
            for key in contents.keys() & expected.keys()
            if contents[key] != expected[key]
        ]
    )
