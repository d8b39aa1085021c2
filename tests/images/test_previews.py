import io

import numpy as np
import pytest
from cykooz_resizer import CpuExtensions, FilterType, ResizeAlg, ResizeOptions, Resizer
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgmine.images.previews import preview_jpeg, preview_size, reduced
from tests.images.made_pictures import encoded, photograph


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1200, 800), (672, 448)),
        ((800, 1200), (448, 672)),
        ((448, 448), (448, 448)),
        ((447, 500), (447, 500)),
        ((128, 128), (128, 128)),
        ((8000, 6000), (596, 448)),
        ((300, 60_000), (20, 4096)),
        ((128, 60_000), (8, 4096)),
    ],
)
def test_the_short_side_has_448_pixels_and_nothing_is_enlarged(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert preview_size(*size) == expected


@given(st.integers(1, 700_000), st.integers(1, 700_000))
def test_any_size_gives_a_preview_that_fits_a_jpeg(width: int, height: int) -> None:
    small = preview_size(width, height)
    assert 1 <= min(small) <= 448
    assert all(now <= before for now, before in zip(small, (width, height), strict=True))
    assert small == (width, height) or all(side == 1 or side % 2 == 0 for side in small)
    assert max(small) <= 4096


def test_the_reduction_is_near_an_exact_one() -> None:
    original = photograph(size=(2400, 1600))
    exact = np.asarray(original.resize((672, 448), Image.Resampling.BICUBIC), dtype=float)
    error = np.mean((np.asarray(reduced(original), dtype=float) - exact) ** 2)
    assert 10 * np.log10(255**2 / error) > 50


def test_a_reduction_has_the_same_bytes_whatever_the_processor_can_do() -> None:
    original = photograph(size=(2401, 1603))
    small = reduced(original)
    for extensions in (CpuExtensions.none, CpuExtensions.sse4_1, CpuExtensions.avx2):
        resizer = Resizer()
        resizer.cpu_extensions = extensions  # one that the processor does not have is ignored
        other = Image.new("RGB", small.size)
        resizer.resize_pil(original, other, ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.catmull_rom)))
        assert other.tobytes() == small.tobytes()


def test_a_preview_is_a_plain_jpeg_without_the_originals_metadata() -> None:
    exif = Image.Exif()
    exif[33432] = "Ada"
    original = Image.open(
        io.BytesIO(
            encoded(
                photograph(size=(1200, 800)),
                "JPEG",
                comment=b"secret",
                exif=exif,
                icc_profile=b"p" * 200,
                dpi=(300, 300),
            )
        )
    )
    payload = preview_jpeg(reduced(original))
    preview = Image.open(io.BytesIO(payload))
    assert (preview.format, preview.mode, preview.size) == ("JPEG", "RGB", (672, 448))
    assert set(preview.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    plain = Image.fromarray(np.asarray(original))
    assert preview_jpeg(reduced(plain)) == payload


def test_a_small_picture_keeps_its_pixels_but_for_the_compression() -> None:
    original = photograph(size=(200, 150))
    preview = Image.open(io.BytesIO(preview_jpeg(reduced(original))))
    assert preview.size == (200, 150)
    assert np.abs(np.asarray(preview, dtype=int) - np.asarray(original)).mean() < 4
