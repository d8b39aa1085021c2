"""Which reference images are chosen, and what becomes of broken ones."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from scipy import stats

from imgmine.decisions import ImageDecision
from imgmine.images.decoder_pool import DecoderPool
from imgmine.models.embedder import Embedder
from imgmine.models.reference import (
    ReferenceUnreadable,
    chosen_archives,
    keyed_hash,
    reference_from_folder,
    sample_embeddings,
)
from imgmine.models.vectors import embeddings_table, normalise
from tests.models.photographs import left_and_right, photographs, preview


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    with DecoderPool(workers=2) as pool:
        yield pool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight photographs, one of them twice; a broken, a small and a grey picture; a text."""
    (tmp_path / "below").mkdir()
    for number, (name, picture) in enumerate(photographs().items()):
        picture.save((tmp_path / "below" if number % 2 else tmp_path) / f"{name}.jpg", quality=90)
    (tmp_path / "again.jpg").write_bytes((tmp_path / "astronaut.jpg").read_bytes())
    (tmp_path / "half.jpg").write_bytes((tmp_path / "astronaut.jpg").read_bytes()[:20_000])
    (tmp_path / "nothing.png").write_bytes(b"")
    photographs()["coffee"].resize((100, 80)).save(tmp_path / "small.png")
    photographs()["coffee"].convert("L").save(tmp_path / "grey.png")
    (tmp_path / "CREDITS.md").write_text("Taken by many.")
    (tmp_path / ".hidden.jpg").write_bytes(b"\xff\xd8\xff")
    return tmp_path


def test_a_folders_pictures_are_embedded_and_broken_ones_are_named(
    folder: Path, embedder: Embedder, decoders: DecoderPool
) -> None:
    reference = reference_from_folder(folder, embedder, decoders)
    assert reference.vectors.shape == (len(photographs()), 1280)
    rejected = {item.path.name: item.decision for item in reference.rejected}
    assert rejected == {
        "half.jpg": ImageDecision.TRUNCATED,
        "nothing.png": ImageDecision.UNDECODABLE,
        "small.png": ImageDecision.SIZE,
        "grey.png": ImageDecision.MODE,
    }
    about = reference.about()
    assert about["rejected"] == 4
    assert any(line.startswith("half.jpg: truncated") for line in about["rejected_files"])
    assert len(reference.keys) == len(set(reference.keys)) == len(photographs())


def test_a_reference_picture_has_the_vector_that_it_would_have_in_the_dataset(
    folder: Path, embedder: Embedder, decoders: DecoderPool
) -> None:
    reference = reference_from_folder(folder, embedder, decoders)
    key = hashlib.blake2b((folder / "astronaut.jpg").read_bytes(), digest_size=32).digest()
    with Image.open(folder / "astronaut.jpg") as picture:
        (vector,) = embedder.embed_batch([preview(picture.convert("RGB"))]).astype(np.float16)
    np.testing.assert_array_equal(reference.vectors[reference.keys.index(key)], vector.astype(np.float32))


def test_fewer_rows_are_a_part_of_more_and_names_do_not_matter(
    folder: Path, embedder: Embedder, decoders: DecoderPool
) -> None:
    every = reference_from_folder(folder, embedder, decoders, seed=3)
    (folder / "astronaut.jpg").rename(folder / "below" / "000.jpg")
    few = reference_from_folder(folder, embedder, decoders, seed=3, rows=5)
    assert few.keys == every.keys[:5]
    np.testing.assert_array_equal(few.vectors, every.vectors[:5])


def test_an_empty_folder_has_no_vectors_and_no_folder_is_an_error(
    tmp_path: Path, embedder: Embedder, decoders: DecoderPool
) -> None:
    assert reference_from_folder(tmp_path, embedder, decoders).vectors.shape == (0, 1280)
    with pytest.raises(ReferenceUnreadable, match="IMGMINE_REFERENCE"):
        reference_from_folder(tmp_path / "absent", embedder, decoders)


