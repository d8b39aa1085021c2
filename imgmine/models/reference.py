"""The reference images that a detector learns "usual" from: a folder of good pictures, or a sample of the dataset.

Which images are chosen depends on the seed and on their own BLAKE2b, never on the order in which they are met.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from imgmine.decisions import ImageDecision
from imgmine.errors import ImgmineError
from imgmine.images.decoder_pool import DecoderPool, PictureRequest
from imgmine.images.media_types import media_type
from imgmine.models.embedder import Embedder
from imgmine.models.vectors import dimension_of, vectors_of

MOST_ROWS = 10_000
MOST_ARCHIVES = 50

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic"})
_HEAD = 4096
_MOST_NAMED = 20


class ReferenceUnreadable(ImgmineError):
    """The reference cannot be read."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A picture of the reference folder that did not pass the gate, and why."""

    path: Path
    decision: ImageDecision
    detail: str | None


@dataclass(frozen=True, slots=True)
class Reference:
    """Reference vectors (n, d), float32 as they come out of the store (rounded to half precision), in a fixed order.

    `source` says where they came from, for the card. `keys` are the BLAKE2b of their files; `paths` the files
    themselves, where they came from a folder, and empty where they are a sample of the dataset's own.
    """

    vectors: np.ndarray
    keys: tuple[bytes, ...]
    source: str
    rejected: tuple[Rejected, ...] = ()
    paths: tuple[Path, ...] = ()

    @property
    def digest(self) -> str:
        """The hexadecimal BLAKE2b-128 of the vectors and their keys."""
        digest = hashlib.blake2b(b"".join(self.keys), digest_size=16)
        digest.update(np.ascontiguousarray(self.vectors, "<f4").tobytes())
        return digest.hexdigest()

    def about(self) -> dict[str, Any]:
        """Return what the card says of the reference, in JSON's types."""
        return {
            "source": self.source,
            "own_sample": not self.paths,
            "digest": self.digest,
            "rejected": len(self.rejected),
            "rejected_files": [
                f"{rejected.path.name}: {rejected.decision}{f' ({rejected.detail})' if rejected.detail else ''}"
                for rejected in self.rejected[:_MOST_NAMED]
            ],
        }


def reference_from_folder(
    folder: Path, embedder: Embedder, decoders: DecoderPool, *, seed: int = 0, rows: int = MOST_ROWS
) -> Reference:
    """Return the vectors of up to `rows` distinct pictures in a folder and the folders below it.

    They pass the gate that the dataset's own pass, and are embedded from the same kind of preview. A picture that does
    not pass is in `rejected`; a file that is no picture is left alone. Raises `ReferenceUnreadable`.
    """
    rejected: list[Rejected] = []
    accepted: list[tuple[bytes, Path]] = []
    files = _chosen_files(folder, seed)
    requests = (PictureRequest(path, 0, path.stat().st_size) for _, path in files)

    def previews() -> Iterator[bytes]:
        for (key, path), result in zip(files, decoders.pictures(requests), strict=True):
            if result.preview is None:
                rejected.append(Rejected(path, result.verdict.decision, result.verdict.detail))
                continue
            accepted.append((key, path))
            # As an archive's images are embedded, so the reference is.
            verdict = result.verdict
            if embedder.wants_original(verdict.width or 0, verdict.height or 0):
                yield path.read_bytes()
            else:
                yield result.preview
            if len(accepted) == rows:
                return

    batches = list(embedder.embed(previews()))
    vectors = np.concatenate([np.empty((0, embedder.card.dimension), np.float32), *batches])
    return Reference(
        vectors=_as_stored(vectors),
        keys=tuple(key for key, _ in accepted),
        source=f"the folder {folder.name}",
        rejected=tuple(rejected),
        paths=tuple(path for _, path in accepted),
    )


