"""Texts into vectors of the same space as a model's pictures: for models that have a text tower.

What texts are compared with, and what a cosine means, is the caller's business.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from imgmine.models.cards import ModelCard, ModelError, TextTower, check_file
from imgmine.models.ends import check_ends
from imgmine.models.providers import Provider, open_session
from imgmine.models.vectors import normalise

BATCH = 32


class TextEmbedder:
    """A model's text tower, loaded and ready. May be used from several threads at once."""

    def __init__(self, card: ModelCard, *, threads: int = 1, providers: Sequence[Provider] = ()) -> None:
        """Load it; the options are those of `open_session`.

        Raises `ModelError` where the model has none, a file is absent or has another SHA-256 than the card says, the
        `tokenizers` package is not installed, its ends are not the card's, or it does not take batches of any size.
        """
        if card.text is None:
            raise ModelError(
                f"{card.name} has no text tower here. Add one with its tokenizer: imgmine models add … --text-model "
                "FILE.onnx --tokenizer tokenizer.json."
            )
        self.card = card
        self.tower: TextTower = card.text
        for name, expected in (
            (self.tower.model, self.tower.sha256),
            (self.tower.tokenizer, self.tower.tokenizer_sha256),
        ):
            if expected is None:
                raise ModelError(f"{card.folder}: the card has no SHA-256 of {name}. `imgmine models add` writes it.")
            check_file(card.folder / name, expected, card)
        self._tokenizer = self._load_tokenizer()
        self._session, self.provider = open_session(card.folder / self.tower.model, providers, threads=threads)
        check_ends(
            self._session,
            card.folder / self.tower.model,
            "texts",
            inputs={self.tower.input, *([self.tower.attention_mask] if self.tower.attention_mask else [])},
            output=self.tower.output,
            dimension=card.dimension,
            run=lambda count: self._infer(["a photograph"] * count),
        )

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of texts: float32 (n, dimension), each of L2 norm 1. A long text loses its end."""
        vectors = [np.empty((0, self.card.dimension), np.float32)]
        for start in range(0, len(texts), BATCH):
            vectors.append(normalise(self._infer(texts[start : start + BATCH])))
        return np.concatenate(vectors)

    def _infer(self, texts: Sequence[str]) -> np.ndarray:
        encodings = self._tokenizer.encode_batch([text.lower() if self.tower.lowercase else text for text in texts])
        inputs = {self.tower.input: np.array([encoding.ids for encoding in encodings], np.int64)}
        if self.tower.attention_mask is not None:
            masks = [encoding.attention_mask for encoding in encodings]
            inputs[self.tower.attention_mask] = np.array(masks, np.int64)
        (found,) = self._session.run([self.tower.output], inputs)
        return np.asarray(found)

    def _load_tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise ModelError("Texts need the package tokenizers: pip install 'imgmine[text]'.") from None
        path = self.card.folder / self.tower.tokenizer
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # it raises Exception itself
            raise ModelError(f"{path} is no tokenizer.json: {error}") from error
        tokenizer.enable_truncation(self.tower.context)
        tokenizer.enable_padding(length=self.tower.context, pad_id=self.tower.padding)
        return tokenizer
