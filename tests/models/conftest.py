"""The embedded model, loaded once."""

import pytest

from imgmine.models.embedder import Embedder, load_embedder


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return load_embedder("efficientnet-lite0", threads=2)
