"""Which of very many 256-bit codes are near each other, out of core: locality-sensitive hashing by bits of the codes.

Two codes are compared where they have the same bits at the places of one table's key (Indyk and Motwani 1998; Charikar
2002 for signs of projections). Whether two are a pair depends on the two alone, but where very many are alike: then
`window` and `most` bound what is compared and kept. In how many parts the work is done changes nothing. What the codes
are of is `sketches`'; what pairs are kept in, `candidates`'.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from imgmine.dataset.candidates import NO_PAIRS, PAIR, Pairs, nearest

CODE = np.dtype([("rank", "<u4"), ("words", "<u8", (4,))])
"""A code: the place of its image in the order of precedence, and its bits."""

Codes = npt.NDArray[np.void]
Words = npt.NDArray[np.uint64]
Keys = npt.NDArray[np.uint32]

_FIELD_BITS = 2
_FIELDS_OF_A_WORD = 64 // _FIELD_BITS
_KEY_FIELDS = 9
_KEY_BITS = _FIELD_BITS * _KEY_FIELDS
_PART_BITS_MOST = 10
_BLOCK_ROWS = 1 << 15
_PAIRS_AT_ONCE = 1 << 21
_CHUNK_ROWS = 1 << 18


@dataclass(frozen=True)
class Measure:
    """How codes of a kind are compared.

    `radius` is how many bits of a pair may differ; `tables` how many keys are tried; `kind` is what a pair of it is
    called. Of `mirrored` codes the last two words may all be the other way round: they are a pair of `kind + 1` then,
    and keys are taken from the first two words, which a mirror does not change.
    """

    name: str
    kind: int
    radius: int
    tables: int
    mirrored: bool = False

    def key_fields(self, table: int) -> list[tuple[int, int]]:
        """Return word and shift of the 9 pairs of bits of a table's key: drawn by a hash, the same for ever."""
        slots = [
            (word, slot * _FIELD_BITS) for word in range(2 if self.mirrored else 4) for slot in range(_FIELDS_OF_A_WORD)
        ]
        lot = hashlib.shake_256(f"{self.name} {table}".encode()).digest(4 * len(slots))
        drawn = np.argsort(np.frombuffer(lot, "<u4"), kind="stable")[:_KEY_FIELDS]
        return [slots[slot] for slot in drawn]


def find_pairs(
    codes: Path,
    measure: Measure,
    scratch: Path,
    *,
    most: int,
    window: int = 4096,
    part_rows: int = 1 << 20,
    on_table: Callable[[int, int], None] | None = None,
) -> Iterator[Pairs]:
    """Yield the pairs of `CODE`s in a file, which are in order of rank: table by table, so that many come repeatedly.

    Of each code up to `most` earlier ones are given in each yield, the nearest. Within one key a code is compared with
    the `window` before it: without a bound, a million codes that are all alike would take for ever. `part_rows` bounds
    the memory (about 150 bytes a row) and changes nothing else; `scratch` takes the file's size once more.
    """
    count = codes.stat().st_size // CODE.itemsize
    bits = min(_PART_BITS_MOST, max(0, math.ceil(math.log2(max(count, 1) / part_rows))))
    for table in range(measure.tables):
        fields = measure.key_fields(table)
        for part in _parts(codes, fields, bits, scratch / "near.spool"):
            yield from _pairs_of(part, _keys(part, fields), measure, most, window)
        if on_table is not None:
            on_table(table + 1, measure.tables)


def _keys(codes: Codes, fields: list[tuple[int, int]]) -> Keys:
    keys = np.zeros(len(codes), np.uint32)
    words = [np.ascontiguousarray(codes["words"][:, word]) for word in range(4)]
    mask = np.uint64((1 << _FIELD_BITS) - 1)
    for word, shift in fields:
        keys <<= np.uint32(_FIELD_BITS)
        keys |= (words[word] >> np.uint64(shift) & mask).astype(np.uint32)
    return keys


def _order(keys: Keys) -> npt.NDArray[np.intp]:
    """Return the stable order of keys. NumPy sorts numbers of sixteen bits by radix, in an eighth of the time."""
    order = np.argsort((keys & np.uint32(0xFFFF)).astype(np.uint16), kind="stable")
    return order[np.argsort((keys[order] >> np.uint32(16)).astype(np.uint16), kind="stable")]


def _chunks(stream: BinaryIO) -> Iterator[Codes]:
    while len(data := stream.read(_CHUNK_ROWS * CODE.itemsize)):
        yield np.frombuffer(data, CODE)


