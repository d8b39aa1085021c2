"""The `watermark_scores` of an archive: the probability of a mark on each image, and the decision by a threshold.

Where probabilities come from is `classifier`'s business. Another threshold decides anew on the stored probabilities.
"""

import numpy as np
import pyarrow as pa

from imgmine.decisions import WatermarkDecision
from imgmine.store.tables import WATERMARK_SCORES

CODE_VERSION = "1"


def decided(keys: pa.ChunkedArray, probabilities: np.ndarray, threshold: float) -> pa.Table:
    """Return the `watermark_scores` of these images: watermarked where the probability is `threshold` or more.

    `keys` are the BLAKE2b in order, `probabilities` float32 (n).
    """
    found = probabilities.astype(np.float32)
    decisions = np.where(
        found >= np.float32(threshold), WatermarkDecision.WATERMARKED.value, WatermarkDecision.KEPT.value
    )
    return pa.Table.from_arrays(
        [keys.combine_chunks(), pa.array(found), pa.array(decisions.tolist(), pa.string())],
        schema=WATERMARK_SCORES,
    )


def decided_again(table: pa.Table, threshold: float) -> pa.Table:
    """Return a `watermark_scores` table with its decisions by another threshold."""
    return decided(table["blake2b"], table["probability"].to_numpy(), threshold)
