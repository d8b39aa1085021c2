"""The models: which embedder is in use, and the fitted mixture as it stands in the store."""

from pathlib import Path

import dagster as dg


class ModelsResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`embedder` is the name of a model that ships with imgmine, or a folder with `model.onnx` and `card.yaml`.

    `reference` is a folder of good images for the mixture, or None: then a sample of the dataset's own serves.
    `anomaly_percentile` is the percentile of held-out reference images below which an image is anomalous.
    """

    embedder: str
    reference: str | None
    anomaly_percentile: float

    @property
    def reference_folder(self) -> Path | None:
        return Path(self.reference) if self.reference else None
