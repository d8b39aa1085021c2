"""What is done with an archive's originals while it is still being read: they are judged, and their shards uploaded.

Only who does it is here; what is asked of them is `packing`'s business. It saves time, and changes no output.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgmine.images.archive import open_gated
from imgmine.images.decoder_pool import DecoderPool
from imgmine.images.gate_ahead import GateAhead
from imgmine.store.base import Store
from imgmine.store.outbox import Outbox


@dataclass(frozen=True, slots=True)
class Ahead:
    """The gate, and the way into the store."""

    gate: GateAhead
    outbox: Outbox


@contextmanager
def working_ahead(
    store: Store,
    scratch_root: Path,
    archive: str,
    decoders: DecoderPool,
    on_upload: Callable[[int, int], None] | None = None,
) -> Iterator[Ahead]:
    """Yield who works ahead for one archive. What the gate finds waits in `scratch_root` for the stage `images`."""
    with (
        open_gated(scratch_root, archive, decoders) as results,
        GateAhead(decoders, results) as gate,
        Outbox(store, on_upload) as outbox,
    ):
        yield Ahead(gate, outbox)
