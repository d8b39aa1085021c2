"""Items on disk for the miniature Internet Archive, with whatever bytes a test wants in their WARCs."""

import hashlib
import json
from pathlib import Path

IDENTIFIER = "archiveteam_imgur_20230503123456_0a1b2c3d"
COLLECTION = "archiveteam_imgur"


def put_item(
    root: Path, files: dict[str, bytes], identifier: str = IDENTIFIER, publicdate: str = "2023-05-03 12:34:56"
) -> None:
    """Write an item whose files are all WARCs."""
    folder = root / identifier
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for name, content in files.items():
        (folder / name).write_bytes(content)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        listed.append({"name": name, "format": "Web ARChive ZST", "size": str(len(content)), "md5": md5})
    (folder / "item.json").write_text(json.dumps(metadata(identifier, publicdate, listed)))


def metadata(identifier: str, publicdate: str, files: list[dict[str, str]]) -> dict[str, object]:
    """Return what `/metadata/<identifier>` is to answer."""
    about = {"identifier": identifier, "collection": [COLLECTION], "publicdate": publicdate, "mediatype": "web"}
    return {"files": files, "item_size": sum(int(file["size"]) for file in files), "metadata": about}


def put_list(root: Path, dates: dict[str, str]) -> None:
    """Write items without files, by identifier and publicdate."""
    lines = [json.dumps(metadata(identifier, date, [])) for identifier, date in dates.items()]
    (root / "items.jsonl").write_text("\n".join(lines))
