"""Files of hashes, one a line, as hotlines and platforms share them: read into a `Blocklist`, or told what is wrong.

What the hashes are compared with is not known here.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import xxhash

from imgmine.archives.blocked import Blocklist, HashKind, unpadded
from imgmine.errors import PersonNeeded

_BLOCK = 1 << 20
_LONGEST_LINE = 1 << 16
_HEX = b"0123456789abcdefABCDEF"
_BOM = b"\xef\xbb\xbf"
_VALUE = re.compile(r"(?:(?P<kind>[A-Za-z][\w-]*):\s*)?(?P<digits>[0-9A-Za-z]+)(?=$|[\s,;])", re.ASCII)
_BY_LENGTH = {32: HashKind.MD5, 40: HashKind.SHA1}
_NAMES = {
    "md5": HashKind.MD5,
    "sha1": HashKind.SHA1,
    "sha256": HashKind.SHA256,
    "blake2b": HashKind.BLAKE2B,
    "blake2b256": HashKind.BLAKE2B,
    "pdq": HashKind.PDQ,
    "pdqhash": HashKind.PDQ,
}


class HashListError(PersonNeeded):
    """A list of hashes cannot be read, or has a line that is none."""


def read_blocklist(paths: Iterable[Path]) -> Blocklist:
    """Read lists of hashes: files, or folders of them.

    A line has a hash in hexadecimal; what follows behind a blank, a comma or a semicolon is not read, nor is what
    follows a `#`. Which hash it is, is told by a prefix (`sha1:`); by a line before with the name alone (`sha256`); by
    the heading of its column, where a line with commas, semicolons or tabs names some (`md5,sha1,note`); or by its
    length, 32 digits for MD5 and 40 for SHA-1. 64 digits may be any of three and need one of the former.

    Raises `HashListError`, which names the file and the line.
    """
    parts: dict[HashKind, bytearray] = {}
    for path in list_files(paths):
        _List(path, parts).read()
    return Blocklist({kind: unpadded(kind, joined) for kind, joined in parts.items()})


def parse_hash(text: str) -> tuple[HashKind, bytes]:
    """Return the kind and the bytes of one hash, as in a line without heading. Raises `ValueError`."""
    return _parsed(text.strip(), None)


def list_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files that these paths name: themselves, and what lies in folders, without what begins with a dot.

    Raises `HashListError` where one is not there, or a folder holds none.
    """
    files: list[Path] = []
    for path in paths:
        try:
            path.stat()
            found = [path] if not path.is_dir() else [each for each in path.iterdir() if each.is_file()]
        except OSError as error:
            raise _unreadable(path, error) from error
        found = [each for each in found if each == path or not each.name.startswith(".")]
        if not found:
            raise HashListError(f"{path} has no file: a list of hashes is wanted there.")
        files += sorted(found)
    return files


def lists_version(paths: Iterable[Path]) -> str:
    """Return a short digest of what the files hold, which costs next to nothing: what shows that lists have changed.

    Nothing where there are no lists; where they cannot be read, which is for those to say who need them, `unreadable`.
    """
    paths = tuple(paths)
    whole = xxhash.xxh3_64()
    try:
        for path in list_files(paths):
            with path.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    whole.update(block)
    except (HashListError, OSError):
        return "unreadable"
    return whole.hexdigest()[:8] if paths else ""


def _unreadable(path: Path, error: OSError) -> HashListError:
    return HashListError(f"{path}: the list of hashes cannot be read: {error.strerror or error}.")


