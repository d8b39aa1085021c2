"""Cases made of seeds without coverage: bytes flipped, cut, moved, joined, numbers set to what breaks readers.

For native code, which nothing here can look into, and for machines on which atheris does not install.
"""

from collections.abc import Iterator, Sequence
from random import Random

_EDGES = (0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


def cases(seeds: Sequence[bytes], tokens: Sequence[bytes], longest: int, seed: int) -> Iterator[bytes]:
    """Yield the seeds, then mutations of them without end: the same ones for the same `seed`."""
    yield from seeds
    rng = Random(seed)
    while True:
        case = bytearray(rng.choice(seeds))
        for _ in range(min(1 + int(rng.expovariate(0.5)), 12)):
            _mutate(case, rng, seeds, tokens)
        yield bytes(case[:longest])


def _mutate(case: bytearray, rng: Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    """Change `case` in one place."""
    at = rng.randrange(len(case) + 1)
    length = min(int(rng.expovariate(0.05)) + 1, len(case))
    match rng.randrange(10):
        case 0 | 1 if case:
            case[at % len(case)] ^= 1 << rng.randrange(8)
        case 2:
            case[at : at + length] = rng.randbytes(min(length, len(case) - at))
        case 3:
            del case[at : at + length]
        case 4 if rng.random() < 0.3:
            del case[at:]
        case 5:
            case[at:at] = rng.randbytes(length)
        case 6:
            width = rng.choice((1, 2, 4, 8))
            number = (rng.choice(_EDGES) + rng.randrange(-1, 2)) % (1 << 8 * width)
            case[at : at + width] = (
                number.to_bytes(width, "big") if rng.random() < 0.5 else number.to_bytes(width, "little")
            )
        case 7:
            other = rng.choice(seeds)
            begin = rng.randrange(len(other) + 1)
            case[at : at + length] = other[begin : begin + length]
        case 8 if tokens:
            token = rng.choice(tokens)
            case[at : at + rng.choice((0, len(token)))] = token
        case 9:
            begin = rng.randrange(len(case) + 1)
            case[at:at] = case[begin : begin + length]
