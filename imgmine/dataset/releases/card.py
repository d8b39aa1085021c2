"""The card of a release, `README.md`: what is in it, how it was chosen, what one may do with it, what is wrong with it.

Its front matter is what the Hugging Face hub reads.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import yaml

from imgmine.dataset.releases.diff import Diff
from imgmine.dataset.releases.packing import SAMPLES_FILE
from imgmine.dataset.releases.recipe import Content, Layout, Recipe
from imgmine.dataset.releases.release import Release
from imgmine.dataset.releases.samples import MEANINGS, PACKED, PLANNED, tar_features
from imgmine.dataset.releases.selection import RULE_MEANINGS
from imgmine.store.publish import content_digest

_FRONT = "---\n"

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LARGER = ((10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"))

_CORRECTED = re.compile(r"\A\*\*Taken out after this release was made: [^\n]*\n\n")

_LIMITS = """\
- The pictures are what people uploaded to a public host and what a crawler found of it: no sample of anything.
- Captions, tags and who made a picture are not known. `url` and `archive` tell where each one is from.
- Scores are models' guesses. What is unusual, unsafe or watermarked gets past them, and sound pictures are dropped.
- Pictures of people are in it. A take-down removes a picture from this release too: its shard is written anew, and
  `release.json` and the log of take-downs say so.
