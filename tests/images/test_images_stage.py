import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from imgmine.dataset.blocklist import are_pictures_as_listed
from imgmine.images.archive import GatedArchive, gate_archive
from imgmine.images.contact_sheet import contact_sheet
from imgmine.images.decoder_pool import DecoderPool, PictureRequest
from imgmine.images.gate import gate
from imgmine.images.gated import GatedResults
from imgmine.images.hashes import pdq_distance
from imgmine.images.media_types import extension, media_type
from imgmine.images.pdq_index import PdqIndex
from imgmine.images.samples import ReadMember, dropped_samples, kept_samples
from imgmine.store.shards import ShardWriter, shard_members
from imgmine.store.tables import FILES, IMAGES, Provenance, to_parquet
from tests.images.made_pictures import encoded, jpeg, moving, photograph, png_of

DATA = Path(__file__).parent / "data"
KEPT = [jpeg((130 + 10 * number, 150)) for number in range(30)] + [encoded(photograph(size=(700, 400)), "PNG")]
DROPPED = {
    moving("GIF", 4): "mode",
    encoded(photograph().convert("L"), "JPEG"): "mode",
    jpeg((100, 90)): "size",
    jpeg((200, 150))[:-2]: "truncated",
    jpeg()[:5000]: "truncated",
    b"\xff\xd8\xff\xe0 not a picture": "undecodable",
    png_of(20_000, 20_000): "bomb",
}
_OF_KEPT = ("preview_shard", "preview_offset", "preview_size", "dhash", "pdq", "pdq_quality")
VIDEO = (DATA / "vp8.webm").read_bytes()


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    with DecoderPool(2) as pool:
        yield pool


class Archive:
    """The outputs of the stage before: the table `files` and its shards."""

    def __init__(self, folder: Path, payloads: list[bytes]) -> None:
        members = []
        hashes = {"md5": b"\0" * 16, "sha1": b"\0" * 20, "sha256": b"\0" * 32}  # the gate does not look at them
        with ShardWriter(folder / "originals", "files/a", 300_000) as writer:
            for payload in payloads:
                digest = hashlib.blake2b(payload, digest_size=32).digest()
                kind = media_type(payload)
                assert kind is not None
                members.append((digest, kind, writer.add(f"{digest.hex()}.{extension(kind)}", payload), len(payload)))
        rows = [
            {
                "blake2b": digest,
                **hashes,
                "size": size,
                "media_type": kind,
                "extension": extension(kind),
                "warc_file": "a.warc.zst",
                "warc_offset": 0,
                "warc_length": 1,
                "shard": writer.shards[member.shard].key,
                "shard_offset": member.offset,
            }
            for digest, kind, member, size in members
        ]
        assert len(writer.shards) > 1
        self.files = pa.Table.from_pylist(rows, schema=FILES).sort_by("blake2b")
        self.paths = {shard.key: shard.path for shard in writer.shards}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return Archive(tmp_path_factory.mktemp("archive"), [*KEPT, *DROPPED, VIDEO])


@pytest.fixture(scope="module")
def gated(archive: Archive, decoders: DecoderPool, tmp_path_factory: pytest.TempPathFactory) -> GatedArchive:
    return gate_archive(
        "a",
        archive.files,
        archive.paths.__getitem__,
        tmp_path_factory.mktemp("gated"),
        decoders=decoders,
        shard_bytes=200_000,
    )


def digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=32).digest()


def reader(paths: Mapping[str, Path]) -> ReadMember:
    return lambda shard, offset, size: paths[shard].read_bytes()[offset : offset + size]


def rows_of(gated: GatedArchive) -> dict[bytes, dict[str, Any]]:
    return {row["blake2b"]: row for row in gated.images.to_pylist()}


def test_every_picture_has_one_row_with_its_decision_and_videos_have_none(gated: GatedArchive) -> None:
    assert gated.images.schema == IMAGES
    assert gated.images["blake2b"].to_pylist() == sorted(digest(payload) for payload in [*KEPT, *DROPPED])
    rows = rows_of(gated)
    for payload in KEPT:
        assert rows[digest(payload)]["decision"] == "kept"
    for payload, decision in DROPPED.items():
        assert rows[digest(payload)]["decision"] == decision
    assert digest(VIDEO) not in rows


