"""The models: which embedder is in use, and what the anomaly model is fitted to and decides by."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import dagster as dg

from imgmine.models.cards import ModelCard, find_model, load_card
from imgmine.models.embedder import Embedder, load_embedder
from imgmine.models.nsfw import NsfwModel, NsfwNotInstalled
from imgmine.models.providers import Provider
from imgmine.models.showing import Screen
from imgmine.models.watermark.classifier import Classifier, load_classifier


class ModelsResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`embedder` is a model that ships with imgmine, one in `folder`, or a folder with `model.onnx` and `card.yaml`.

    `providers` run it, in their order of preference; the best of those that are there where it is empty.
    `reference` is a folder of good images for the mixture, or None: then a sample of the dataset's own serves.
    `detector` is the anomaly model: the mixture or another (`imgmine.models.detectors.kinds`). `anomaly_percentile` is
    the percentile of held-out reference images below which an image is anomalous. Pages show what is below
    `nsfw_threshold`, or everything if `show_nsfw`. `watermark_model` judges watermarks, nobody does where it is `none`;
    a mark as probable as `watermark_threshold`, by default the model's own, counts as one. `categories` is the file of
    their list, where it is not imgmine's.
    """

    embedder: str
    folder: str
    providers: list[Provider]
    reference: str | None
    anomaly_percentile: float
    detector: str
    nsfw_threshold: float
    watermark_model: str
    watermark_threshold: float | None
    show_nsfw: bool
    categories: str | None

    def load_embedder(self) -> Embedder:
        """Load the embedding model. Raises `ModelError`."""
        return load_embedder(self.embedder, models=Path(self.folder), providers=self.providers)

    def load_card(self) -> ModelCard:
        """Return the card of the embedding model, checked. Raises `ModelError`."""
        return load_card(find_model(self.embedder, Path(self.folder)))

    def load_nsfw(self) -> NsfwModel:
        """Load the NSFW model; a process loads it once. Raises `NsfwNotInstalled` and `ModelError`."""
        return _nsfw(tuple(self.providers))

    def load_watermark(self) -> Classifier | None:
        """Load what judges watermarks; None where nothing is to. Raises `ModelError` and `OtherEmbedder`."""
        if self.watermark_model == "none":
            return None
        return load_classifier(self.watermark_model, Path(self.folder), self.load_embedder, self.providers)

    def screen(self) -> Screen:
        """Return what decides which pictures a page may show."""
        if self.show_nsfw:
            return Screen(self.nsfw_threshold, show_all=True, judge=None)
        try:
            return Screen(self.nsfw_threshold, show_all=False, judge=self.load_nsfw())
        except NsfwNotInstalled:
            return Screen(self.nsfw_threshold, show_all=False, judge=None)

    @property
    def category_file(self) -> Path | None:
        """The file of the list of categories, where it is not the one that comes with imgmine."""
        return Path(self.categories) if self.categories else None

    @property
    def reference_folder(self) -> Path | None:
        """The folder of good images, where there is one."""
        return Path(self.reference) if self.reference else None


@lru_cache(maxsize=1)
def _nsfw(providers: Sequence[Provider]) -> NsfwModel:
    return NsfwModel(providers=providers)
