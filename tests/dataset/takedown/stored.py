"""A small store whose tables name real shards: what the tests of take-downs take files out of."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.decisions import NsfwDecision
from imgmine.store.base import Store
from imgmine.store.local import LocalStore
from imgmine.store.publish import fingerprint, publish, read_table
from imgmine.store.shards import ShardWriter
from imgmine.store.tables import NSFW_SCORES, Provenance
from tests.dataset.small_store import CAPTURED, Entry, put_manifest, tables_of

# So few bytes that a shard holds a few files.
SHARD_BYTES = 6000
OTHERS = ("embeddings", "anomaly_scores", "watermark_scores")


class Killed(BaseException):
    """What ends a process: no `except Exception` sees it."""


class DyingStore(LocalStore):
    """A local store whose process is killed when it would make its `last`th change."""

    def __init__(self, root: Path, last: int) -> None:
        super().__init__(root)
        self._left = last

    def put_file(self, key: str, source: Path) -> None:
        self._change()
        super().put_file(key, source)

    def put_bytes(self, key: str, data: bytes) -> None:
        self._change()
        super().put_bytes(key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        self._change()
        return super().put_new(key, data)

    def delete(self, key: str) -> None:
        self._change()
        super().delete(key)

    def _change(self) -> None:
        self._left -= 1
        if self._left <= 0:
            raise Killed


def payload_of(text: str) -> bytes:
    return text.encode()


def preview_of(digest: bytes) -> bytes:
    return b"preview of " + digest * 3


def put_stored(store: Store, archive: str, entries: Sequence[Entry]) -> None:
    """Publish an archive's tables, with the payloads and previews in shards."""
    put_manifest(store, archive, CAPTURED)
    tables = tables_of(archive, entries)
    payloads = {entry.digest: payload_of(entry.payload) for entry in entries}
    payloads |= {entry.still: f"still of {entry.payload}".encode() for entry in entries}
    with TemporaryDirectory() as folder:
        files, shards = _packed(tables["files"], payloads, Path(folder) / "f", f"files/{archive}", "shard")
        provenance = Provenance("unique_files", "1", fingerprint(archive=archive))
        publish(store, archive, {"records": tables["records"], "files": files}, provenance, shards, "files")
        kept = {row["blake2b"]: preview_of(row["blake2b"]) for row in tables["images"].to_pylist()}
        images, shards = _packed(tables["images"], kept, Path(folder) / "p", f"previews/{archive}", "preview_shard")
        inputs = fingerprint(files=read_table(store, "files", archive).origin)
        publish(store, archive, {"images": images}, Provenance("images", "1", inputs), shards, "previews")
    for name in OTHERS:
        publish(store, archive, {name: tables[name]}, Provenance(name, "1", "of vectors"))
    safe = [
        {"blake2b": digest, "probability": 0.0, "decision": NsfwDecision.SHOWN.value}
        for digest in tables["embeddings"]["blake2b"].to_pylist()
    ]
    nsfw = pa.Table.from_pylist(safe, NSFW_SCORES)
    publish(store, archive, {"nsfw_scores": nsfw}, Provenance("nsfw_scores", "1", "of images"))


def _packed(
    rows: pa.Table, payloads: dict[bytes, bytes], folder: Path, prefix: str, shard: str
) -> tuple[pa.Table, list]:  # type: ignore[type-arg]
    offset = shard.replace("shard", "offset") if shard != "shard" else "shard_offset"
    size = "preview_size" if shard != "shard" else "size"
    found = rows.to_pylist()
    members = []
    with ShardWriter(folder, prefix, SHARD_BYTES) as writer:
        for row in found:
            members.append(writer.add(f"{row['blake2b'].hex()}.bin", payloads[row["blake2b"]]))
    for row, member in zip(found, members, strict=True):
        row |= {shard: writer.shards[member.shard].key, offset: member.offset, size: len(payloads[row["blake2b"]])}
    return pa.Table.from_pylist(found, rows.schema), writer.shards


def contents(store: Store) -> dict[str, bytes]:
    return {stored.key: store.get_bytes(stored.key) for stored in store.list("")}


def members(store: Store, prefix: str) -> Iterator[tuple[str, str, bytes]]:
    """Yield every shard's members: the shard's key, the name, the bytes."""
    for stored in store.list(prefix):
        if stored.key.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(store.get_bytes(stored.key))) as archive:
                for member in archive:
                    found = archive.extractfile(member)
                    assert found is not None
                    yield stored.key, member.name, found.read()


def rows(store: Store, table: str, archive: str) -> list[dict]:  # type: ignore[type-arg]
    found: list[dict] = pq.read_table(io.BytesIO(store.get_bytes(f"{table}/{archive}.parquet"))).to_pylist()  # type: ignore[type-arg]
    return found
