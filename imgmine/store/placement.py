"""Whether the places that a table's rows name are there: each within a shard that the store has.

Only sizes are compared; reading the bytes and hashing them is another matter.
"""

import pyarrow as pa

from imgmine.store.base import Store


def misplaced(store: Store, table: pa.Table, shard: str, offset: str, size: str) -> list[str]:
    """Return what is wrong with the places in the columns `shard`, `offset`, `size`; rows without a shard are fine."""
    ends: dict[str, int] = {}
    places = zip(*(table[name].to_pylist() for name in (shard, offset, size)), strict=True)
    for key, start, length in places:
        if key is not None:
            ends[key] = max(ends.get(key, 0), start + length)
    problems = []
    for key, end in sorted(ends.items()):
        stored = store.stat(key)
        if stored is None:
            problems.append(f"{key} is not in the store")
        elif stored.size < end:
            problems.append(f"{key} has {stored.size} bytes, and a row names byte {end}")
    return problems
