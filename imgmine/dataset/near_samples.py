"""A few near-duplicates beside the ones that are kept for them, for a person to see what was found."""

from pathlib import Path

from imgmine.dataset.near_duplicates import NEAR_DUPLICATES_KEY
from imgmine.dataset.relations import connect, parquet_source
from imgmine.dataset.sketches import SKETCHES
from imgmine.images.samples import Sample
from imgmine.store.base import NotInStore, Store

# The first by BLAKE2b, which is as good as drawn by lot.
_CHOSEN = """
SELECT how, blake2b, kept_blake2b, agreement FROM {source} WHERE how <> 'kept'
QUALIFY row_number() OVER (PARTITION BY how ORDER BY blake2b) <= $1 ORDER BY how, blake2b
"""
_PLACES = """
SELECT blake2b, any_value(preview_shard), any_value(preview_offset), any_value(preview_size)
FROM {source} WHERE blake2b IN (SELECT unnest($1)) GROUP BY blake2b
"""


def sampled_near_duplicates(
    store: Store, mirror_folder: Path, scratch: Path, each: int = 12
) -> dict[str, list[Sample]]:
    """Return, for each way in which near-duplicates were found, previews of up to `each` of them.

    Each comes after the preview of the one that is kept for it. Nothing where no near-duplicates are published.
    """
    try:
        table = store.local_copy(NEAR_DUPLICATES_KEY, scratch)
    except NotInStore:
        return {}
    sketches = sorted(store.mirror(SKETCHES, ".parquet", mirror_folder).glob("*.parquet"))
    with connect() as connection:
        chosen = connection.execute(_CHOSEN.format(source=parquet_source(table)), [each]).fetchall()
        wanted = [digest for row in chosen for digest in row[1:3]]
        places = {}
        if wanted and sketches:
            found = connection.execute(_PLACES.format(source=parquet_source(*sketches)), [wanted]).fetchall()
            places = {row[0]: row[1:] for row in found}
    samples: dict[str, list[Sample]] = {}
    for how, digest, kept, agreement in chosen:
        if digest in places and kept in places:
            pair = [(kept, "kept"), (digest, f"{agreement:.0%} agree")]
            samples.setdefault(how, []).extend(
                (store.get_range(*places[each_digest]), caption) for each_digest, caption in pair
            )
    return samples
