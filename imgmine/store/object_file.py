"""An object of a store as a file to read from, a range at a time: so a column of a table comes without the others."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.store.base import NotInStore, Store


def open_parquet(store: Store, key: str) -> pq.ParquetFile:
    """Open a Parquet file in a store; only what is asked of it is fetched. To be closed, as by `with`.

    Read it with `use_threads=False`, as `from_parquet` does and for its reason. Raises `NotInStore`, and
    `ArrowException` where it is no Parquet file.
    """
    return pq.ParquetFile(pa.PythonFile(ObjectFile(store, key), mode="r"), pre_buffer=False)


class ObjectFile(io.RawIOBase):
    """The object under a key, of the size that it had when this was made. Raises `NotInStore` where there is none.

    `bytes_read` counts what was asked of the store.
    """

    def __init__(self, store: Store, key: str) -> None:
        super().__init__()
        stored = store.stat(key)
        if stored is None:
            raise NotInStore(store.uri(key))
        self._store = store
        self._key = key
        self._size = stored.size
        self._at = 0
        self.bytes_read = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        data = self._store.get_range(self._key, self._at, wanted) if wanted else b""
        self._at += len(data)
        self.bytes_read += len(data)
        return data