def test_a_row_holds_the_gates_verdict(gated: GatedArchive) -> None:
    rows = rows_of(gated)
    for payload in [KEPT[0], KEPT[-1], *DROPPED]:
        verdict, _ = gate(payload)
        row = rows[digest(payload)]
        for name in ("width", "height", "mode", "format", "frames", "detail", "exif_copyright"):
            assert row[name] == getattr(verdict, name), name


def test_the_preview_of_a_kept_picture_is_where_its_row_says(gated: GatedArchive) -> None:
    paths = {shard.key: shard.path for shard in gated.shards}
    assert len(paths) > 1
    for row in gated.images.to_pylist():
        if row["decision"] != "kept":
            assert all(row[name] is None for name in _OF_KEPT)
            continue
        content = paths[row["preview_shard"]].read_bytes()
        preview = content[row["preview_offset"] :][: row["preview_size"]]
        picture = Image.open(io.BytesIO(preview))
        picture.load()
        assert min(picture.size) == min(448, row["width"], row["height"])
        assert 0 <= row["dhash"] < 2**64
        assert len(row["pdq"]) == 32
        assert row["pdq_quality"] <= 100
    named = [name for shard in gated.shards for name, _, _ in shard_members(shard.path)]
    assert sorted(named) == sorted(f"{digest(payload).hex()}.jpg" for payload in KEPT)


def test_the_outputs_are_the_same_whatever_the_number_of_workers(
    archive: Archive, gated: GatedArchive, tmp_path: Path
) -> None:
    provenance = Provenance("images", "1", "inputs")
    for workers in (1, 3):
        with DecoderPool(workers) as decoders:
            again = gate_archive(
                "a",
                archive.files,
                archive.paths.__getitem__,
                tmp_path / str(workers),
                decoders=decoders,
                shard_bytes=200_000,
            )
        assert to_parquet(again.images, provenance) == to_parquet(gated.images, provenance)
        assert [shard.key for shard in again.shards] == [shard.key for shard in gated.shards]
        for one, other in zip(again.shards, gated.shards, strict=True):
            assert one.path.read_bytes() == other.path.read_bytes()


def judged_before(archive: Archive, decoders: DecoderPool, path: Path) -> GatedResults:
    """What the stage before would have left: every picture's result."""
    known = GatedResults(path, "ab")
    rows = [row for row in archive.files.to_pylist() if row["media_type"].startswith("image/")]
    requests = [PictureRequest(archive.paths[row["shard"]], row["shard_offset"], row["size"]) for row in rows]
    for row, result in zip(rows, decoders.pictures(requests), strict=True):
        known.add(row["blake2b"], result)
    assert len(known) == len(rows)
    return known


def test_results_that_were_made_before_give_the_same_outputs_and_no_original_is_fetched(
    archive: Archive, gated: GatedArchive, decoders: DecoderPool, tmp_path: Path
) -> None:
    def fetch(key: str) -> Path:
        raise AssertionError(f"{key} is not needed")

    with judged_before(archive, decoders, tmp_path / "known") as known:
        again = gate_archive("a", archive.files, fetch, tmp_path, decoders=decoders, gated=known, shard_bytes=200_000)
    assert again.images.equals(gated.images)
    assert [shard.key for shard in again.shards] == [shard.key for shard in gated.shards]


