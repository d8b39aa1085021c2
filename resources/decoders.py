"""The decoders: processes that judge pictures and make previews and stills."""

import dagster as dg

from imgmine.images.decoder_pool import DecoderPool
from imgmine.images.decoding import Decoding


class DecodersResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`decoding` says what previews are made from."""

    decoding: Decoding

    def start(self) -> DecoderPool:
        """Return a pool with a process for each processor, to be used as a context manager."""
        return DecoderPool(decoding=self.decoding)
