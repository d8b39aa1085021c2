"""A local folder that follows a part of a remote store, for readers that need files.

Only what changed is fetched; what is known of the files lies beside them in a small index. Which objects there are,
and how one is fetched, is the store's business.
"""

import fcntl
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from imgmine.store.base import PENDING, NotInStore, StoredObject

# Their names end in no suffix that a reader of the folder may look for.
_INDEX = ".mirror-index"
_LOCK = ".mirror-lock"
_FETCHES_AT_ONCE = 8
_SAVE_EVERY = 500  # files: what a killed process has to fetch again at most


def bring_up_to_date(
    folder: Path, suffix: str, wanted: Mapping[str, StoredObject], fetch: Callable[[str, Path], str]
) -> None:
    """Make the folder's files that end in `suffix` the wanted ones, given by file name.

    `fetch(key, path)` writes a whole file and returns the tag of what it wrote. One process at a time is at work in a
    folder; others wait. After an error the folder holds what was fetched so far, and the next call goes on from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder):
        known = _read_index(folder)
        for path in folder.iterdir():
            if path.name.startswith(PENDING) or (_is_mirrored(path.name, suffix) and path.name not in wanted):
                path.unlink()
        known = {name: tag for name, tag in known.items() if name in wanted or not name.endswith(suffix)}
        changed = {name: stored for name, stored in wanted.items() if not _is_current(folder / name, stored, known)}
        try:
            _fetch_all(folder, changed, fetch, known)
        finally:
            _write_index(folder, known)


def _fetch_all(
    folder: Path, changed: Mapping[str, StoredObject], fetch: Callable[[str, Path], str], known: dict[str, str]
) -> None:
    with ThreadPoolExecutor(_FETCHES_AT_ONCE) as pool:
        fetching = {pool.submit(fetch, stored.key, folder / name): name for name, stored in changed.items()}
        try:
            for count, future in enumerate(as_completed(fetching), 1):
                name = fetching[future]
                try:
                    known[name] = future.result()
                except NotInStore:  # removed since it was listed
                    (folder / name).unlink(missing_ok=True)
                    known.pop(name, None)
                if count % _SAVE_EVERY == 0:
                    _write_index(folder, known)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _is_mirrored(name: str, suffix: str) -> bool:
    return name.endswith(suffix) and name not in (_INDEX, _LOCK)


def _is_current(path: Path, stored: StoredObject, known: Mapping[str, str]) -> bool:
    return known.get(path.name) == stored.tag and path.is_file() and path.stat().st_size == stored.size


def _read_index(folder: Path) -> dict[str, str]:
    """Return the tag of each file that was fetched; nothing where there is no index, or none that makes sense."""
    try:
        known = json.loads((folder / _INDEX).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_index(folder: Path, known: Mapping[str, str]) -> None:
    draft = folder / f"{PENDING}{uuid.uuid4().hex}"
    draft.write_text(json.dumps(known, indent=0, sort_keys=True))
    draft.replace(folder / _INDEX)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