def test_of_results_that_are_missing_or_broken_only_those_are_made_again(
    archive: Archive, gated: GatedArchive, decoders: DecoderPool, tmp_path: Path
) -> None:
    judged_before(archive, decoders, tmp_path / "known").__exit__(None, None, None)
    content = bytearray((tmp_path / "known").read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / "known").write_bytes(content[: len(content) // 3 * 2])
    fetched: list[str] = []

    def fetch(key: str) -> Path:
        fetched.append(key)
        return archive.paths[key]

    with GatedResults(tmp_path / "known", "ab") as known:
        assert 0 < len(known) < gated.images.num_rows
        again = gate_archive(
            "a", archive.files, fetch, tmp_path / "out", decoders=decoders, gated=known, shard_bytes=200_000
        )
    assert again.images.equals(gated.images)
    assert [shard.key for shard in again.shards] == [shard.key for shard in gated.shards]
    assert fetched
    assert len(fetched) == len(set(fetched))


def test_progress_is_told(archive: Archive, decoders: DecoderPool, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    gate_archive(
        "a",
        archive.files,
        archive.paths.__getitem__,
        tmp_path,
        decoders=decoders,
        progress=lambda done, total: told.append((done, total)),
    )
    total = len(KEPT) + len(DROPPED)
    assert told == [(done, total) for done in range(1, total + 1)]


def test_an_archive_without_pictures(archive: Archive, decoders: DecoderPool, tmp_path: Path) -> None:
    empty = gate_archive("a", archive.files.slice(0, 0), {}.__getitem__, tmp_path, decoders=decoders)
    assert (empty.images.num_rows, empty.images.schema, empty.shards) == (0, IMAGES, [])
    assert kept_samples(empty.images, reader({})) == []
    assert dropped_samples(empty.images, archive.files, reader({}), tmp_path, decoders=decoders) == []


def test_samples_show_kept_pictures_with_their_size(gated: GatedArchive) -> None:
    samples = kept_samples(gated.images, reader({shard.key: shard.path for shard in gated.shards}), 10)
    kept = [row for row in gated.images.to_pylist() if row["decision"] == "kept"][:10]
    assert [caption for _, caption in samples] == [f"{row['width']} x {row['height']}" for row in kept]
    assert all(picture is not None and picture.startswith(b"\xff\xd8") for picture, _ in samples)


def test_samples_show_each_reason_by_turns(
    archive: Archive, gated: GatedArchive, decoders: DecoderPool, tmp_path: Path
) -> None:
    source = gated.images, archive.files, reader(archive.paths), tmp_path
    samples = dropped_samples(*source, decoders=decoders)
    captions = [caption for _, caption in samples]
    assert [caption.split()[0] for caption in captions[:5]] == ["bomb", "mode", "size", "truncated", "undecodable"]
    assert {"mode L", "mode P", "size 100 x 90"} <= set(captions)
    assert len(captions) == len(DROPPED)
    shown = {caption.split()[0] for picture, caption in samples if picture is not None}
    assert shown == {"mode", "size", "truncated"}  # the one that only lacks its end marker
    assert len(contact_sheet(samples)) < 100_000
    assert dropped_samples(*source, decoders=decoders, count=3) == samples[:3]
    assert list(tmp_path.iterdir()) == []


def test_what_looks_like_something_on_a_list_is_blocked_and_nothing_of_it_is_shown(
    archive: Archive, gated: GatedArchive, decoders: DecoderPool, tmp_path: Path
) -> None:
    rows = rows_of(gated)
    listed = bytes([rows[digest(KEPT[0])]["pdq"][0] ^ 0xFF]) + rows[digest(KEPT[0])]["pdq"][1:]
    near = {name for name, row in rows.items() if row["pdq"] and pdq_distance(row["pdq"], listed) <= 31}
    assert digest(KEPT[0]) in near
    index = PdqIndex(np.frombuffer(listed, np.uint8)[None])
    known = gate_archive("a", archive.files, archive.paths.__getitem__, tmp_path / "a", decoders=decoders)
    assert not are_pictures_as_listed(index, known.images)
    found = gate_archive(
        "a", archive.files, archive.paths.__getitem__, tmp_path / "b", decoders=decoders, blocked=index
    )
    assert are_pictures_as_listed(index, found.images)
    for name, row in rows_of(found).items():
        if name in near:
            bits = pdq_distance(rows[name]["pdq"], listed)
            assert (row["decision"], row["pdq"]) == ("blocked", rows[name]["pdq"])
            assert row["detail"] == f"pdq:{listed.hex()} differs in {bits} bits"
            assert all(row[column] is None for column in (*_OF_KEPT[:4], "exif_copyright"))
        else:
            was = rows[name]
            assert {**row, "preview_shard": None, "preview_offset": None} == {
                **was,
                "preview_shard": None,
                "preview_offset": None,
            }
    named = {name for shard in found.shards for name, _, _ in shard_members(shard.path)}
    assert not named & {f"{name.hex()}.jpg" for name in near}
    source = found.images, archive.files, reader(archive.paths), tmp_path
    assert len(dropped_samples(*source, decoders=decoders)) == len(DROPPED)
