"""The files of an Internet Archive item beside its WARC files, and the answer of its metadata API.

The WARC files themselves are written by `source_warcs`.
"""

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from imgmine.demo.pictures_drawn import draw
from imgmine.demo.plan import ArchivePlan
from imgmine.demo.source_warcs import CdxLine, SourceWarc, Written

CDX_HEADER = " CDX N b a m s k r M S V g"
ITEM_JSON = "item.json"
_COLLECTIONS = ("archiveteam_imgur", "archiveteam")


def write_item_files(plan: ArchivePlan, folder: Path, written: Written) -> None:
    """Write everything that an item has beside its WARC files, and `item.json`, into `folder`."""
    rng = Random(f"item/{plan.seed}/{plan.identifier}")
    formats: dict[str, tuple[str, str]] = {file.name: ("original", "Web ARChive ZST") for file in plan.files}
    for number, file in enumerate(plan.files):
        stem = file.name.removesuffix(".warc.zst")
        _write_gzip(folder / f"{stem}.json.gz", sources_as_json(written.sources[file.name]).encode())
        formats[f"{stem}.json.gz"] = ("original", "GZIP")
        _write_tar(folder / f"{stem}.tar", plan, rng if number == 0 else None)
        formats[f"{stem}.tar"] = ("original", "TAR")
    _write_gzip(folder / plan.cdx_name, cdx(written.cdx).encode())
    formats[plan.cdx_name] = ("derivative", "Item CDX Index")
    thumb = draw("website", f"thumb/{plan.seed}", 1.0).resize((180, 126))
    thumb.save(folder / "__ia_thumb.jpg", "JPEG", quality=75)
    formats["__ia_thumb.jpg"] = ("original", "Item Tile")
    metadata = _metadata(plan)
    (folder / f"{plan.identifier}_meta.xml").write_text(_meta_xml(metadata))
    formats[f"{plan.identifier}_meta.xml"] = ("original", "Metadata")
    rows = [_file_row(folder / name, source, kind, plan) for name, (source, kind) in sorted(formats.items())]
    (folder / f"{plan.identifier}_files.xml").write_text(_files_xml(rows, f"{plan.identifier}_files.xml"))
    write_item_json(plan, folder, rows, metadata, rng)


def surt(url: str) -> str:
    """Return the sort-friendly form of a URL, the first column of a CDX."""
    parts = urlsplit(url)
    host = ",".join(reversed(parts.netloc.lower().split(".")))
    return f"{host}){parts.path.lower() or '/'}{f'?{parts.query.lower()}' if parts.query else ''}"


def cdx(lines: Iterable[CdxLine]) -> str:
    """Return the text of a CDX: its header, then the lines in their order."""
    rows = [
        f"{surt(line.url)} {line.captured_at:%Y%m%d%H%M%S} {line.url} {line.mime} {line.status} "
        f"{line.digest or '-'} - - {line.length} {line.offset} {line.warc_file}"
        for line in lines
    ]
    return "".join(f"{row}\n" for row in [CDX_HEADER, *sorted(rows)])


def sources_as_json(sources: Iterable[SourceWarc]) -> str:
    """Return the text of a `.megawarc.json`: one line for each source WARC, with where it lies in the megawarc."""
    lines, entry = [], 0
    for source in sources:
        header = {
            "name": source.name,
            "mode": 0o644,
            "uid": 1000,
            "gid": 1000,
            "size": source.size,
            "mtime": int(source.written.timestamp()),
            "chksum": 0,
            "type": "0",
            "linkname": "",
            "uname": "",
            "gname": "",
            "devmajor": 0,
            "devminor": 0,
        }
        padded = 512 + -(-source.size // 512) * 512
        offsets = {"entry": entry, "data": entry + 512, "next_entry": entry + padded}
        entry += padded
        target = {"container": "warc", "offset": source.offset, "size": source.size}
        lines.append(json.dumps({"target": target, "src_offsets": offsets, "header_fields": header}))
    return "".join(f"{line}\n" for line in lines)


def _write_gzip(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data, 9, mtime=0))