class _List:
    """One file, read from front to end; hashes are added to `parts`, those of a kind end to end."""

    def __init__(self, path: Path, parts: dict[HashKind, bytearray]) -> None:
        self._path = path
        self._parts = parts
        self._line = 0
        self._kind: HashKind | None = None
        self._columns: list[HashKind | None] | None = None
        self._separator = ","

    def read(self) -> None:
        try:
            with self._path.open("rb") as stream:
                for block in _blocks(stream):
                    if not self._take_plain(block):
                        self._take_lines(block)
        except OSError as error:
            raise _unreadable(self._path, error) from error
        except ValueError as error:
            raise HashListError(f"{self._path}, line {self._line}: {error}.") from error

    def _take_plain(self, lines: Sequence[bytes]) -> bool:
        """Take lines that are nothing but hashes of one kind, all at once; return whether they were that."""
        digits = len(lines[0])
        kind = self._kind or _BY_LENGTH.get(digits)
        if self._columns is not None or kind is None or digits != 2 * kind.size:
            return False
        if any(len(line) != digits for line in lines):
            return False
        joined = b"".join(lines)
        if joined.translate(None, _HEX):
            return False
        self._add(kind, bytes.fromhex(joined.decode("ascii")))
        self._line += len(lines)
        return True

    def _take_lines(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            self._line += 1
            text = (line.removeprefix(_BOM) if self._line == 1 else line).decode("utf-8", "replace").strip()
            text = re.split(r"(?:^|\s)#", text, maxsplit=1)[0].rstrip()
            if text and not self._take_heading(text):
                self._take_line(text)

    def _take_heading(self, text: str) -> bool:
        name = _named(text)
        if name is not None:
            self._kind, self._columns = name, None
            return True
        for separator in ("\t", ";", ","):
            columns = [_named(field) for field in text.split(separator)] if separator in text else []
            if any(columns):
                self._columns, self._separator = columns, separator
                return True
        return False

    def _take_line(self, text: str) -> None:
        if self._columns is None:
            self._add(*_parsed(text, self._kind))
            return
        fields = next(csv.reader([text], delimiter=self._separator))
        for kind, field in zip(self._columns, fields, strict=False):
            if kind is not None and field.strip():
                self._add(*_parsed(field.strip(), kind))

    def _add(self, kind: HashKind, digests: bytes) -> None:
        self._parts.setdefault(kind, bytearray()).extend(digests)


def _blocks(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines of a file, some at a time, without what ends them. Raises `ValueError` for one without end."""
    rest = b""
    while block := stream.read(_BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            raise ValueError(f"behind it is a line of more than {_LONGEST_LINE} bytes; this is no list of hashes")
        if lines:
            yield [line.rstrip(b"\r") for line in lines] if b"\r" in block else lines
    if rest:
        yield [rest.rstrip(b"\r")]


def _named(text: str) -> HashKind | None:
    """Return the kind that a heading names."""
    return _NAMES.get(text.strip().strip('"').lower().replace("-", "").replace("_", "").replace(" ", ""))


def _parsed(text: str, kind: HashKind | None) -> tuple[HashKind, bytes]:
    shown = repr(text if len(text) <= 80 else f"{text[:80]}…")
    found = _VALUE.match(text)
    if found is None:
        raise ValueError(f"{shown} is no hash")
    if found["kind"] is not None:
        kind = _named(found["kind"])
        if kind is None:
            raise ValueError(f"{found['kind']!r} is no kind of hash; there are {', '.join(HashKind)}")
    digits = found["digits"]
    if kind is None:
        kind = _BY_LENGTH.get(len(digits))
    if kind is None and len(digits) == 64:
        raise ValueError(
            f"{shown} may be SHA-256, BLAKE2b or PDQ: put sha256:, blake2b: or pdq: in front of it, or a line with the "
            "name alone above the first one"
        )
    if kind is None:
        raise ValueError(f"{shown} has {len(digits)} digits, which is no hash that is known here")
    try:
        digest = bytes.fromhex(digits)
    except ValueError:
        raise ValueError(f"{shown} is not hexadecimal") from None
    if len(digest) != kind.size:
        raise ValueError(f"{shown} has {len(digits)} digits, where {kind} has {2 * kind.size}")
    return kind, digest
