"""What a file is and whether it ends early, told from its container: never raises, whatever the bytes."""

from io import BytesIO

from PIL import Image

from fuzz.target import Target, promise
from imgmine.images.containers import ends_early
from imgmine.images.media_types import extension, media_type


def _seeds() -> list[bytes]:
    made = []
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"):
        out = BytesIO()
        Image.new("RGB", (9, 7), (200, 30, 90)).save(out, kind)
        made.append(out.getvalue())
    made.append(b"\0\0\0\x18ftypisom\0\0\2\0isommp41\0\0\0\1mdat\0\0\0\0\0\0\0\x20" + bytes(16))
    made.append(b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska\x42\x87\x81\4")
    return made


def _check(data: bytes) -> None:
    kind = media_type(data)
    promise(kind == media_type(memoryview(data)), "bytes and other buffers are read alike")
    promise(kind is None or extension(kind).isalnum(), "every type has an extension")
    promise(kind == media_type(data[:256]), "a file's first 256 bytes say what it is")
    early = ends_early(data)
    if data[:4] == b"RIFF" and len(data) > 8 and not early:
        promise(int.from_bytes(data[4:8], "little") + 8 <= len(data), "a RIFF that is whole is as long as it says")
    if data[:2] == b"\xff\xd8":
        promise(early or b"\xff\xd9" in data, "a JPEG that is ended has an end marker")
        promise(not ends_early(data + b"trailing") or early, "what follows the end marker changes nothing")


TARGET = Target(
    "containers",
    _seeds,
    _check,
    tokens=(b"\xff\xd8\xff", b"\xff\xd9", b"RIFF", b"WEBP", b"ftyp", b"avif", b"\xff\xff\xff\xff", b"\0\0\0\1mdat"),
)
