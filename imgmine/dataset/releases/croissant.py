"""The release as Croissant describes datasets: JSON-LD of the vocabulary of MLCommons, version 1.0.

Format: https://docs.mlcommons.org/croissant/docs/croissant-spec.html. Its records are the rows of the Parquet files,
with the pictures where the release has that layout.
"""

import json
from typing import Any

import pyarrow as pa

from imgmine.dataset.releases.packing import SAMPLES_FILE
from imgmine.dataset.releases.recipe import Layout, Recipe
from imgmine.dataset.releases.release import Release
from imgmine.dataset.releases.samples import IMAGE, MEANINGS, PACKED, PLANNED, SAMPLES

_PARQUET = "application/x-parquet"
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(release: Release, recipe: Recipe) -> bytes:
    """Return `croissant.json`. Files are named relative to it, so it holds wherever the release is copied to."""
    with_images = Layout.PARQUET in recipe.layouts
    layout, files = (Layout.PARQUET.value, "data") if with_images else (SAMPLES_FILE, SAMPLES_FILE)
    said: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": recipe.name,
        "alternateName": recipe.title,
        "description": recipe.description,
        "license": recipe.licence,
        "citeAs": f"{recipe.title}, {release.version}",
        "version": f"{release.version.removeprefix('v')}.0.0",
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": "parquet-files",
                "name": "parquet-files",
                "description": f"{len(release.shards)} shards; release.json has the SHA-256 of each.",
                "encodingFormat": _PARQUET,
                "includes": f"{files}/*.parquet",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "images",
                "name": "images",
                "description": "One record for each image.",
                "key": {"@id": "images/blake2b"},
                "field": [
                    *([_image_field()] if with_images else []),
                    *(_field(field) for field in ((*PLANNED, *PACKED) if with_images else SAMPLES)),
                ],
            }
        ],
    }
    if recipe.url:
        said["url"] = recipe.url
    if recipe.published:
        said["datePublished"] = recipe.published.isoformat()
    assert release.files(layout)
    return json.dumps(said, indent=1, ensure_ascii=False).encode() + b"\n"


def _image_field() -> dict[str, Any]:
    field = _described(IMAGE.name, "sc:ImageObject")
    field["source"]["transform"] = {"jsonPath": "bytes"}
    return field


def _field(field: pa.Field) -> dict[str, Any]:
    kind = "sc:Text"
    if pa.types.is_integer(field.type):
        kind = "sc:Integer"
    elif pa.types.is_floating(field.type):
        kind = "sc:Float"
    elif pa.types.is_timestamp(field.type):
        kind = "sc:Date"
    return _described(field.name, kind)


def _described(name: str, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"images/{name}",
        "name": name,
        "description": MEANINGS[name],
        "dataType": kind,
        "source": {"fileSet": {"@id": "parquet-files"}, "extract": {"column": name}},
    }
