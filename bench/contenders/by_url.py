"""Which records a plain script takes for originals: by their URL and status, the best format of each id.

imgmine's own rules, which look at the bytes, are not used by any contender but ours.
"""

import re
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

_NAME = re.compile(r"/([A-Za-z0-9]{5}|[A-Za-z0-9]{7})\.(jpe?g|png|gif|webp|mp4|webm)$")


class Originals:
    """The media files met so far: where each lies, and its id on the host."""

    _RANK: ClassVar[dict[str, int]] = {".mp4": 0, ".webm": 0, ".gif": 1, ".png": 2, ".webp": 3, ".jpg": 4, ".jpeg": 4}

    def __init__(self) -> None:
        self.found: list[tuple[Path, str]] = []
        self.name = ""
        self._media_id = ""

    def wanted(self, record: Any) -> bool:
        """Tell whether a warcio record is a media file of i.imgur.com; the next `add` is for it."""
        headers = record.http_headers
        url = record.rec_headers.get_header("WARC-Target-URI") or ""
        return headers is not None and self.offered(url, headers.get_statuscode())

    def offered(self, url: str, status: str) -> bool:
        """Tell the same of a URL and its status; `name` is the URL's path then."""
        parts = urlsplit(url)
        match = _NAME.match(parts.path)
        if parts.hostname != "i.imgur.com" or match is None or status != "200":
            return False
        self.name, self._media_id = match[0], match[1]
        return True

    def add(self, path: Path) -> None:
        """Note where the file lies."""
        self.found.append((path, self._media_id))

    @classmethod
    def best(cls, files: list[tuple[Path, str]]) -> list[Path]:
        """Return the file of the best format of each id, in the order of the ids' first files."""
        chosen: dict[str, Path] = {}
        for path, media_id in files:
            if media_id not in chosen or cls._RANK[path.suffix] < cls._RANK[chosen[media_id].suffix]:
                chosen[media_id] = path
        return list(chosen.values())
