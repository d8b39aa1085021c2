"""The plan of a demo archive: its name, its WARC files, their source WARCs, and the groups of exchanges in each.

Nothing is rendered or written here; a plan is small however large the archive.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from imgmine.decisions import RecordDecision
from imgmine.demo.cases import TRAPS
from imgmine.demo.exchanges import FAILING_FORMS, Group, Host, Kind, Place, picture_group
from imgmine.demo.payloads import Body
from imgmine.demo.warc_writer import DictionaryKind

# Of the collection's unique files about this share passes the gate.
PASSING_SHARE = 0.76
# Of the pictures of an archive about this share was in an earlier one of the same call.
REPEATED_SHARE = 0.15
# The traps are laid once for so many records.
_RECORDS_PER_ROUND = 300

_PASSING_WEIGHTS = {"jpeg": 62, "png": 16, "mp4": 5, "jpeg_exif": 4, "webp": 3, "jpeg_trailing": 1, "png_animated": 1}
_FAILING_WEIGHTS = {
    "png_rgba": 40,
    "gif": 20,
    "jpeg_small": 10,
    "png_small": 8,
    "png_palette": 7,
    "jpeg_grey": 4,
    "png_grey": 4,
    "webp_alpha": 3,
}
# Forms of which each archive has at least one; the April crawl has room for few.
_ONCE: dict[Kind, tuple[str, ...]] = {
    Kind.APRIL: ("jpeg_no_end", "png_rgba", "gif", "mp4", "jpeg_exif", "png_small", "webm"),
    Kind.MAY_3: (
        *(
            "jpeg_no_end",
            "jpeg_cut",
            "jpeg_cut_with_thumbnail",
            "jpeg_cmyk",
            "jpeg_edge",
            "jpeg_trailing",
            "jpeg_exif",
            "png_16_bit_grey",
        ),
        *(
            "png_16_bit_rgb",
            "png_corrupt",
            "png_bad_header",
            "png_bomb",
            "webp_animated",
            "webp_alpha",
            "gif",
            "gif_still",
        ),
    ),
    Kind.MAY_15: (
        *(
            "jpeg_no_end",
            "jpeg_cut",
            "jpeg_cmyk",
            "jpeg_edge",
            "jpeg_trailing",
            "jpeg_exif",
            "png_16_bit_rgb",
            "png_corrupt",
            "png_animated",
        ),
        *("jpeg_grey", "png_large_bomb", "gif_bomb", "webp_animated", "gif", "mp4", "webm", "png_palette", "png_grey"),
    ),
}


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One source WARC: when the crawler began it, and what it fetched."""

    began: datetime
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class FilePlan:
    """One `.megawarc.warc.zst`: its name, its dictionary (id 0: none), its source WARCs."""

    name: str
    dictionary: DictionaryKind
    dictionary_id: int
    sources: tuple[SourcePlan, ...]


@dataclass(frozen=True, slots=True)
class ArchivePlan:
    """One archive: `cdx_name` and `published` (UTC) as the Internet Archive has them; `pictures` are its originals."""

    identifier: str
    kind: Kind
    seed: str
    packed: datetime
    published: datetime
    cdx_name: str
    files: tuple[FilePlan, ...]
    pictures: tuple[tuple[str, Body], ...]


@dataclass(frozen=True, slots=True)
class _Age:
    packed: datetime
    # Of each file: its dictionary, and when each of its source WARCs was begun (day of 2023, counted from 27 April).
    files: tuple[tuple[DictionaryKind, tuple[float, ...]], ...]


_FIRST_DAY = datetime(2023, 4, 27, 9, 30, tzinfo=UTC)
_AGES = {
    Kind.APRIL: _Age(
        datetime(2023, 5, 2, 7, 48, 29, tzinfo=UTC),
        ((DictionaryKind.COMPRESSED, (0.1, 1.4, 3.0)), (DictionaryKind.COMPRESSED, (0.9, 2.2, 4.5))),
    ),
    Kind.MAY_3: _Age(datetime(2023, 5, 9, 21, 15, 2, tzinfo=UTC), ((DictionaryKind.RAW, (6.2, 7.5, 8.8, 10.1, 11.9)),)),
    Kind.MAY_15: _Age(
        datetime(2023, 6, 13, 3, 5, 47, tzinfo=UTC),
        ((DictionaryKind.COMPRESSED, (18.4, 21.0, 25.6)), (DictionaryKind.NONE, (20.3, 29.2, 36.5))),
    ),
}


