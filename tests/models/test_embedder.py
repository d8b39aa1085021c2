"""The embedded model on real photographs, and the embeddings of an archive."""

import hashlib
import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest

from imgmine.decisions import ImageDecision
from imgmine.models.cards import ModelError, find_model, load_card
from imgmine.models.embedder import Embedder, embed_archive, load_embedder
from imgmine.models.kept_pictures import Originals, PreviewError
from imgmine.models.preprocessing import UnreadablePicture, read_picture
from imgmine.models.vectors import NORM_TOLERANCE, dimension_of, invalid_rows, vectors_of
from imgmine.store.tables import IMAGES, Provenance, embeddings_schema, to_parquet
from tests.models.faulty_model import bake_batch_of_one, declare_batch, spoil
from tests.models.photographs import left_and_right, photographs, preview
from tests.models.small_clip import small_clip

SHARD = "previews/an-archive/00000-abc.tar"


@pytest.fixture(scope="module")
def previews() -> list[bytes]:
    return [preview(crop) for picture in photographs().values() for crop in left_and_right(picture)]


@pytest.fixture(scope="module")
def vectors(embedder: Embedder, previews: list[bytes]) -> np.ndarray:
    return np.concatenate(list(embedder.embed(previews)))


def archive_of(previews: list[bytes]) -> tuple[pa.Table, bytes]:
    """An `images` table over these previews in one shard, in the order given, with a dropped file after each."""
    rows: list[dict[str, object]] = []
    shard = b""
    for payload in previews:
        key = hashlib.blake2b(payload, digest_size=32).digest()
        rows.append(
            {
                "blake2b": key,
                "decision": ImageDecision.KEPT,
                "preview_shard": SHARD,
                "preview_offset": len(shard) + 512,
                "preview_size": len(payload),
                "width": 640,
                "height": 480,
            }
        )
        rows.append({"blake2b": hashlib.blake2b(key, digest_size=32).digest(), "decision": ImageDecision.SIZE})
        shard += bytes(512) + payload
    return pa.Table.from_pylist(sorted(rows, key=lambda row: bytes(row["blake2b"])), schema=IMAGES), shard  # type: ignore[arg-type]


def embed(embedder: Embedder, previews: list[bytes], **options: int) -> pa.Table:
    images, shard = archive_of(previews)
    return embed_archive("an-archive", images, lambda key, at, size: shard[at : at + size], embedder, **options)


def test_two_crops_of_a_photograph_are_closer_than_two_photographs(vectors: np.ndarray) -> None:
    cosines = vectors @ vectors.T
    same = np.array([cosines[row, row + 1] for row in range(0, len(vectors), 2)])
    photograph = np.arange(len(vectors)) // 2
    other = cosines[photograph[:, None] != photograph[None, :]]
    assert same.min() > other.max()
    assert np.median(other) < 0.4


def test_vectors_are_of_norm_1_before_and_after_rounding_to_half_precision(vectors: np.ndarray) -> None:
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert not len(invalid_rows(vectors))
    stored = np.linalg.norm(vectors.astype(np.float16).astype(np.float64), axis=1)
    assert np.abs(stored - 1).max() < NORM_TOLERANCE / 5


def test_vectors_come_in_the_order_of_the_pictures(
    embedder: Embedder, previews: list[bytes], vectors: np.ndarray
) -> None:
    np.testing.assert_array_equal(np.concatenate(list(embedder.embed(previews[::-1]))), vectors[::-1])


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_a_vector_does_not_depend_on_its_batch(
    embedder: Embedder, previews: list[bytes], vectors: np.ndarray, batch: int
) -> None:
    np.testing.assert_array_equal(np.concatenate(list(embedder.embed(previews, batch))), vectors)


def test_a_vector_does_not_depend_on_the_number_of_threads(previews: list[bytes], vectors: np.ndarray) -> None:
    one = load_embedder("efficientnet-lite0", threads=1)
    np.testing.assert_array_equal(np.concatenate(list(one.embed(previews))), vectors)


def test_pictures_are_taken_as_they_are_needed(embedder: Embedder, previews: list[bytes]) -> None:
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield previews[taken % len(previews)]

    batches = embedder.embed(endless(), 2)  # type: ignore[arg-type]
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert taken <= 2 * (2 * embedder.threads + 1)


