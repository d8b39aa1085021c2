"""The probes in use, one for each label that has enough: how they lie in the store, and what they say.

How one is fitted is in `probe`, their card in `probe_card`; where labelled vectors come from is the caller's business.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from imgmine.amounts import counted
from imgmine.decisions import ProbeDecision
from imgmine.errors import ImgmineError, PersonNeeded
from imgmine.models.one_thread import one_thread
from imgmine.models.probe import LEAST, Probe, TooFewLabels, fit_probe, sigmoid
from imgmine.models.vectors import vectors_of
from imgmine.store.base import NotInStore, Store
from imgmine.store.tables import PROBE_SCORES, Provenance, from_parquet, to_parquet

CODE_VERSION = "1"
FOLDER = "models/probe"
CURRENT_KEY = f"{FOLDER}/current.json"
PARAMETERS_FILE, REPORT_FILE = "probes.parquet", "card.json"
LIKELY = 0.5
_BINS = 20

_PROBES = pa.schema(
    [
        pa.field("label", pa.string(), nullable=False),
        pa.field("weights", pa.list_(pa.float64()), nullable=False),
        pa.field("bias", pa.float64(), nullable=False),
    ]
)


class NoProbes(ImgmineError):
    """No probe is in use: nothing was labelled, or too little."""


class ProbeModelError(PersonNeeded):
    """The stored probes cannot be read, or are asked about vectors that they were not made for."""


class TooFewVectors(PersonNeeded):
    """Enough pictures are labelled for a probe, but too few of them have a vector of the embedder in use."""


@dataclass(frozen=True)
class Labelled:
    """The pictures that a label was given to, in any order: vectors (n, d) of norm 1 and whether it applies (n,).

    `missing_yes` and `missing_no` count the pictures without a vector to which it applies, and does not.
    """

    vectors: np.ndarray
    values: np.ndarray
    missing_yes: int = 0
    missing_no: int = 0

    @property
    def digest(self) -> str:
        """Hexadecimal BLAKE2b of the vectors and values, and of how many pictures have none."""
        about = (self.vectors.shape, self.missing_yes, self.missing_no)
        found = hashlib.blake2b(repr(about).encode(), digest_size=16)
        found.update(np.asarray(self.vectors, "<f4", order="C").tobytes())
        found.update(np.asarray(self.values, bool).tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class ProbeModel:
    """Probes by label; `weights` (labels, d), `biases` (labels,), for vectors of `embedder`.

    `report` says of each label how it was fitted or why not, in JSON's types.
    """

    embedder: str
    labels: tuple[str, ...]
    weights: np.ndarray
    biases: np.ndarray
    report: Mapping[str, Any]

    @cached_property
    def version(self) -> str:
        """Twelve hexadecimal digits of a BLAKE2b of the labels, the parameters and the embedder."""
        digest = hashlib.blake2b("\n".join((self.embedder, *self.labels)).encode(), digest_size=6)
        for array in (self.weights, self.biases):
            digest.update(np.asarray(array, "<f8", order="C").tobytes())
        return digest.hexdigest()

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Return the probability of each label for (n, d) vectors of norm 1: float64 (n, labels).

        Raises `ProbeModelError` for another d.
        """
        if vectors.shape[1:] != self.weights.shape[1:]:
            raise ProbeModelError(
                f"The probes {self.version} are for vectors of {self.embedder}, {self.weights.shape[1:]}; these have "
                f"the shape {vectors.shape}. Materialize probe_model again with the embedder in use."
            )
        with one_thread():
            return sigmoid(vectors.astype(np.float64) @ self.weights.T + self.biases)


def fit_probes(labelled: Mapping[str, Labelled], embedder: str, about: Mapping[str, Any], seed: int = 0) -> ProbeModel:
    """Fit a probe for each label that has enough; why another has none goes into the report. There may be no probe."""
    probes: dict[str, Probe] = {}
    reports: dict[str, Any] = {}
    for label, found in sorted(labelled.items()):
        yes = int(found.values.sum())
        report: dict[str, Any] = {
            "yes": yes,
            "no": len(found.values) - yes,
            "without_vector": {"yes": found.missing_yes, "no": found.missing_no},
        }
        try:
            probes[label] = fit_probe(found.vectors, found.values, seed=seed)
            report |= _report(probes[label], found.values)
        except TooFewLabels as error:
            report["refused"] = str(error)
        reports[label] = report
    dimension = next((found.vectors.shape[1] for found in labelled.values()), 0)
    return ProbeModel(
        embedder,
        tuple(probes),
        np.array([probe.weights for probe in probes.values()]).reshape(len(probes), dimension),
        np.array([probe.bias for probe in probes.values()]),
        {**about, "seed": seed, "labels": reports},
    )


def without_vectors(model: ProbeModel) -> str:
    """Return how many pictures of each label have no vector, and what to do; empty where all have one."""
    reports: Mapping[str, Mapping[str, Any]] = model.report["labels"]
    missing = {label: sum(report["without_vector"].values()) for label, report in reports.items()}
    told = ", ".join(f"{label}: {count}" for label, count in missing.items() if count)
    if not told:
        return ""
    return (
        f"Labelled pictures without a vector of {model.embedder}, which count for nothing ({told}): materialize "
        "embeddings of the archives that have them (imgmine explain HASH names those), then probe_model. imgmine label "
        "remove takes back what was said of pictures that are gone."
    )


