"""The `anomaly_scores` of an archive: how usual each image is among the reference images, and the decision.

What the scores are is the detector's business; which images a dataset leaves out is decided later.
"""

import numpy as np
import pyarrow as pa

from imgmine.decisions import ScoreDecision
from imgmine.models.anomaly_model import AnomalyModel
from imgmine.models.vectors import vectors_of
from imgmine.store.tables import ANOMALY_SCORES

CODE_VERSION = "3"


def score_archive(embeddings: pa.Table, model: AnomalyModel, percentile: float) -> pa.Table:
    """Return the `anomaly_scores` of an `embeddings` table, in its order: one row for each vector.

    An image is anomalous where its percentile among held-out reference images is below `percentile`.
    Raises `AnomalyModelError` where the vectors are of another dimension than the model's, and `CalibrationError` where
    it was calibrated with too few images to tell that percentile.
    """
    model.calibration.require(percentile)
    scores = model.score(vectors_of(embeddings))
    # Decided on the stored precision, so that the decision can be told from the column.
    percentiles = model.percentile(scores).astype(np.float32)
    decisions = np.where(percentiles < np.float32(percentile), ScoreDecision.ANOMALOUS.value, ScoreDecision.KEPT.value)
    return pa.Table.from_arrays(
        [
            embeddings["blake2b"].combine_chunks(),
            pa.array(scores),
            pa.array(percentiles),
            pa.array(decisions.tolist(), pa.string()),
        ],
        schema=ANOMALY_SCORES,
    )
