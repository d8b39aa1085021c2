"""Our preprocessing beside the image processors of `transformers`, value for value."""

import logging
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imgmine.models.cards import CARD_FILE, Interpolation, read_card, shipped_card
from imgmine.models.preprocessing import preprocess, read_picture
from tests.models.photographs import photographs, preview

logging.getLogger("transformers").setLevel(logging.ERROR)  # it says that PyTorch is not there, which is as wanted
from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil  # noqa: E402

Reference = Callable[[Image.Image], np.ndarray]
TOLERANCE = 1e-3


def reference(name: str) -> Reference:
    """The published processor of a shipped model, with its class's settings; SigLIP 2 has another filter."""
    if name.startswith("clip"):
        processor = CLIPImageProcessorPil()
    else:
        processor = SiglipImageProcessorPil(resample=Image.Resampling.BILINEAR)
    return lambda picture: np.asarray(processor(picture, return_tensors="np")["pixel_values"][0])


def difference(name: str, picture: Image.Image) -> float:
    ours = preprocess(picture, read_card(shipped_card(name) / CARD_FILE))
    theirs = reference(name)(picture)
    assert ours.shape == theirs.shape == (3, 224, 224)
    return float(np.abs(ours - theirs).max())


MODELS = ("clip-vit-b-16", "clip-vit-b-32", "clip-vit-l-14", "siglip2-base-patch16-224")


@pytest.mark.parametrize("name", MODELS)
def test_photographs_and_their_previews_come_out_as_with_transformers(name: str) -> None:
    for picture in photographs().values():
        assert difference(name, picture) < TOLERANCE
        assert difference(name, read_picture(preview(picture))) < TOLERANCE


def odd_shapes() -> Iterator[tuple[int, int]]:
    yield from [(1, 1), (1, 300), (300, 1), (2, 250), (223, 225), (224, 224), (225, 224), (5, 7), (1000, 3)]
    yield from [(4096, 128), (128, 4096), (3000, 224), (224, 3001), (3, 200), (801, 1200)]


@pytest.mark.parametrize("size", odd_shapes(), ids=lambda size: f"{size[0]}x{size[1]}")
def test_odd_shapes_come_out_as_with_transformers(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(size).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    for name in ("clip-vit-b-32", "siglip2-base-patch16-224"):
        assert difference(name, Image.fromarray(pixels)) < TOLERANCE


@given(st.integers(1, 500), st.integers(1, 500), st.sampled_from(Interpolation), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_any_shape_comes_out_as_with_transformers(width: int, height: int, kind: Interpolation, seed: int) -> None:
    if max(width, height) > 60 * min(width, height):
        width = height = min(width, height)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    card = read_card(shipped_card("clip-vit-b-32") / CARD_FILE)
    card = type(card)(**{**vars(card), "interpolation": kind})
    processor = CLIPImageProcessorPil(resample=Image.Resampling[kind.name])
    theirs = np.asarray(processor(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0])
    assert np.abs(preprocess(Image.fromarray(pixels), card) - theirs).max() < TOLERANCE


@pytest.mark.parametrize("mode", ["P", "L", "RGBA", "CMYK", "1"])
def test_other_modes_become_rgb_as_with_transformers(mode: str) -> None:
    picture = photographs()["coffee"].convert(mode)
    assert difference("clip-vit-b-16", picture) < TOLERANCE