def require_vectors(model: ProbeModel, others: Mapping[str, int]) -> None:
    """Raise `TooFewVectors` where a label without a probe would have enough pictures if all of them had a vector.

    `others` counts archives by the model that made their vectors, where it is not the probes'.
    """
    short = [label for label, report in model.report["labels"].items() if _lacks_vectors(report)]
    if not short:
        return
    made_by = ", ".join(f"{counted(count, 'archive')} by {name}" for name, count in sorted(others.items()))
    switched = (
        f" There are vectors of other models ({made_by}): with IMGMINE_EMBEDDER set to theirs, they count."
        if others
        else ""
    )
    raise TooFewVectors(
        f"No probe is fitted, and those in use stay: enough pictures are labelled ({', '.join(short)}), but too few of "
        f"them have a vector of the embedder in use. {without_vectors(model)}{switched}"
    )


def _lacks_vectors(report: Mapping[str, Any]) -> bool:
    without = report["without_vector"]
    return any(without.values()) and min(report[kind] + without[kind] for kind in ("yes", "no")) >= LEAST


def _report(probe: Probe, values: np.ndarray) -> dict[str, Any]:
    estimate = probe.estimate
    return {
        "strength": probe.strength,
        "auroc": round(estimate.auroc, 4),
        "auroc_spread": round(estimate.spread, 4),
        "auroc_least": round(float(estimate.aurocs.min()), 4),
        "folds": len(estimate.aurocs),
        "log_loss": round(estimate.log_loss, 4),
        "prior_log_loss": round(estimate.prior_log_loss, 4),
        # How many pictures had which probability when they were held out, in equal steps from 0 to 1.
        "held_out": {
            name: np.histogram(estimate.probabilities[values == kind], _BINS, (0.0, 1.0))[0].tolist()
            for name, kind in (("yes", True), ("no", False))
        },
    }


def score_archive(embeddings: pa.Table, model: ProbeModel) -> pa.Table:
    """Return the `probe_scores` of an `embeddings` table: a row for each vector and label, in the order of both."""
    found = model.probabilities(vectors_of(embeddings)).astype(np.float32).ravel()
    keys = embeddings["blake2b"].combine_chunks()
    places = np.repeat(np.arange(len(keys)), len(model.labels))
    decisions = np.where(found >= LIKELY, ProbeDecision.YES.value, ProbeDecision.NO.value)
    return pa.Table.from_arrays(
        [
            keys.take(pa.array(places)),
            pa.array(list(model.labels) * len(keys), pa.string()),
            pa.array(found),
            pa.array(decisions.tolist(), pa.string()),
        ],
        schema=PROBE_SCORES,
    )


def publish_probes(store: Store, model: ProbeModel, card: Mapping[str, bytes]) -> None:
    """Publish the probes and their card, files by name, then say that they are in use."""
    table = pa.Table.from_arrays(
        [
            pa.array(model.labels, pa.string()),
            pa.array(model.weights.tolist(), _PROBES.field("weights").type),
            pa.array(model.biases),
        ],
        schema=_PROBES,
    )
    report = json.dumps({"embedder": model.embedder, **model.report}, indent=1, sort_keys=True)
    files = {
        PARAMETERS_FILE: to_parquet(table, Provenance("probe_model", CODE_VERSION, model.version)),
        REPORT_FILE: report.encode(),
        **card,
    }
    for name, data in files.items():
        store.put_bytes(f"{FOLDER}/{model.version}/{name}", data)
    store.put_bytes(CURRENT_KEY, json.dumps({"version": model.version}).encode())


def current_probes(store: Store) -> ProbeModel:
    """Return the probes in use. Raises `NoProbes`, or `ProbeModelError` where they are damaged."""
    try:
        version = json.loads(store.get_bytes(CURRENT_KEY))["version"]
        report = json.loads(store.get_bytes(f"{FOLDER}/{version}/{REPORT_FILE}"))
        table = from_parquet(store.get_bytes(f"{FOLDER}/{version}/{PARAMETERS_FILE}"))
        weights = np.array(table["weights"].to_pylist())
        embedder = report.pop("embedder")
        model = ProbeModel(embedder, tuple(table["label"].to_pylist()), weights, table["bias"].to_numpy(), report)
    except NotInStore:
        raise NoProbes(
            f"There is no probe: label at least {LEAST} pictures with a word and {LEAST} without it "
            "(imgmine label add), then materialize probe_model."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:  # Arrow's errors are the first or last
        raise ProbeModelError("The stored probes cannot be read. Materialize probe_model again.") from error
    if model.version != version:
        raise ProbeModelError(f"The stored probes {version} are damaged. Materialize probe_model again.")
    return model


def withdraw_probes(store: Store) -> None:
    """Say that no probe is in use; former ones stay where they are."""
    store.delete(CURRENT_KEY)
