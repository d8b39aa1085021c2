"""Fetching one file of a model, at a pinned revision, from the hub: huggingface.co, or what answers as it does.

A download that breaks off goes on where it stopped. What the file is for, and whether it is right, is `adding`'s.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import requests

from imgmine import __version__
from imgmine.archives.retry import TEMPORARY_STATUSES, RetryPolicy, TemporaryFailure, retry_after_seconds
from imgmine.models.card_fields import ModelError
from imgmine.models.cards import file_sha256

SCHEME = "hf:"

_SHAPE = "hf:OWNER/NAME@REVISION/PATH"
_ID = re.compile(r"hf:([\w.-]+/[\w.-]+)@([^/@]+)/([^@]+)")
_REVISION = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository of the hub, at one commit."""

    repository: str
    revision: str
    path: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}@{self.revision}/{self.path}"

    @classmethod
    def parse(cls, text: str) -> "HubFile":
        """Read `hf:owner/name@<40 hexadecimal digits>/path`. Raises `ModelError`: a branch or a tag can move."""
        found = _ID.fullmatch(text)
        if found is None or ".." in found[3].split("/"):
            raise ModelError(f"{text!r} is no file of the hub: {_SHAPE} is wanted.")
        if not _REVISION.fullmatch(found[2]):
            raise ModelError(
                f"{text!r}: {found[2]!r} is no commit but a name that can move. Give the 40 hexadecimal digits of the "
                "commit, which the hub shows beside each file's history."
            )
        return cls(found[1], found[2], found[3])

    def url(self, hub: str) -> str:
        """Return where the hub has it."""
        return f"{hub}/{self.repository}/resolve/{self.revision}/{quote(self.path)}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that has arrived whole, and the SHA-256 that the hub says it has (None: it says none)."""

    path: Path
    said: str | None


class _Answer:
    """What the hub says of a file in the heads of a response and of the redirects before it."""

    def __init__(self, response: requests.Response) -> None:
        heads = [answer.headers for answer in (*response.history, response)]
        etags = [head.get("X-Linked-Etag", "").strip('W/"') for head in heads]
        self.sha256 = next((etag for etag in etags if _SHA256.fullmatch(etag)), None)
        self.commit = next((head["X-Repo-Commit"] for head in heads if "X-Repo-Commit" in head), None)


def fetch(
    file: HubFile,
    hub: str,
    folder: Path,
    *,
    retry: RetryPolicy | None = None,
    timeout: float = 60.0,
    progress: Callable[[int, int | None], None] | None = None,
) -> Fetched:
    """Fetch a file into `folder`, going on with what an earlier call left there.

    `hub` is the scheme, host and perhaps port of the hub; redirects are followed. `progress` is told bytes and total.
    Raises `ModelError` where the file is not there, is not to be had without an account, is of another commit, has
    another SHA-256 than the hub says, or the hub does not answer as often as it was asked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(file.url(hub).encode()).hexdigest()[:32]
    retry = retry or RetryPolicy(attempts=5)
    failures = 0
    with requests.Session() as session:
        session.headers["User-Agent"] = f"imgmine/{__version__}"
        session.headers["Accept-Encoding"] = "identity"  # a part of a compressed answer is no part of the file
        while True:
            before = _size(path)
            try:
                said = _attempt(session, file, hub, path, timeout, progress)
                break
            except TemporaryFailure as failure:
                failures = 1 if _size(path) > before else failures + 1
                if not retry.wait(failures, failure):
                    raise ModelError(f"{file} could not be fetched from {hub}: {failure}. Try again later.") from None
    if said is not None and (found := file_sha256(path)) != said:
        path.unlink()
        raise ModelError(f"{file} arrived with SHA-256 {found}; {hub} says {said}. Fetch it again.")
    return Fetched(path, said)


def _attempt(
    session: requests.Session,
    file: HubFile,
    hub: str,
    path: Path,
    timeout: float,
    progress: Callable[[int, int | None], None] | None,
) -> str | None:
    """Fetch what is missing, and return the SHA-256 that the hub says."""
    have = _size(path)
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with session.get(file.url(hub), headers=headers, stream=True, timeout=timeout) as response:
            answer = _Answer(response)
            if response.status_code == requests.codes.range_not_satisfiable:
                if response.headers.get("Content-Range") == f"bytes */{have}":
                    return answer.sha256  # all of it is there
                path.unlink()
                raise TemporaryFailure("what was fetched before is no part of it")
            _require_success(file, hub, response)
            if answer.commit is not None and answer.commit != file.revision:
                raise ModelError(f"{file}: {hub} answers with another commit, {answer.commit}.")
            start = _start(response)
            if start > have:
                raise TemporaryFailure(f"it was sent from byte {start} on, and only {have} bytes before are there")
            total = None if (length := response.headers.get("Content-Length")) is None else start + int(length)
            with path.open("r+b" if start else "wb") as out:
                out.truncate(start)
                out.seek(start)
                for block in response.iter_content(_BLOCK):
                    out.write(block)
                    if progress is not None:
                        progress(out.tell(), total)
                out.flush()
                os.fsync(out.fileno())
    except requests.RequestException as error:
        raise TemporaryFailure(str(error)) from error
    except OSError as error:  # after the above, which is one too
        raise ModelError(
            f"{file} cannot be written to {path}: {error}. Make room there, or set IMGMINE_HOME to a folder that has "
            "it; the download goes on where it stopped."
        ) from error
    if total is not None and (arrived := _size(path)) != total:
        raise TemporaryFailure(f"it broke off at {arrived} of {total} bytes")
    return answer.sha256


def _require_success(file: HubFile, hub: str, response: requests.Response) -> None:
    status = response.status_code
    if status in TEMPORARY_STATUSES:
        raise TemporaryFailure(f"status {status}", retry_after_seconds(response.headers))
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        raise ModelError(
            f"{file}: {hub} gives it only to those who have an account there (status {status}), or has no such "
            "repository. Fetch it yourself and add the file."
        )
    if status not in (requests.codes.ok, requests.codes.partial_content):
        raise ModelError(f"{file}: {hub} has no such file at that commit (status {status}).")


def _start(response: requests.Response) -> int:
    """Return the offset in the file of the first byte of the answer's body."""
    if response.status_code != requests.codes.partial_content:
        return 0  # the server does not know of ranges: all of it comes again
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if found is None:
        raise TemporaryFailure("a part was sent that does not say which")
    return int(found[1])


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
