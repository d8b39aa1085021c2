"""Classifiers of both kinds over the pictures of an archive, and as model folders."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image

from imgmine.demo.photographs import reference_photographs
from imgmine.images.previews import preview_jpeg, reduced
from imgmine.models.adding import Request, add_model
from imgmine.models.cards import ModelError, find_model, load_card
from imgmine.models.embedder import Embedder, load_embedder
from imgmine.models.kept_pictures import Originals, PreviewError
from imgmine.models.vectors import embeddings_table
from imgmine.models.watermark.cards import SHIPPED_NAME, find_classifier, load_classifier_card, read_classifier_card
from imgmine.models.watermark.classifier import (
    OtherEmbedder,
    PictureClassifier,
    ViewsClassifier,
    judge_archive,
    load_classifier,
    require_vectors,
)
from imgmine.models.watermark.scores import decided, decided_again
from imgmine.store.tables import FILES, IMAGES, WATERMARK_SCORES
from imgmine_assets.models_cli import models as models_command
from tests.models.small_clip import small_clip
from tests.models.watermark.picture_model import SIZE, picture_model

NOWHERE = "http://127.0.0.1:9"
COLOURS = {b"r" * 32: (255, 0, 0), b"b" * 32: (0, 0, 255), b"g" * 32: (128, 128, 128)}


def jpeg(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=95)
    return out.getvalue()


class Archive:
    """An archive of a few pictures: its tables, and its shards in memory."""

    def __init__(self, pictures: dict[bytes, Image.Image], embedder: Embedder) -> None:
        self.shards = {"previews": bytearray(), "files": bytearray()}
        images, files = [], []
        for key, picture in pictures.items():
            preview, original = preview_jpeg(reduced(picture)), jpeg(picture)
            place = {"preview_shard": "previews", "preview_offset": len(self.shards["previews"])}
            size = {"width": picture.width, "height": picture.height, "preview_size": len(preview)}
            images.append({"blake2b": key, "decision": "kept", **size, **place})
            place = {"shard": "files", "shard_offset": len(self.shards["files"]), "size": len(original)}
            told = {"media_type": "image/jpeg", "extension": "jpg", "warc_file": "w", "warc_offset": 0}
            files.append({"blake2b": key, **place, **told, "warc_length": 1})
            self.shards["previews"] += preview
            self.shards["files"] += original
        self.images = pa.Table.from_pylist(images, IMAGES)
        self.files = pa.Table.from_pylist(files, FILES)
        previews = [preview_jpeg(reduced(picture)) for picture in pictures.values()]
        self.embeddings = embeddings_table(list(pictures), embedder.embed_batch(previews))

    def read(self, shard: str, offset: int, size: int) -> bytes:
        return bytes(self.shards[shard][offset : offset + size])


@pytest.fixture(scope="module")
def colours(embedder: Embedder) -> Archive:
    return Archive({key: Image.new("RGB", (900, 700), colour) for key, colour in COLOURS.items()}, embedder)


def test_the_shipped_classifier_is_what_its_card_says_and_belongs_to_the_shipped_embedder(embedder: Embedder) -> None:
    classifier = load_classifier(SHIPPED_NAME, None, lambda: embedder)
    assert isinstance(classifier, ViewsClassifier)
    assert classifier.card.embedder == embedder.version
    assert classifier.card.report["test_auc"] > 0.7
    assert 0 < classifier.card.threshold < 1


def test_an_archives_pictures_are_judged_each_by_itself_whatever_the_threads(embedder: Embedder) -> None:
    pictures = {}
    for number, path in enumerate(reference_photographs()[:6]):
        with Image.open(path) as image:
            pictures[bytes([90 - number]) * 32] = image.convert("RGB")
    archive = Archive(pictures, embedder)
    classifier = load_classifier(SHIPPED_NAME, None, lambda: embedder)
    told: list[tuple[int, int]] = []
    found = judge_archive(
        "a", archive.images, archive.embeddings, archive.read, classifier, progress=lambda *done: told.append(done)
    )
    assert told[-1] == (6, 6)
    assert found.shape == (6,)
    assert len(set(found.tolist())) == 6
    threaded = judge_archive("a", archive.images, archive.embeddings, archive.read, classifier, threads=3)
    assert np.array_equal(found, threaded)
    keys = archive.embeddings["blake2b"].to_pylist()
    alone = Archive({keys[2]: pictures[keys[2]]}, embedder)
    judged_alone = judge_archive("a", alone.images, alone.embeddings, alone.read, classifier)
    assert judged_alone == pytest.approx(found[2:3], abs=1e-4)


def test_an_archive_without_images_gives_an_empty_table(embedder: Embedder) -> None:
    empty = Archive({}, embedder)
    classifier = load_classifier(SHIPPED_NAME, None, lambda: embedder)
    found = judge_archive("a", empty.images, empty.embeddings, empty.read, classifier)
    table = decided(empty.embeddings["blake2b"], found, 0.5)
    assert (table.num_rows, table.schema) == (0, WATERMARK_SCORES)


def test_a_whole_picture_model_judges_originals_where_previews_hold_less(
    colours: Archive, embedder: Embedder, tmp_path: Path
) -> None:
    classifier = load_classifier(str(picture_model(tmp_path / "red")), None, lambda: embedder)
    assert isinstance(classifier, PictureClassifier)
    read: list[str] = []

    def reading(shard: str, offset: int, size: int) -> bytes:
        read.append(shard)
        return colours.read(shard, offset, size)

    originals = Originals(colours.files, reading)
    found = judge_archive("a", colours.images, colours.embeddings, reading, classifier, originals=originals)
    by_key = dict(zip(colours.embeddings["blake2b"].to_pylist(), found.tolist(), strict=True))
    assert [round(by_key[key], 2) for key in COLOURS] == [1.0, 0.0, pytest.approx(0.52, abs=0.02)]
    assert set(read) == {"files"}


def test_a_damaged_picture_is_named(colours: Archive, embedder: Embedder) -> None:
    classifier = load_classifier(SHIPPED_NAME, None, lambda: embedder)
    with pytest.raises(PreviewError, match="a: the preview of 7272"):
        judge_archive("a", colours.images, colours.embeddings, lambda *place: b"nothing", classifier)


def test_a_vector_of_a_picture_that_is_not_there_is_refused(colours: Archive, embedder: Embedder) -> None:
    classifier = load_classifier(SHIPPED_NAME, None, lambda: embedder)
    [missing] = colours.images["blake2b"].slice(1, 1).to_pylist()
    fewer = pa.concat_tables([colours.images.slice(0, 1), colours.images.slice(2)])
    with pytest.raises(PreviewError, match=f"a: 1 of 3 vectors .*{missing.hex()}"):
        judge_archive("a", fewer, colours.embeddings, colours.read, classifier)


def test_another_embedder_is_refused_with_what_to_do(embedder: Embedder, tmp_path: Path) -> None:
    other = load_embedder(small_clip(tmp_path / "clip"))
    with pytest.raises(OtherEmbedder, match=r"IMGMINE_WATERMARK_MODEL to a classifier for this one"):
        load_classifier(SHIPPED_NAME, None, lambda: other)
    classifier = load_classifier(SHIPPED_NAME, None, lambda: embedder)
    with pytest.raises(OtherEmbedder, match=f"a: its vectors are of {other.version}"):
        require_vectors(classifier, other.version, "a")
    picture = load_classifier(str(picture_model(tmp_path / "red")), None, lambda: other)
    require_vectors(picture, other.version, "a")


def test_another_threshold_changes_decisions_alone() -> None:
    keys = pa.chunked_array([pa.array([b"a" * 32, b"b" * 32], pa.binary(32))])
    table = decided(keys, np.array([0.3, 0.7], np.float32), 0.7)
    assert table["decision"].to_pylist() == ["kept", "watermarked"]
    again = decided_again(table, 0.3)
    assert again["decision"].to_pylist() == ["watermarked", "watermarked"]
    assert again["probability"].equals(table["probability"])
    assert decided_again(again, 0.7).equals(table)


def test_a_whole_picture_model_is_added_listed_and_checked_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGMINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IMGMINE_WATERMARK_MODEL", "red")
    run = CliRunner()
    added = run.invoke(models_command, ["add", str(picture_model(tmp_path / "red"))], catch_exceptions=False)
    assert "To use it: IMGMINE_WATERMARK_MODEL=red" in added.output
    listed = run.invoke(models_command, ["list"], catch_exceptions=False).output
    assert any(line.startswith("red ") and "in use" in line for line in listed.splitlines())
    assert SHIPPED_NAME in listed
    checked = run.invoke(models_command, ["check", "red"], catch_exceptions=False).output
    assert "its file is what its card says" in checked
    folder = tmp_path / "home/models/red"
    assert find_classifier("red", folder.parent) == folder
    assert load_classifier_card(folder).version.startswith("red-")


def test_what_does_not_fit_is_refused_and_nothing_is_added(tmp_path: Path) -> None:
    models = tmp_path / "models"
    wrong = {
        "two": ({"outputs": 2}, r"logit has the shape \(2, 2\) for 2 pictures"),
        "small": ({"size": SIZE // 2}, r"is not what its card says"),
        "forged": ({"sha256": "0" * 64}, "its card says 0000"),
        "unsure": ({"threshold": 1.5}, r"threshold is 1\.5; a number between 0 and 1 is wanted"),
        "strange": ({"colour": "red"}, "keys that imgmine does not know: colour"),
    }
    for name, (changes, message) in wrong.items():
        folder = picture_model(tmp_path / name, **changes)  # type: ignore[arg-type]
        with pytest.raises(ModelError, match=message):
            add_model(Request(str(folder)), models, NOWHERE)
    assert not list(models.glob("*/card.yaml"))
    with pytest.raises(ModelError, match="No watermark classifier 'absent'"):
        find_classifier("absent", models)


def test_the_threshold_is_no_part_of_a_version(tmp_path: Path) -> None:
    cards = [read_classifier_card(picture_model(tmp_path / str(at), threshold=at) / "card.yaml") for at in (0.4, 0.6)]
    assert cards[0].version == cards[1].version
    other = read_classifier_card(picture_model(tmp_path / "other", interpolation="bicubic") / "card.yaml")
    assert other.version != cards[0].version


def test_an_embedding_model_is_still_found_by_its_own_way(embedder: Embedder) -> None:
    assert load_card(find_model("efficientnet-lite0")).version == embedder.version
