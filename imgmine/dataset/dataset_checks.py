"""Looking at what the store has once for all archives: tables, the warehouse, labels, fitted models.

Nothing is changed here. What is in an archive is `doctor`'s, what is kept for good `release_checks`'.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from imgmine.dataset import labels
from imgmine.dataset.archives import named_ownership
from imgmine.dataset.doctor import Finding, Kind
from imgmine.dataset.near_duplicates import NEAR_DUPLICATES_KEY
from imgmine.dataset.relations import MADE_BY
from imgmine.dataset.verdicts import VERDICTS
from imgmine.dataset.warehouse import WAREHOUSE_KEY, DamagedWarehouse, check_warehouse
from imgmine.errors import first_line
from imgmine.models import probe_model, published_anomaly_model
from imgmine.models.anomaly_model import AnomalyModelError
from imgmine.store.base import NotInStore, Store
from imgmine.store.object_file import open_parquet
from imgmine.store.tables import key_values, table_key

_ARCHIVES_KEY = table_key("dataset", "archives")
_LABELS_REMEDY = "Restore it from a backup; without one, what was said there is lost: remove it, and label again"


def examine_dataset(store: Store, scratch: Path | None = None) -> Iterator[Finding]:
    """Yield what is wrong with what is made over all archives, with labels, and with the fitted models in use.

    With `scratch`, tables and the warehouse are read whole. What is not there at all is no fault.
    """
    whole = scratch is not None
    yield from _ownership(store, whole=whole)
    if (why := _fault(store, NEAR_DUPLICATES_KEY, whole=whole)) is not None:
        yield _unreadable(store, NEAR_DUPLICATES_KEY, why, MADE_BY["near_duplicates"])
    for stored in store.list(f"{VERDICTS}/"):
        if (why := _fault(store, stored.key, whole=whole)) is not None:
            yield _unreadable(store, stored.key, why, MADE_BY["near_duplicates"])
    yield from _warehouse(store, scratch)
    for stored in store.list(f"{labels.FOLDER}/"):
        # A few rows each, so that they are always read.
        if stored.key.endswith(".parquet") and (why := _fault(store, stored.key, whole=True)) is not None:
            yield Finding(Kind.LABELS, None, stored.key, f"labels cannot be read ({why})", _LABELS_REMEDY)
    yield from _models(store)


def _ownership(store: Store, *, whole: bool) -> Iterator[Finding]:
    if (why := _fault(store, _ARCHIVES_KEY, whole=whole)) is not None:
        yield _unreadable(store, _ARCHIVES_KEY, why, MADE_BY["archives"])
        return
    try:
        with open_parquet(store, _ARCHIVES_KEY) as table:
            names = named_ownership(key_values(table.metadata))
    except NotInStore:
        return
    for name in names:
        key = f"dataset/{name}"
        if store.stat(key) is None:
            message = f"{_ARCHIVES_KEY} names this, and it is not in the store"
            yield Finding(Kind.DATASET, None, key, message, f"Launch the job {MADE_BY['ownership']}")
        elif (why := _fault(store, key, whole=whole)) is not None:
            yield _unreadable(store, key, why, MADE_BY["ownership"])


def _unreadable(store: Store, key: str, why: str, job: str) -> Finding:
    remedy = f"Remove {store.uri(key)}, then launch the job {job}"
    return Finding(Kind.DATASET, None, key, f"the table cannot be read ({why})", remedy)


def _fault(store: Store, key: str, *, whole: bool) -> str | None:
    """Return why a table cannot be read; None where it can be, or is not there."""
    try:
        with open_parquet(store, key) as table:
            for _ in table.iter_batches(batch_size=1 << 12, use_threads=False) if whole else ():
                pass
    except NotInStore:
        return None
    except (pa.ArrowException, OSError, ValueError) as error:
        return first_line(error)
    return None


def _warehouse(store: Store, scratch: Path | None) -> Iterator[Finding]:
    try:
        with TemporaryDirectory(dir=scratch) as folder:
            check_warehouse(store, Path(folder), whole=scratch is not None)
    except NotInStore:
        return
    except DamagedWarehouse:
        remedy = "Launch the job statistics"
        yield Finding(Kind.DATASET, None, WAREHOUSE_KEY, "the warehouse cannot be read", remedy)


def _models(store: Store) -> Iterator[Finding]:
    kinds = (
        (published_anomaly_model.CURRENT_KEY, published_anomaly_model.current_anomaly_model, "fit_gmm"),
        (probe_model.CURRENT_KEY, probe_model.current_probes, "fit_probe"),
    )
    for key, read, job in kinds:
        if store.stat(key) is None:
            continue
        remedy = f"Launch the job {job}"
        try:
            read(store)
        except (published_anomaly_model.NoAnomalyModel, probe_model.NoProbes):
            yield Finding(Kind.MODEL, None, key, "the model that this names is not in the store", remedy)
        except (AnomalyModelError, probe_model.ProbeModelError) as error:
            message = f"the model that this names cannot be read ({first_line(error)})"
            yield Finding(Kind.MODEL, None, key, message, remedy)
