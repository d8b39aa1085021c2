"""What the gate costs, and what a preview loses: exact and scaled decoding beside the bare libraries, on photographs.

    python bench/gate.py --pictures 158 --rounds 3

The pictures are made of the demo's photographs: as they are, at their own size; four of them side by side, 2.1
megapixels of which none is enlarged; and enlarged to 2.1 and to 12 megapixels, with the grain of a camera. Losses are
against the picture decoded in full and brought to the preview's size by a plain bicubic resize, never compressed.
Figures are of CPU seconds, the workers' counted in and their start left out, the best round's; rounds of all ways take
turns. The cosine is of the embedded EfficientNet-Lite0's vectors.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import psutil
from PIL import Image

from imgmine.demo.photographs import reference_photographs, take_photograph
from imgmine.images.decoder_pool import DecoderPool, PictureRequest
from imgmine.images.decoding import Decoding
from imgmine.images.gate import FORMATS, gate
from imgmine.images.hashes import Hashes, pdq
from imgmine.images.previews import QUALITY, preview_jpeg, preview_size, reduced
from imgmine.models.embedder import Embedder, load_embedder
from imgmine.models.preprocessing import read_picture

_QUALITIES = (75, 85, 92)
_ENLARGED = {"2.1 MP, enlarged": (1774, 1184), "12 MP, enlarged": (4240, 2832)}
_OWN = "at most 0.8 MP"
_SIDE_BY_SIDE = "2.1 MP, side by side"
_FEWER = 4  # of the 12 MP ones


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=158, help="pictures of each kind (default 158)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each measurement (default 3)")
    parser.add_argument("--seed", type=int, default=1, help="which pictures are made (default 1)")
    arguments = parser.parse_args()
    kinds = made_pictures(arguments.pictures, arguments.seed)
    losses(kinds)
    speeds(kinds, arguments.rounds)


def made_pictures(count: int, seed: int) -> dict[str, list[bytes]]:
    """Return encoded pictures of each kind; every fourth JPEG is progressive."""
    rng = Random(seed)
    paths = reference_photographs()
    kinds: dict[str, list[bytes]] = {name: [] for name in (_OWN, _SIDE_BY_SIDE, *_ENLARGED)}
    for number in range(count):
        own = Image.open(paths[number % len(paths)]).convert("RGB")
        share = rng.uniform(0.5, 1.0)
        smaller = own.resize((int(own.width * share), int(own.height * share)), Image.Resampling.LANCZOS)
        kinds[_OWN].append(_jpeg(smaller, rng, number))
        kinds[_SIDE_BY_SIDE].append(_jpeg(_side_by_side(rng, paths), rng, number))
        for name, size in _ENLARGED.items():
            if number % _FEWER == 0 or not name.startswith("12"):
                kinds[name].append(_jpeg(take_photograph(rng, size, grain=True), rng, number))
    stills = [Image.open(io.BytesIO(payload)) for payload in kinds[_OWN][: count // 2]]
    kinds["the same as PNG"] = [_encoded(picture, "PNG") for picture in stills]
    kinds["the same as WebP"] = [_encoded(picture, "WEBP", quality=80) for picture in stills]
    return kinds


def _side_by_side(rng: Random, paths: list[Path]) -> Image.Image:
    whole = Image.new("RGB", (1792, 1194))
    for place in ((0, 0), (896, 0), (0, 597), (896, 597)):
        picture = Image.open(rng.choice(paths)).convert("RGB")
        whole.paste(picture.crop((0, 0, 896, 597)), place)  # beyond its own edge it is black
    return whole


def _jpeg(picture: Image.Image, rng: Random, number: int) -> bytes:
    return _encoded(picture, "JPEG", quality=rng.choice(_QUALITIES), progressive=number % 4 == 3)


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def losses(kinds: dict[str, list[bytes]]) -> None:
    """Print what previews lose, in dB and in the cosine of their vectors."""
    embedder = load_embedder("efficientnet-lite0", threads=1)
    ways: dict[str, Callable[[bytes], Image.Image]] = {
        "full, plain bicubic": _plain,
        "exact": partial(_preview, Decoding.EXACT),
        "scaled": partial(_preview, Decoding.SCALED),
    }
    print(
        "| JPEGs | way | dB before it is a JPEG | 5th % | cosine | 1st % | dB of the preview | 5th % | cosine | 1st % |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind in (_SIDE_BY_SIDE, *_ENLARGED):
        for name, way in ways.items():
            columns = np.array([_loss(payload, way, embedder) for payload in kinds[kind]]).T
            cells = [
                "–" if np.isinf(value) else f"{value:{form}}"
                for column, low, form in zip(columns, (5, 1, 5, 1), (".1f", ".4f", ".1f", ".4f"), strict=True)
                for value in np.percentile(column, [50, low], method="lower")
            ]
            print(f"| {kind} | {name} | {' | '.join(cells)} |", flush=True)
    print()


def _plain(payload: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(payload), formats=FORMATS)
    return picture.resize(preview_size(*picture.size), Image.Resampling.BICUBIC)


def _preview(decoding: Decoding, payload: bytes) -> Image.Image:
    verdict, picture = gate(payload, decoding)
    assert picture is not None
    return reduced(picture, (verdict.width or 0, verdict.height or 0))


def _loss(payload: bytes, way: Callable[[bytes], Image.Image], embedder: Embedder) -> tuple[float, ...]:
    """Return dB and cosine against the plain resize: of the pixels, and of the preview that is made of them."""
    wanted, made = _plain(payload), way(payload)
    preview = read_picture(preview_jpeg(made))
    vectors = embedder.embed_pictures([wanted, made, preview])
    cosines = vectors[1:] @ vectors[0]
    return _decibels(wanted, made), float(cosines[0]), _decibels(wanted, preview), float(cosines[1])


def _decibels(one: Image.Image, other: Image.Image) -> float:
    error = np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def speeds(kinds: dict[str, list[bytes]], rounds: int) -> None:
    """Print how many images a CPU second the bare libraries, and a pool of one worker, judge and make previews of."""
    print("| pictures | decoding | bare | in one process | pool | of bare |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind, payloads in kinds.items():
            requests = _spooled(payloads, Path(folder) / "spool")
            for decoding in (Decoding.EXACT,) if "as" in kind or kind == _OWN else Decoding:
                with DecoderPool(1, decoding=decoding) as pool:
                    works = (partial(_bare, decoding), partial(_gated, decoding))
                    bare, ours, pooled = _best(
                        rounds,
                        *(partial(_each, work, payloads) for work in works),
                        partial(_pooled, pool, requests),
                    )
                speed = [f"{len(payloads) / seconds:.1f}" for seconds in (bare, ours, pooled)]
                print(f"| {kind} | {decoding} | {' | '.join(speed)} | {bare / pooled:.2f} |", flush=True)


def _pooled(pool: DecoderPool, requests: list[PictureRequest]) -> None:
    assert all(result.preview for result in pool.pictures(requests))


def _spooled(payloads: list[bytes], path: Path) -> list[PictureRequest]:
    requests, at = [], 0
    for payload in payloads:
        requests.append(PictureRequest(path, at, len(payload)))
        at += len(payload)
    path.write_bytes(b"".join(payloads))
    return requests


def _each(work: Callable[[bytes], object], payloads: list[bytes]) -> None:
    for payload in payloads:
        work(payload)


def _bare(decoding: Decoding, payload: bytes) -> tuple[bytes, bytes]:
    """The same work with the same libraries: no verdict, no metadata, nothing that guards. PDQ is our own for both."""
    picture = Image.open(io.BytesIO(payload))
    full_size = picture.size
    if decoding is Decoding.SCALED:
        picture.draft(None, preview_size(*full_size))
    picture.load()
    small = reduced(picture, full_size)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=QUALITY)
    grey = small.convert("L")
    few = grey.resize((9, 8), Image.Resampling.LANCZOS, reducing_gap=6.0)
    return few.tobytes() + pdq(grey, full_size).hash, out.getvalue()


def _gated(decoding: Decoding, payload: bytes) -> tuple[Hashes, bytes]:
    small = _preview(decoding, payload)
    return Hashes.of(small, Image.open(io.BytesIO(payload)).size), preview_jpeg(small)


def _best(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Return the least CPU seconds of each; the first round only warms up."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(rounds + 1):
        for work, seconds in zip(works, taken, strict=True):
            before = _cpu_seconds()
            work()
            seconds.append(_cpu_seconds() - before)
    return [min(seconds[1:]) for seconds in taken]


def _cpu_seconds() -> float:
    """CPU seconds of this process and of its living workers."""
    children = (child.cpu_times() for child in psutil.Process().children())
    workers: float = sum(times.user + times.system for times in children)
    return time.process_time() + workers


if __name__ == "__main__":
    main()