def _parts(codes: Path, fields: list[tuple[int, int]], bits: int, spool: Path) -> Iterator[Codes]:
    """Yield the codes in parts by the first bits of their keys; in a part they keep their order."""
    if not bits:
        yield np.fromfile(codes, CODE)
        return
    bounds = [np.zeros((1 << bits) + 1, np.int64)]
    try:
        with codes.open("rb") as source, spool.open("wb") as out:
            for chunk in _chunks(source):
                part = (_keys(chunk, fields) >> np.uint32(_KEY_BITS - bits)).astype(np.uint16)
                out.write(np.take(chunk, np.argsort(part, kind="stable")).data)
                sizes = np.concatenate([[0], np.cumsum(np.bincount(part, minlength=1 << bits))])
                bounds.append(bounds[-1][-1] + sizes)
        with spool.open("rb") as source:
            for number in range(1 << bits):
                yield np.concatenate([_read(source, bound[number], bound[number + 1]) for bound in bounds[1:]])
    finally:
        spool.unlink(missing_ok=True)


def _read(source: BinaryIO, start: int, end: int) -> Codes:
    source.seek(int(start) * CODE.itemsize)
    return np.frombuffer(source.read(int(end - start) * CODE.itemsize), CODE)


def _pairs_of(codes: Codes, keys: Keys, measure: Measure, most: int, window: int) -> Iterator[Pairs]:
    """Yield the pairs among codes that have one key.

    Runs of one key are laid out by falling length: what is compared `step` rows apart is then a beginning of them.
    """
    if len(codes) < 2:
        return
    order = _order(keys)
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lengths = np.diff(starts, append=len(ordered))
    by_length = np.argsort(-lengths, kind="stable")
    by_length = by_length[lengths[by_length] > 1]
    found: list[Pairs] = []
    waiting = 0
    for runs in _blocks(lengths, by_length):
        for pairs in _pairs_of_block(codes, order, starts[runs], lengths[runs], measure, window):
            found.append(pairs)
            waiting += len(pairs)
            if waiting > _PAIRS_AT_ONCE:
                found = [nearest(np.concatenate(found), most)]
                waiting = 0
    yield nearest(np.concatenate(found), most) if found else NO_PAIRS


def _blocks(lengths: npt.NDArray[np.int64], runs: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
    """Yield the runs in blocks of some ten thousand rows, which a processor's cache holds, or of one run."""
    ends = np.cumsum(lengths[runs])
    first = 0
    while first < len(runs):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _BLOCK_ROWS, "right")))
        yield runs[first:last]
        first = last


def _pairs_of_block(
    codes: Codes,
    order: npt.NDArray[np.intp],
    starts: npt.NDArray[np.intp],
    lengths: npt.NDArray[np.int64],
    measure: Measure,
    window: int,
) -> Iterator[Pairs]:
    before = np.cumsum(lengths) - lengths
    run = np.repeat(np.arange(len(lengths)), lengths)
    rows = order[np.arange(len(run)) - np.repeat(before - starts, lengths)]
    ranks = codes["rank"][rows]
    words = [np.ascontiguousarray(codes["words"][rows, word]) for word in range(4)]
    # Rows of runs that are longer than `step`: the longest come first.
    for step in range(1, min(int(lengths[0]), window + 1)):
        longer = int(np.searchsorted(-lengths, -step, "left"))
        rows_left = int(before[longer - 1] + lengths[longer - 1])
        early, late = slice(0, rows_left - step), slice(step, rows_left)
        # Never more than 192 bits, so a byte holds them; with mirrored codes only half of the bits tell.
        apart = np.bitwise_count(words[0][early] ^ words[0][late]) + np.bitwise_count(words[1][early] ^ words[1][late])
        if not measure.mirrored:
            apart += np.bitwise_count(words[2][early] ^ words[2][late])
        near = np.flatnonzero(apart <= measure.radius)
        near = near[run[near] == run[near + step]]
        if not len(near):
            continue
        distances, kinds = _compared([word[near] ^ word[near + step] for word in words], measure)
        within = np.flatnonzero(distances <= measure.radius)
        pairs = np.empty(len(within), PAIR)
        pairs["later"] = ranks[near[within] + step]
        pairs["earlier"] = ranks[near[within]]
        pairs["distance"] = distances[within]
        pairs["kind"] = kinds[within]
        yield pairs


def _compared(differing: list[Words], measure: Measure) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    counts = [np.bitwise_count(word).astype(np.int16) for word in differing]
    first, second = counts[0] + counts[1], counts[2] + counts[3]
    if not measure.mirrored:
        return first + second, np.full(len(first), measure.kind, np.uint8)
    turned = 128 - second
    return first + np.minimum(second, turned), (measure.kind + (turned < second)).astype(np.uint8)
