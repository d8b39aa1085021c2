"""How an imgmine error becomes a Dagster failure: which can be helped by trying again, and which never."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from imgmine.archives.download import WrongBytes
from imgmine.archives.item import Unavailable
from imgmine.errors import ImgmineError
from imgmine.scratch import StageBusy
from imgmine.store.base import NotInStore

# Network and store come back; an item that is dark, bytes that are wrong or an input that is missing do not.
PASSING = dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


class NotInCache(ImgmineError):
    """A WARC file that the manifest names is not in the archive cache of this machine."""


_PERMANENT = (Unavailable, WrongBytes, NotInStore, NotInCache, StageBusy)


@contextmanager
def explained() -> Iterator[None]:
    """Turn an `ImgmineError` into a `Failure` with its message; permanent ones are not retried."""
    try:
        yield
    except _PERMANENT as error:
        raise dg.Failure(str(error), metadata=_kind(error), allow_retries=False) from error
    except ImgmineError as error:
        raise dg.Failure(str(error), metadata=_kind(error)) from error


def _kind(error: ImgmineError) -> dict[str, str]:
    return {"error": type(error).__name__}