def chosen_archives(
    archives: Iterable[str], seed: int, most: int = MOST_ARCHIVES, *, serves: Callable[[str], bool] = lambda _: True
) -> list[str]:
    """Return the archives that a sample is drawn from: of those that serve, the ones of the smallest keyed hash.

    An archive has some 20,000 images; a sample of 10,000 from 50 archives does not want for variety. `serves` is asked
    of each in that order, until there are enough.
    """

    def order(archive: str) -> bytes:
        return hashlib.blake2b(archive.encode(), key=str(seed).encode(), digest_size=16).digest()

    return list(itertools.islice(filter(serves, sorted(archives, key=order)), most))


def sample_embeddings(tables: Iterable[pa.Table], *, seed: int = 0, rows: int = MOST_ROWS) -> Reference:
    """Return a sample of up to `rows` distinct images of `embeddings` tables: those of the smallest keyed hash.

    The same images are chosen whatever the order of the tables, and an image of several archives counts once. At most
    `rows` vectors and one table are in memory. Raises `ReferenceUnreadable` where two tables differ in dimension.
    """
    best: list[tuple[int, bytes, bytes]] = []
    archives = 0
    dimension = None
    for table in tables:
        archives += 1
        if dimension not in (None, dimension_of(table)):
            raise ReferenceUnreadable(
                f"Embeddings of {dimension} and of {dimension_of(table)} dimensions cannot be one reference. "
                "Materialize the embeddings of every archive with one model."
            )
        dimension = dimension_of(table)
        keys: list[bytes] = table["blake2b"].to_pylist()
        hashes = keyed_hash(keys, seed)
        limit = best[-1][0] if len(best) == rows else np.iinfo(np.uint64).max
        wanted = np.flatnonzero(hashes <= limit)
        vectors = vectors_of(table.take(pa.array(wanted))).astype(np.float16)
        found = ((int(hashes[row]), keys[row], vector.tobytes()) for row, vector in zip(wanted, vectors, strict=True))
        best = _distinct(sorted([*best, *found]))[:rows]
    flat = np.frombuffer(b"".join(vector for _, _, vector in best), np.float16)
    return Reference(
        vectors=flat.reshape(len(best), dimension or 0).astype(np.float32),
        keys=tuple(key for _, key, _ in best),
        source=f"a sample of the dataset's own images, from {archives} archive{'' if archives == 1 else 's'}",
    )


def keyed_hash(keys: Sequence[bytes], seed: int) -> np.ndarray:
    """Return a 64-bit hash of each BLAKE2b (32 bytes) for a seed: uint64 (n,), uniform and independent between seeds.

    Digests are uniform already, so a mix of their first 8 bytes with the seed (the finaliser of SplitMix64) is enough.
    """
    salt = hashlib.blake2b(str(seed).encode(), digest_size=8).digest()
    mixed = np.frombuffer(b"".join(key[:8] for key in keys), "<u8") ^ np.frombuffer(salt, "<u8")
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _distinct(ordered: Sequence[tuple[int, bytes, bytes]]) -> list[tuple[int, bytes, bytes]]:
    """Leave out all but the first of each key, of rows in order."""
    return [row for number, row in enumerate(ordered) if not number or row[1] != ordered[number - 1][1]]


def _chosen_files(folder: Path, seed: int) -> list[tuple[bytes, Path]]:
    """Return key and path of each distinct picture file, in order of the keyed hash."""
    if not folder.is_dir():
        raise ReferenceUnreadable(f"IMGMINE_REFERENCE: {folder} is not a folder.")
    found: dict[bytes, Path] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            with path.open("rb") as stream:
                head = stream.read(_HEAD)
                if not (media_type(head) or "").startswith("image/") and path.suffix.lower() not in _SUFFIXES:
                    continue
                stream.seek(0)
                key = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=32)).digest()
        except OSError as error:
            raise ReferenceUnreadable(f"{path} cannot be read: {error.strerror}.") from error
        found.setdefault(key, path)
    hashes = keyed_hash(list(found), seed)
    return [file for _, file in sorted(zip(hashes.tolist(), found.items(), strict=True))]


def _as_stored(vectors: np.ndarray) -> np.ndarray:
    return vectors.astype(np.float16).astype(np.float32)