def _write_tar(path: Path, plan: ArchivePlan, rng: Random | None) -> None:
    """Write the tar of source WARCs that would not decompress: with `rng` one of them, otherwise none."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        if rng is not None:
            broken = b"\x28\xb5\x2f\xfd\x24" + rng.randbytes(3000)
            member = tarfile.TarInfo(f"imgur-{rng.randbytes(5).hex()}-{plan.packed:%Y%m%d-%H%M%S}.warc.zst")
            member.size, member.mtime = len(broken), int(plan.packed.timestamp())
            tar.addfile(member, io.BytesIO(broken))


def _metadata(plan: ArchivePlan) -> dict[str, str | list[str]]:
    return {
        "identifier": plan.identifier,
        "mediatype": "web",
        "collection": list(_COLLECTIONS),
        "title": f"Archive Team Imgur: {plan.identifier.removeprefix('archiveteam_imgur_')}",
        "description": "An imgmine demo in the format of Archive Team's Imgur crawl. Nothing in it was crawled.",
        "creator": "imgmine demo",
        "contributor": "imgmine demo",
        "date": f"{plan.packed:%Y-%m}",
        "subject": ["archiveteam", "imgur", "demo"],
        "scanner": "Internet Archive Python library 3.5.0",
        "uploader": "demo@example.org",
        "noindex": "true",
        "publicdate": f"{plan.published:%Y-%m-%d %H:%M:%S}",
        "addeddate": f"{plan.published:%Y-%m-%d %H:%M:%S}",
    }


def _meta_xml(metadata: dict[str, str | list[str]]) -> str:
    lines = []
    for name, value in metadata.items():
        lines += [f"  <{name}>{escape(text)}</{name}>" for text in (value if isinstance(value, list) else [value])]
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', "<metadata>", *lines, "</metadata>", ""])


def _file_row(path: Path, source: str, kind: str, plan: ArchivePlan) -> dict[str, str]:
    md5, sha1, crc32 = hashlib.md5(), hashlib.sha1(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            md5.update(block)
            sha1.update(block)
            crc32 = zlib.crc32(block, crc32)
    row = {
        "name": path.name,
        "source": source,
        "format": kind,
        "mtime": str(int(plan.published.timestamp())),
        "size": str(path.stat().st_size),
        "md5": md5.hexdigest(),
        "crc32": f"{crc32:08x}",
        "sha1": sha1.hexdigest(),
    }
    if source == "derivative":
        row["original"] = plan.files[0].name
    return row


def _files_xml(rows: Sequence[dict[str, str]], own_name: str) -> str:
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<files>"]
    for row in rows:
        lines.append(f'  <file name="{escape(row["name"])}" source="{row["source"]}">')
        lines += [
            f"    <{name}>{escape(value)}</{name}>" for name, value in row.items() if name not in ("name", "source")
        ]
        lines.append("  </file>")
    lines += [
        f'  <file name="{escape(own_name)}" source="original">',
        "    <format>Metadata</format>",
        "  </file>",
        "</files>",
        "",
    ]
    return "\n".join(lines)


def write_item_json(
    plan: ArchivePlan, folder: Path, rows: Sequence[dict[str, str]], metadata: dict[str, str | list[str]], rng: Random
) -> None:
    """Write what the metadata API answers for the item; as there, the list of files has no size of itself."""
    own = folder / f"{plan.identifier}_files.xml"
    own_row = {
        "name": own.name,
        "source": "original",
        "format": "Metadata",
        "md5": hashlib.md5(own.read_bytes()).hexdigest(),
        "summation": "md5",
    }
    files = sorted([*rows, own_row], key=lambda row: row["name"])
    place = f"/{rng.randrange(1, 36)}/items/{plan.identifier}"
    servers = [f"ia{rng.randrange(600000, 905000)}.us.archive.org" for _ in range(2)]
    updated = int(plan.published.timestamp())
    answer = {
        "created": updated + 3600,
        "d1": servers[0],
        "d2": servers[1],
        "dir": place,
        "files": files,
        "files_count": len(files),
        "item_last_updated": updated,
        "item_size": sum(int(row["size"]) for row in rows) + own.stat().st_size,
        "metadata": metadata,
        "server": servers[0],
        "uniq": rng.randrange(10**8, 2 * 10**9),
        "workable_servers": servers,
    }
    (folder / ITEM_JSON).write_text(json.dumps(answer, indent=1) + "\n")
