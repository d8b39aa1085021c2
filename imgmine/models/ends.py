"""The ends of an ONNX model that makes vectors: whether what goes in and what comes out is what its card says.

What it is fed with is its caller's; whether its vectors tell things apart is found in `checking`.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from imgmine.models.cards import ModelError

# Fewer would not show that a model takes any number at a time; more would only take longer, each time it is loaded.
_TRIED = 2


def check_ends(
    session: Any,
    path: Path,
    things: str,
    *,
    inputs: Collection[str],
    output: str,
    dimension: int,
    run: Callable[[int], np.ndarray],
) -> None:
    """Raise `ModelError` where an ONNX file, which is loaded as `session`, is not what its card says.

    Its inputs and its output have these names, and `run` feeds it with so many `things` (pictures, texts) at a time,
    which must give a vector each: how many is for the caller to choose, and not for the model.
    """
    ends = session.get_inputs()
    outputs = [end.name for end in session.get_outputs()]
    if {end.name for end in ends} != set(inputs):
        found = ", ".join(sorted(end.name for end in ends))
        raise ModelError(f"{path} has the inputs {found}; its card says {', '.join(sorted(inputs))}.")
    if output not in outputs:
        raise ModelError(f"{path} has the outputs {', '.join(outputs)}; its card says {output}.")
    # The size of an axis that is free is a name, or None.
    if fixed := [end.shape[0] for end in ends if end.shape and isinstance(end.shape[0], int)]:
        raise ModelError(_not_free(path, things, f"in batches of {fixed[0]} and no others"))
    try:
        shape = run(_TRIED).shape
    except Exception as error:  # onnxruntime's own errors have no common base but this one
        if _takes_one(run):
            raise ModelError(_not_free(path, things, "one at a time, and fails with more")) from error
        raise ModelError(f"{path} does not take the input that its card describes: {error}") from error
    if shape != (_TRIED, dimension):
        raise ModelError(
            f"{path}: {output} has the shape {shape} for {_TRIED} {things}; the card's dimension is {dimension}."
        )


def _not_free(path: Path, things: str, taken: str) -> str:
    return f"{path} takes {things} {taken}: its batch must be free. Export it again with a dynamic batch axis."


def _takes_one(run: Callable[[int], np.ndarray]) -> bool:
    try:
        run(1)
    except Exception:  # as above
        return False
    return True