def test_an_archive_has_a_row_for_each_kept_image_sorted_by_blake2b(
    embedder: Embedder, previews: list[bytes], vectors: np.ndarray
) -> None:
    steps: list[tuple[int, int]] = []
    images, shard = archive_of(previews)
    table = embed_archive(
        "an-archive",
        images,
        lambda key, at, size: shard[at : at + size],
        embedder,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert table.schema.equals(embeddings_schema(1280))
    keys = table["blake2b"].to_pylist()
    assert keys == sorted(hashlib.blake2b(payload, digest_size=32).digest() for payload in previews)
    of_key = dict(zip((hashlib.blake2b(p, digest_size=32).digest() for p in previews), vectors, strict=True))
    expected = np.array([of_key[key] for key in keys]).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(vectors_of(table), expected)
    assert steps[-1] == (len(previews), len(previews))


def test_the_same_archive_gives_the_same_bytes(embedder: Embedder, previews: list[bytes]) -> None:
    provenance = Provenance("embeddings", "1", "inputs")
    files = {
        to_parquet(embed(embedder, previews), provenance),
        to_parquet(embed(embedder, previews), provenance),
        to_parquet(embed(embedder, previews[::-1], batch=5), provenance),
    }
    assert len(files) == 1


def test_an_archive_without_images_gives_an_empty_table(embedder: Embedder) -> None:
    table = embed(embedder, [])
    assert table.num_rows == 0
    assert table.schema.equals(embeddings_schema(1280))
    assert dimension_of(table) == 1280
    assert vectors_of(table).shape == (0, 1280)
    assert list(embedder.embed([])) == []


def test_the_original_is_read_where_the_model_uses_more_than_its_preview_holds(embedder: Embedder) -> None:
    assert not embedder.wants_original(4000, 3000)
    assert not embedder.wants_original(200, 150), "its preview is all of it"
    assert embedder.wants_original(8000, 300), "a strip's preview has 154 pixels on its short side"
    large = replace(embedder.card, resize=480)
    picture = photographs()["astronaut"]
    original = io.BytesIO()
    picture.save(original, "PNG")
    stored = b"before" + original.getvalue()
    key = hashlib.blake2b(stored, digest_size=32).digest()
    row = {"blake2b": key, "decision": ImageDecision.KEPT, "preview_shard": "previews", "width": 512, "height": 512}
    images = pa.Table.from_pylist([{**row, "preview_offset": 0, "preview_size": 9}], schema=IMAGES)
    place = {"blake2b": key, "shard": "files", "shard_offset": 6, "size": len(original.getvalue())}

    def no_preview(key: str, at: int, size: int) -> bytes:
        raise AssertionError("the preview is too small")

    table = embed_archive(
        "an-archive",
        images,
        no_preview,
        model := Embedder(large, threads=1),
        originals=Originals(pa.Table.from_pylist([place]), lambda key, at, size: stored[at : at + size]),
    )
    expected = model.embed_pictures([picture]).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(vectors_of(table), expected)
    with pytest.raises(PreviewError, match=r"the original of .* is damaged"):
        embed_archive(
            "an-archive",
            images,
            no_preview,
            model,
            originals=Originals(pa.Table.from_pylist([place]), lambda key, at, size: stored[at : at + 500]),
        )


def test_a_damaged_preview_is_named(embedder: Embedder, previews: list[bytes]) -> None:
    broken = [*previews[:3], previews[3][:1000]]
    name = hashlib.blake2b(broken[3], digest_size=32).hexdigest()
    with pytest.raises(PreviewError, match=f"an-archive: the preview of {name}.*Materialize"):
        embed(embedder, broken)
    with pytest.raises(UnreadablePicture):
        embedder.embed_batch(broken)


def test_decoded_pictures_embed_as_their_bytes_do(embedder: Embedder, previews: list[bytes]) -> None:
    pictures = [read_picture(payload) for payload in previews[:2]]
    np.testing.assert_array_equal(embedder.embed_pictures(pictures), embedder.embed_batch(previews[:2]))
    assert embedder.embed_batch([]).shape == (0, 1280)


def test_a_card_that_does_not_fit_its_model_is_refused() -> None:
    card = load_card(find_model("efficientnet-lite0"))
    for changes, complaint in (
        ({"input": "pixels"}, "has the inputs x; its card says pixels"),
        ({"output": "features"}, "has the outputs feat, logits; its card says features"),
        ({"output": "logits"}, "the card's dimension is 1280"),
        ({"size": 128, "resize": 128}, "does not take the input that its card describes"),
    ):
        with pytest.raises(ModelError, match=complaint):
            Embedder(replace(card, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", [partial(declare_batch, size=1), bake_batch_of_one])
def test_a_model_whose_batch_is_not_free_is_refused_when_it_is_loaded(
    tmp_path: Path, fault: Callable[[onnx.ModelProto], None]
) -> None:
    with pytest.raises(ModelError, match="its batch must be free"):
        load_embedder(spoil(small_clip(tmp_path), fault))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    built_in = find_model("efficientnet-lite0")
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    card = (built_in / "card.yaml").read_text().replace(load_card(built_in).sha256, "{}")
    (tmp_path / "card.yaml").write_text(card.format(hashlib.sha256(b"not a model").hexdigest()))
    with pytest.raises(ModelError, match="cannot be loaded by onnxruntime"):
        load_embedder(tmp_path)


def test_a_model_in_a_folder_of_ones_own_is_used_as_the_built_in_one(
    tmp_path: Path, previews: list[bytes], vectors: np.ndarray
) -> None:
    own = tmp_path / "mine"
    shutil.copytree(find_model("efficientnet-lite0"), own)
    loaded = load_embedder(str(own), threads=2)
    assert loaded.version == load_card(find_model("efficientnet-lite0")).version
    np.testing.assert_array_equal(loaded.embed_batch(previews[:4]), vectors[:4])
