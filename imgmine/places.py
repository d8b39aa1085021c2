"""Where an archive's things lie on this machine, beside the store."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """What this machine keeps: working folders of stages, and fetched archives."""

    scratch_root: Path
    cache: Path