@dataclass(slots=True)
class _Draft:
    """What was gathered so far of an archive, and how many of its distinct files pass the gate."""

    groups: list[Group] = field(default_factory=list)
    pictures: dict[Body, str] = field(default_factory=dict)
    records: int = 0
    passing: int = 0

    def add(self, groups: Iterable[Group]) -> None:
        for group in groups:
            self.groups.append(group)
            for exchange in group.exchanges:
                self.records += 1
                if exchange.decision is RecordDecision.KEPT and exchange.body not in self.pictures:
                    self.pictures[exchange.body] = exchange.media_id or ""
                    self.passing += exchange.body.form not in FAILING_FORMS

    @property
    def wants_failing(self) -> bool:
        return self.passing > PASSING_SHARE * len(self.pictures)


def plan_archive(kind: Kind, seed: str, records: int, earlier: Sequence[tuple[str, Body]]) -> ArchivePlan:
    """Return the plan of one archive.

    Args:
        kind: the age of the crawl.
        seed: names the archive; the same seed and `earlier` give the same plan.
        records: about how many response and revisit records it should have; the traps alone are some 80.
        earlier: media ids and originals of the archives before it, some of which come again.
    """
    rng = Random(f"plan/{seed}/{kind}")
    host = Host(kind, rng)
    draft = _Draft()
    repeatable = list(earlier)
    for _ in range(max(1, round(records / _RECORDS_PER_ROUND))):
        for trap in TRAPS[kind]:
            draft.add(trap(host))
        for form in _ONCE[kind]:
            draft.add([picture_group(kind, host.new_id(), host.picture(form), rng)])
    while draft.records < records:
        if repeatable and rng.random() < REPEATED_SHARE * 1.6:
            media_id, body = repeatable.pop(rng.randrange(len(repeatable)))
            # Crawled again under its id, or put on the host again by someone else.
            again = media_id if rng.random() < 0.6 and media_id not in host.used else host.new_id()
            host.used.add(again)
        else:
            weights = _FAILING_WEIGHTS if draft.wants_failing else _PASSING_WEIGHTS
            again, body = host.new_id(), host.picture(rng.choices(list(weights), weights=list(weights.values()))[0])
        draft.add([picture_group(kind, again, body, rng)])
    return _lay_out(kind, seed, draft, rng)


def _lay_out(kind: Kind, seed: str, draft: _Draft, rng: Random) -> ArchivePlan:
    """Deal the groups out to the source WARCs of the archive's files, and give everything its name."""
    age = _AGES[kind]
    packed = age.packed + timedelta(seconds=Random(f"packed/{seed}").randrange(600))
    stamp = f"{packed:%Y%m%d%H%M%S}_{rng.getrandbits(32):08x}"
    places = [(number, days) for number, (_, starts) in enumerate(age.files) for days in starts]
    dealt: dict[tuple[int, float], list[Group]] = {place: [] for place in places}
    for group in rng.sample(draft.groups, len(draft.groups)):
        dealt[_place(group, places, len(age.files) - 1, rng)].append(group)
    for groups in dealt.values():
        # A usual group comes last, so that a file can be cut there without any consequence for other records.
        last = next((number for number, group in enumerate(groups) if group.usual), None)
        if last is not None:
            groups.append(groups.pop(last))
    ids = sorted(rng.sample(range(10**9, 2**31), len(age.files)))
    files = []
    for number, ((dictionary, starts), dictionary_id) in enumerate(zip(age.files, ids, strict=True)):
        known = dictionary is not DictionaryKind.NONE
        name = f"imgur_{stamp}.{dictionary_id}.megawarc.warc.zst" if known else f"imgur_{stamp}.megawarc.warc.zst"
        sources = tuple(SourcePlan(_FIRST_DAY + timedelta(days=days), tuple(dealt[number, days])) for days in starts)
        files.append(FilePlan(name, dictionary, dictionary_id if known else 0, sources))
    identifier = f"archiveteam_imgur_{stamp}"
    return ArchivePlan(
        identifier=identifier,
        kind=kind,
        seed=seed,
        packed=packed,
        published=packed + timedelta(minutes=rng.randrange(30, 500)),
        cdx_name=f"{identifier}.cdx.gz" if kind is not Kind.MAY_3 else f"imgur_{stamp}.megawarc.warc.os.cdx.gz",
        files=tuple(files),
        pictures=tuple((media_id, body) for body, media_id in draft.pictures.items()),
    )


def _place(group: Group, places: list[tuple[int, float]], last_file: int, rng: Random) -> tuple[int, float]:
    by_time = sorted(places, key=lambda place: place[1])
    if group.place is Place.EARLY:
        return by_time[0]
    if group.place is Place.LATE:
        return by_time[-1]
    if group.place is Place.FIRST_FILE:
        return rng.choice([place for place in places if place[0] == 0][: max(1, len(places) // 2)])
    if group.place is Place.LAST_FILE:
        return rng.choice([place for place in places if place[0] == last_file][-max(1, len(places) // 2) :])
    return rng.choice(places)