- Orientation by EXIF is not applied to previews, and previews have no EXIF.
"""


def card(release: Release, recipe: Recipe, diff: Diff | None) -> str:
    """Return the card as Markdown with YAML front matter."""
    what = "originals, as they were archived"
    if recipe.content is Content.PREVIEWS:
        what = "previews (JPEG)" + (f", {recipe.short_side} pixels on the short side" if recipe.short_side else "")
    parts = [
        f"{_FRONT}{_yaml(_front_matter(release, recipe))}{_FRONT}",
        f"# {recipe.title}, {release.version}\n",
        f"{recipe.description}\n",
        f"{release.images:,} images ({what}) in {len(release.shards):,} shards of {_bytes(release.size)}, from "
        f"{release.statistics['archives']:,} archives. Chosen and packed by imgmine "
        f"{release.inputs['code']['imgmine']}; shuffled by seed {recipe.seed}.\n",
        _loading(release, recipe),
        "## Licence\n",
        f"{recipe.licence}\n",
        f"The pictures are their authors'. {release.statistics['with_copyright_in_exif']:,} of them name somebody in "
        "their EXIF (`copyright`). Nothing here grants a right to any of them.\n",
        "## How it was chosen\n",
        "One row for each distinct file that passed the gate, from the earliest archive that has it. Left out were, by "
        "the first rule that applies:\n",
        _table(("rule", "images", "why"), [(r, f"{n:,}", RULE_MEANINGS[r]) for r, n in release.dropped.items()]),
        "The recipe:\n",
        f"```yaml\n{release.recipe}```\n",
        "## What is in it\n",
        *_statistics(release.statistics),
        "## Columns\n",
        _table(("column", "meaning"), [(f"`{f.name}`", MEANINGS[f.name]) for f in (*PLANNED, *PACKED)]),
        "## Known limits\n",
        _LIMITS,
    ]
    if diff is not None:
        parts.append(diff.as_text(examples=False).replace("# From", "## From", 1))
    return "\n".join(part for part in parts if part)


def corrected_card(text: str, release: Release) -> str:
    """Return a card with how many images a take-down has left of the release under its title, and its configs anew.

    All else stays.
    """
    said = (
        f"**Taken out after this release was made: {release.taken_out:,}. Images that are left: {release.images:,}.** "
        "What else is counted here is of the release as it was made.\n"
    )
    front, _, rest = text.removeprefix(_FRONT).partition(f"\n{_FRONT}")
    front_matter = yaml.safe_load(front)
    # Not by `parse_recipe`: a take-down must not fail over a recipe that was fine once.
    front_matter["configs"] = _configs(release, yaml.safe_load(release.recipe)["layouts"])
    text = _FRONT + _yaml(front_matter) + _FRONT + rest
    title = f", {release.version}\n\n"
    head, found, rest = text.partition(title)
    return head + found + said + "\n" + _CORRECTED.sub("", rest) if found else text


def _front_matter(release: Release, recipe: Recipe) -> dict[str, Any]:
    said: dict[str, Any] = {
        "pretty_name": recipe.title,
        "license": "other",
        "license_name": "see-the-card",
        "size_categories": [_size_category(release.images)],
        "tags": ["imgmine", "images", "provenance"],
        "configs": _configs(release, recipe.layouts),
    }
    if Layout.PARQUET not in recipe.layouts:
        said["dataset_info"] = {
            "config_name": "default",
            "features": tar_features(release.statistics["extensions"]),
        }
    return said


def _yaml(said: Mapping[str, Any]) -> str:
    return yaml.safe_dump(said, sort_keys=False, allow_unicode=True)


def _configs(release: Release, layouts: Collection[str]) -> list[dict[str, Any]]:
    # `datasets` reads all configs of a folder by the one builder that the first one's files need: tars and Parquet
    # cannot both be there.
    paths = {"default": "data/*.tar"}
    if Layout.PARQUET in layouts:
        paths = {"default": "data/*.parquet", SAMPLES_FILE: f"{SAMPLES_FILE}/*.parquet"}
    # It keeps what it has read under the folder's name and a hash of what is said here, which the files are not part
    # of: without their digest it would give out of its cache what a take-down has removed. Their names would do as
    # well, but a large release has thousands.
    digests = [file.sha256 for shard in release.shards for _, file in sorted(shard.files.items())]
    description = f"shards {content_digest(''.join(digests).encode())}"
    return [
        {"config_name": name, "description": description, "data_files": [{"split": "train", "path": path}]}
        for name, path in paths.items()
    ]


def _size_category(images: int) -> str:
    return next((name for most, name in (*_SIZES, *_LARGER) if images < most), "n>1B")


def _loading(release: Release, recipe: Recipe) -> str:
    lines = ["```python", "import datasets"]
    if Layout.PARQUET in recipe.layouts:
        lines.append(_load("images", "parquet", "data/*.parquet"))
        configs = "`default`, the pictures, and `samples`, the same rows without them"
    else:
        lines.append(_load("samples", "parquet", f"{SAMPLES_FILE}/*.parquet") + "  # the rows without pictures")
        configs = "`default`, the tars"
    if Layout.WEBDATASET in recipe.layouts:
        last = release.shards[-1].number
        lines += [
            _load("images", "webdataset", "data/*.tar"),
            "import glob, webdataset",
            'tars = sorted(glob.glob("data/*.tar"))  # 00000 to ' + f"{last:05d}",
            'samples = webdataset.WebDataset(tars, shardshuffle=False).decode("pil")  # jpg, png, …, and json',
        ]
    told = (
        f"The folder as a whole is `datasets.load_dataset(folder)`, with these configs: {configs}. It is read by one "
        "builder, so tars and Parquet are not both configs. Of tars by themselves `datasets` knows only the members "
        "that the first samples have, and drops others: originals in several formats it reads from the folder.\n"
    )
    return "\n".join([*lines, "```", "", told])


def _load(name: str, builder: str, files: str) -> str:
    return f'{name} = datasets.load_dataset("{builder}", data_files="{files}", split="train", streaming=True)'


def _statistics(statistics: Mapping[str, Any]) -> list[str]:
    parts = [
        f"The originals have {_bytes(statistics['original_bytes'])}; {statistics['stills']:,} are stills of videos.\n",
        _counts("format of the original", statistics["formats"]),
        _counts("shorter side of the original", statistics["shorter_side"]),
        _counts("captured in", statistics["captured_in"]),
    ]
    if statistics["categories"]:
        parts.append(_counts("category", statistics["categories"]))
    scores = [
        (f"`{name}`", f"{score['images']:,}", *(f"{value:g}" for value in score["quantiles"]))
        for name, score in statistics["scores"].items()
        if score["quantiles"]
    ]
    return [*parts, _table(("score", "images", "5%", "25%", "50%", "75%", "95%"), scores)]


def _counts(name: str, counts: Mapping[str, int]) -> str:
    return _table((name, "images"), [(value, f"{n:,}") for value, n in counts.items()])


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _bytes(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    raise AssertionError
