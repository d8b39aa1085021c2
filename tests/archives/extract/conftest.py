"""A pool of decoders, and a function that writes WARC files and extracts them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from imgmine.archives.extract import Extraction
from imgmine.images.decoder_pool import DecoderPool
from tests.archives.extract.extracting import Extract, extracted
from tests.archives.small_warcs import Answer, Compression, write_warc


@pytest.fixture(scope="session")
def decoders() -> Iterator[DecoderPool]:
    with DecoderPool(workers=1) as pool:
        yield pool


@pytest.fixture
def extract(tmp_path: Path, decoders: DecoderPool) -> Extract:
    """Return a function that writes WARC files of the answers given and extracts them."""
    runs = iter(range(1000))

    def run(
        warcs: Mapping[str, Sequence[Answer]] | Sequence[Answer],
        *,
        compression: Compression = "dictionary",
        **options: object,
    ) -> Extraction:
        folder = tmp_path / f"run-{next(runs)}"
        folder.mkdir()
        named = warcs if isinstance(warcs, Mapping) else {"a.warc.zst": warcs}
        for name, answers in named.items():
            write_warc(folder / name, answers, compression)
        return extracted(folder, list(named), decoders, **options)

    return run
