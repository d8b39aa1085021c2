"""The models: which embedder is in use, and what the anomaly model is fitted to and decides by."""

from pathlib import Path

import dagster as dg

from imgmine.models.embedder import Embedder, load_embedder
from imgmine.models.providers import Provider


class ModelsResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`embedder` is a model that ships with imgmine, one in `folder`, or a folder with `model.onnx` and `card.yaml`.

    `providers` run it, in their order of preference; the best of those that are there where it is empty.
    `reference` is a folder of good images for the mixture, or None: then a sample of the dataset's own serves.
    `detector` is the anomaly model: the mixture or another (`imgmine.models.detectors.kinds`). `anomaly_percentile` is
    the percentile of held-out reference images below which an image is anomalous.
    """

    embedder: str
    folder: str
    providers: list[Provider]
    reference: str | None
    anomaly_percentile: float
    detector: str

    def load_embedder(self) -> Embedder:
        """Load the embedding model. Raises `ModelError`."""
        return load_embedder(self.embedder, models=Path(self.folder), providers=self.providers)

    @property
    def reference_folder(self) -> Path | None:
        """The folder of good images, where there is one."""
        return Path(self.reference) if self.reference else None
