"""Make pdq_reference.json: what the reference implementation's bindings, pdqhash 0.2.8, say of photographs.

They are no dependency: `pip install pdqhash` builds them, and `python -m tests.images.data.make_pdq_reference` runs it.
"""

import json
from pathlib import Path

import numpy as np
import pdqhash  # type: ignore[import-not-found, unused-ignore]

from tests.images.test_hashes import asked_of_the_reference


def main() -> None:
    found = {}
    for name, picture in asked_of_the_reference().items():
        bits, quality = pdqhash.compute(np.asarray(picture))
        found[name] = [np.packbits(bits.astype(np.uint8)).tobytes().hex(), int(quality)]
    Path(__file__).with_name("pdq_reference.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