def archives(count: int, rows: int) -> list[pa.Table]:
    """Tables of embeddings; each archive repeats a tenth of the one before."""
    tables, vectors, names = [], np.empty((0, 16)), []
    for archive in range(count):
        repeated = rows // 10 if archive else 0
        fresh = normalise(np.random.default_rng(archive).normal(size=(rows - repeated, 16)))
        vectors = np.concatenate([vectors[:repeated], fresh])
        names = names[:repeated] + [
            hashlib.blake2b(f"{archive}/{row}".encode(), digest_size=32).digest() for row in range(rows - repeated)
        ]
        tables.append(embeddings_table(names, vectors))
    return tables


def test_a_sample_does_not_depend_on_the_order_of_archives() -> None:
    tables = archives(8, 200)
    expected = sample_embeddings(tables, rows=150)
    assert len(expected.keys) == len(set(expected.keys)) == 150
    assert "8 archives" in expected.source
    for seed in range(5):
        random.Random(seed).shuffle(tables)
        again = sample_embeddings(tables, rows=150)
        assert (again.keys, again.digest) == (expected.keys, expected.digest)


def test_an_image_chosen_among_more_is_chosen_among_fewer() -> None:
    tables = archives(8, 200)
    more, fewer = set(sample_embeddings(tables, rows=150).keys), set(sample_embeddings(tables[:4], rows=150).keys)
    among_fewer = {key for table in tables[:4] for key in table["blake2b"].to_pylist()}
    assert more & among_fewer <= fewer


def test_the_archives_of_a_sample_do_not_depend_on_their_order() -> None:
    names = [f"archiveteam_imgur_{n}" for n in range(200)]
    chosen = chosen_archives(names, seed=0, most=20)
    assert len(chosen) == 20
    assert chosen_archives(reversed(names), seed=0, most=20) == chosen
    assert chosen_archives(names, seed=1, most=20) != chosen
    assert set(chosen) & set(names[:100]) <= set(chosen_archives(names[:100], seed=0, most=20))
    assert set(chosen_archives(names[:5], seed=0, most=20)) == set(names[:5])


def test_a_sample_has_the_vectors_of_its_images() -> None:
    tables = archives(2, 50)
    sample = sample_embeddings(tables, rows=1000)
    stored = {
        key: vector
        for table in tables
        for key, vector in zip(*(table[c].to_pylist() for c in table.column_names), strict=True)
    }
    assert set(sample.keys) == set(stored)
    for key, vector in zip(sample.keys, sample.vectors, strict=True):
        np.testing.assert_array_equal(vector, np.array(stored[key], np.float32))


def test_another_seed_chooses_others() -> None:
    tables = archives(3, 200)
    first, second = (set(sample_embeddings(tables, rows=100, seed=seed).keys) for seed in (0, 1))
    assert 5 < len(first & second) < 40


def test_the_hash_is_uniform() -> None:
    names = [hashlib.blake2b(str(n).encode(), digest_size=32).digest() for n in range(5000)]
    assert stats.kstest(keyed_hash(names, 7) / 2**64, "uniform").pvalue > 0.01
    assert keyed_hash([], 7).shape == (0,)


def test_a_sample_of_nothing_is_empty() -> None:
    assert sample_embeddings([]).vectors.shape == (0, 0)
    assert sample_embeddings([embeddings_table([], np.empty((0, 16)))]).vectors.shape == (0, 16)


def test_vectors_of_two_models_do_not_mix() -> None:
    tables = [embeddings_table([bytes(32)], np.ones((1, size))) for size in (4, 5)]
    with pytest.raises(ReferenceUnreadable, match="of 4 and of 5 dimensions"):
        sample_embeddings(tables)


def test_two_halves_of_a_photograph_make_two_references(
    tmp_path: Path, embedder: Embedder, decoders: DecoderPool
) -> None:
    for number, half in enumerate(left_and_right(photographs()["coffee"])):
        half.save(tmp_path / f"{number}.png")
    assert len(reference_from_folder(tmp_path, embedder, decoders).keys) == 2
