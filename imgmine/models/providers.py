"""Which of onnxruntime's execution providers runs a model: what is asked for, or the best of what is there.

Nothing here knows what the model is for.
"""

import ctypes.util
import importlib.util
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from imgmine.models.card_fields import ModelError


class Provider(StrEnum):
    """What runs a model, in the order in which they are preferred."""

    TENSORRT = "tensorrt"
    CUDA = "cuda"
    COREML = "coreml"
    CPU = "cpu"


_NAMES: Mapping[Provider, str] = {
    Provider.TENSORRT: "TensorrtExecutionProvider",
    Provider.CUDA: "CUDAExecutionProvider",
    Provider.COREML: "CoreMLExecutionProvider",
    Provider.CPU: "CPUExecutionProvider",
}
# Without TF32 a GPU's vectors are nearer to a processor's: its products have 10 bits of mantissa where float32 has 23.
_OPTIONS: Mapping[Provider, Mapping[str, str]] = {Provider.CUDA: {"use_tf32": "0"}}


def available_providers() -> tuple[Provider, ...]:
    """Return the providers that this installation of onnxruntime has and whose libraries are there, best first."""
    import onnxruntime

    here = set(onnxruntime.get_available_providers())
    return tuple(
        provider
        for provider, name in _NAMES.items()
        if name in here and (provider is not Provider.TENSORRT or _tensorrt_is_there())
    )


def open_session(path: Path, wanted: Sequence[Provider] = (), *, threads: int = 1) -> tuple[Any, Provider]:
    """Return an onnxruntime session of an ONNX file, and the provider that runs it.

    `wanted` are the providers to use, in their order; empty: the best of those that are there. `threads` is the number
    of cores that one inference uses on a processor. Raises `ModelError` where the file cannot be loaded, or none of the
    wanted providers is there.
    """
    # Imported here: a graph or a command that only names a model need not wait for it.
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    chosen = _chosen(wanted)
    if Provider.CUDA in chosen or Provider.TENSORRT in chosen:
        onnxruntime.preload_dlls()  # CUDA's libraries may have come as packages of PyPI
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A thread that waits must not burn the core that another one decodes pictures on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    providers = [(_NAMES[provider], dict(_OPTIONS.get(provider, {}))) for provider in chosen]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's own errors have no common base but this one
        raise ModelError(f"{path} cannot be loaded by onnxruntime: {error}") from error
    used = session.get_providers()
    for provider in chosen:
        if _NAMES[provider] in used:
            if wanted and provider is not chosen[0]:
                break
            return session, provider
    raise ModelError(
        f"{path} was to run on {chosen[0]} (IMGMINE_PROVIDERS), but onnxruntime could not start it; it offers "
        f"{', '.join(used)}. Install what it needs, or leave IMGMINE_PROVIDERS unset."
    )


def _chosen(wanted: Sequence[Provider]) -> tuple[Provider, ...]:
    here = available_providers()
    if not wanted:
        return here
    if missing := [provider for provider in wanted if provider not in here]:
        raise ModelError(
            f"IMGMINE_PROVIDERS asks for {', '.join(missing)}; this installation has {', '.join(here)}. For NVIDIA's "
            "install onnxruntime-gpu in place of onnxruntime."
        )
    return tuple(wanted)


def _tensorrt_is_there() -> bool:
    return importlib.util.find_spec("tensorrt_libs") is not None or ctypes.util.find_library("nvinfer") is not None
