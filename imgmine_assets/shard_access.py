"""Reading members of published shards one by one, each shard fetched once where the store is not local."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from imgmine.store.base import Store


@contextmanager
def shard_reader(store: Store, folder: Path) -> Iterator[Callable[[str, int, int], bytes]]:
    """Yield `read(shard_key, offset, size) -> bytes`, which several threads may call at once."""
    descriptors: dict[str, int] = {}
    lock = Lock()

    def read(key: str, offset: int, size: int) -> bytes:
        with lock:
            if key not in descriptors:
                descriptors[key] = os.open(store.local_copy(key, folder), os.O_RDONLY)
        return os.pread(descriptors[key], size, offset)

    try:
        yield read
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)
