"""Scaled decoding: faster previews of JPEGs, and nothing else changed. The corpus is asked in `test_corpus`."""

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgmine.decisions import ImageDecision
from imgmine.images import previews
from imgmine.images.archive import CODE_VERSION, code_version
from imgmine.images.decoder_pool import DecoderPool, PictureRequest
from imgmine.images.decoding import Decoding
from imgmine.images.gate import gate
from imgmine.images.hashes import distance, pdq_distance
from imgmine.images.previews import preview_size, reduced
from tests.images.corpus import Case, variants
from tests.images.made_pictures import encoded, jpeg, photograph

LOSSLESS = (Path(__file__).parent / "data" / "lossless.jpg").read_bytes()  # ITU-T T.81's process 14, by libjpeg-turbo
SAMPLING = (0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x24, 0x31, 0x41, 0x42, 0x44)


@pytest.fixture
def small_previews(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have previews of 16 pixels, so that small pictures, of which thousands can be tried, are decoded at an eighth."""
    monkeypatch.setattr(previews, "SHORT_SIDE", 16)


def good_jpegs() -> Iterator[Case]:
    for size in ((129, 131), (200, 150), (300, 290)):
        for progressive in (False, True):
            for name, mode, options in (
                ("4:2:0", "RGB", {"subsampling": 2}),
                ("4:2:2", "RGB", {"subsampling": 1, "restart_marker_blocks": 3}),
                ("4:4:4", "RGB", {"subsampling": 0, "optimize": True}),
                ("no YCbCr", "RGB", {"subsampling": 0, "keep_rgb": True}),
                ("grey", "L", {}),
                ("CMYK", "CMYK", {}),
            ):
                picture = photograph(size=size).convert(mode)
                payload = encoded(picture, "JPEG", progressive=progressive, quality=60, **options)
                yield Case("made", f"{name}, {size}, {'progressive' if progressive else 'baseline'}", payload)


def odd_heads(count: int) -> Iterator[Case]:
    """Yield JPEGs whose frame header claims another size, other sampling factors, or another process."""
    rng, good = Random(7), [case for case in good_jpegs() if "grey" not in case.name]
    for number in range(count):
        case = rng.choice(good)
        data = bytearray(case.payload)
        frame = next(at for marker in (0xC0, 0xC1, 0xC2) if (at := data.find(bytes([0xFF, marker]))) > 0)
        for _ in range(rng.choice((1, 1, 2, 3))):
            match rng.randrange(4):
                case 0:
                    data[frame + 1] = rng.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA))
                case 1:
                    data[frame + rng.choice((6, 8))] ^= rng.choice((1, 2, 7))
                case _:
                    data[frame + rng.choice((11, 14, 17))] = rng.choice(SAMPLING)
        yield Case("heads", f"{case.name}, head {number}", bytes(data))


@pytest.mark.usefixtures("small_previews")
def test_no_damage_gets_another_verdict() -> None:
    good = list(good_jpegs())
    cases = [*good, *variants(good, 60), *odd_heads(400)]
    assert len(cases) > 2500
    seen: Counter[str] = Counter()
    for case in cases:
        exact, scaled = gate(case.payload), gate(case.payload, Decoding.SCALED)
        assert scaled.verdict == exact.verdict, case.name
        assert (scaled.picture is None) == (exact.picture is None), case.name
        seen[exact.verdict.decision] += 1
        if scaled.picture is not None and exact.picture is not None:
            seen["smaller"] += scaled.picture.size < exact.picture.size
    assert min(seen[name] for name in ("kept", "truncated", "undecodable", "mode")) > 100, seen
    assert seen["smaller"] > 0.9 * seen["kept"]


@pytest.mark.usefixtures("small_previews")
def test_what_libjpeg_cannot_scale_is_decoded_in_full() -> None:
    exact, scaled = gate(LOSSLESS), gate(LOSSLESS, Decoding.SCALED)
    assert exact.picture is not None
    assert scaled.picture is not None
    assert exact.verdict == scaled.verdict
    assert scaled.verdict.decision is ImageDecision.KEPT
    assert scaled.picture.size == (200, 140)
    assert scaled.picture.tobytes() == exact.picture.tobytes()


@pytest.mark.parametrize(
    ("size", "decoded"),
    [
        ((895, 1500), (895, 1500)),
        ((896, 1500), (448, 750)),
        ((1201, 897), (601, 449)),
        ((3000, 1791), (1500, 896)),
        ((2600, 1792), (650, 448)),
        ((3600, 3584), (450, 448)),
    ],
)
def test_a_jpeg_is_decoded_no_smaller_than_its_preview(size: tuple[int, int], decoded: tuple[int, int]) -> None:
    payload = jpeg(size, quality=40)
    verdict, picture = gate(payload, Decoding.SCALED)
    assert verdict == gate(payload).verdict
    assert (verdict.width, verdict.height) == size
    assert picture is not None
    assert picture.size == decoded
    assert all(
        have >= want or have == full for have, want, full in zip(decoded, preview_size(*size), size, strict=True)
    )
    assert reduced(picture, size).size == preview_size(*size)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_scaled_preview_is_near_the_exact_one(options: dict[str, Any]) -> None:
    payload = jpeg((2400, 1600), **options)
    exact, scaled = gate(payload).picture, gate(payload, Decoding.SCALED).picture
    assert exact is not None
    assert scaled is not None
    one, other = (np.asarray(reduced(picture, (2400, 1600)), dtype=float) for picture in (exact, scaled))
    assert 10 * np.log10(255**2 / np.mean((one - other) ** 2)) > 40


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "MPO"])
def test_other_formats_are_decoded_as_ever(kind: str) -> None:
    options = {"save_all": True, "append_images": [photograph(1)]} if kind == "MPO" else {}
    payload = encoded(photograph(size=(1100, 1030)), kind, **options)
    exact, scaled = gate(payload), gate(payload, Decoding.SCALED)
    assert scaled.verdict == exact.verdict
    assert exact.picture is not None
    assert scaled.picture is not None
    assert scaled.picture.tobytes() == exact.picture.tobytes()


def test_a_pool_decodes_as_it_was_told(tmp_path: Path) -> None:
    large, small = jpeg((1200, 1100)), jpeg()
    path = tmp_path / "spool"
    path.write_bytes(large + small)
    requests = [PictureRequest(path, 0, len(large)), PictureRequest(path, len(large), len(small))]
    with DecoderPool(1) as exact, DecoderPool(1, decoding=Decoding.SCALED) as scaled:
        assert (exact.params, scaled.params) == ({}, {"decoding": "scaled"})
        (one, same), (other, same_again) = exact.pictures(requests), scaled.pictures(requests)
    assert same == same_again
    assert one.verdict == other.verdict
    assert one.preview is not None
    assert other.preview is not None
    assert one.preview != other.preview
    assert Image.open(io.BytesIO(one.preview)).size == Image.open(io.BytesIO(other.preview)).size
    assert one.hashes is not None
    assert other.hashes is not None
    assert distance(one.hashes.dhash, other.hashes.dhash) <= 2
    assert pdq_distance(one.hashes.pdq.hash, other.hashes.pdq.hash) <= 4


def test_another_decoding_is_another_version_of_what_is_made() -> None:
    assert code_version(Decoding.EXACT) == CODE_VERSION
    assert code_version(Decoding.SCALED) == f"{CODE_VERSION}-scaled"
