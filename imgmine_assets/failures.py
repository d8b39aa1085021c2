"""How an imgmine error becomes a Dagster failure: which can be helped by trying again, and which never."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from imgmine.archives.item import Unavailable
from imgmine.archives.part_file import DiskFull
from imgmine.archives.remote_file import WrongBytes
from imgmine.dataset.relations import unreadable_file
from imgmine.errors import ImgmineError, PersonNeeded
from imgmine.scratch import ScratchFull, StageBusy
from imgmine.store.base import NotInStore, StoreRefused

# Network and store come back; an item that is dark, bytes that are wrong, an input that is missing, credentials that
# are refused, and what only a person can change, do not. Nor does room on a full disk, in the minute that this waits.
PASSING = dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


class NotInCache(ImgmineError):
    """A WARC file that the manifest names is not in the archive cache of this machine, or not as it was checked."""


_PERMANENT = (
    PersonNeeded,
    *(Unavailable, WrongBytes, NotInStore, StoreRefused, NotInCache, StageBusy, DiskFull, ScratchFull),
)
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error into a `Failure` with its message; only those that may pass with time are retried."""
    try:
        yield
    except _PERMANENT as error:
        raise dg.Failure(str(error), metadata=_kind(error), allow_retries=False) from error
    except ImgmineError as error:
        raise dg.Failure(str(error), metadata=_kind(error), allow_retries=not _is_full_disk(error)) from error
    except Exception as error:
        # A damaged file, or a fault of the code: it would be the same the next time.
        message = unreadable_file(error) or f"{type(error).__name__}: {error}"
        raise dg.Failure(str(message), metadata=_kind(error), allow_retries=False) from error


def _kind(error: Exception) -> dict[str, str]:
    return {"error": type(error).__name__}


def _is_full_disk(error: BaseException) -> bool:
    """Whether an error comes from a disk without room, whoever has explained it."""
    cause = error.__cause__
    return cause is not None and ((isinstance(cause, OSError) and cause.errno in _NO_ROOM) or _is_full_disk(cause))
