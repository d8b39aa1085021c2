"""What is counted of a release: formats, sizes, years, scores. How it is told is `card`'s."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imgmine.dataset.releases.selection import Chosen

_SIDES = (256, 512, 1024, 2048, 4096)
# To so many digits, so that values can be counted where there are too many to be sorted.
_SCORES: Mapping[str, int] = {"percentile": 2, "nsfw": 4, "watermark": 4}
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MOST_CATEGORIES = 50


def count_statistics(chosen: Chosen) -> Mapping[str, Any]:
    """Count the chosen images. Shares are of all of them; of a score, quantiles at 5, 25, 50, 75 and 95 percent."""
    connection = chosen.connection

    def counts(value: str, order: str = "n DESC, value", limit: int | None = None) -> dict[str, int]:
        rows = connection.execute(
            f"SELECT CAST({value} AS VARCHAR) AS value, count(*) AS n FROM judged WHERE rule IS NULL "
            f"GROUP BY value ORDER BY {order} {f'LIMIT {limit}' if limit else ''}"
        ).fetchall()
        return {name if name is not None else "unknown": n for name, n in rows}

    steps = " ".join(
        f"WHEN least(original_width, original_height) < {side} THEN '{place} below {side}'"
        for place, side in enumerate(_SIDES)
    )
    sides = counts(f"CASE {steps} ELSE '{len(_SIDES)} {_SIDES[-1]} and more' END", "value")
    quantiles = {}
    for score, digits in _SCORES.items():
        rows = connection.execute(
            f"SELECT round({score}::DOUBLE, {digits}) AS value, count(*) FROM judged "
            f"WHERE rule IS NULL AND {score} IS NOT NULL GROUP BY value ORDER BY value"
        ).fetchall()
        quantiles[score] = {"images": sum(n for _, n in rows), "quantiles": _quantiles(rows)}
    [(archives, original_bytes, stills, copyrights, without_category)] = connection.execute(
        "SELECT count(DISTINCT archive), sum(original_size)::BIGINT, count(still_of), count(copyright), "
        "count(*) FILTER (category IS NULL) FROM judged WHERE rule IS NULL"
    ).fetchall()
    return {
        "archives": archives,
        "original_bytes": original_bytes,
        "stills": stills,
        "with_copyright_in_exif": copyrights,
        "formats": counts("original_format"),
        "extensions": counts("extension"),
        "shorter_side": {name.partition(" ")[2]: n for name, n in sides.items()},
        "captured_in": counts("strftime(captured_at, '%Y-%m')", "value"),
        "categories": counts("category", limit=_MOST_CATEGORIES) if without_category < chosen.images else {},
        "scores": quantiles,
    }


def _quantiles(counted: Sequence[tuple[float, int]]) -> list[float]:
    """Return the values at `_SHARES` of the values that were counted, which are in order."""
    if not counted:
        return []
    values, counts = zip(*counted, strict=True)
    ends = np.cumsum(counts)
    return [values[int(np.searchsorted(ends, share * ends[-1]))] for share in _SHARES]
