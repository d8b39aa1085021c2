"""The Dagster instance that the command line and the UI share: its folder, its settings, the limits of its pools."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from imgmine.settings import Settings

# What is shared between runs: the Internet Archive's patience, the one writer of the warehouse, and the disk that a
# release is shuffled on.
POOL_LIMITS = {"archive_org": 2, "warehouse": 1, "releases": 1}


def dagster_home(settings: Settings) -> Path:
    """Return DAGSTER_HOME, or the folder in IMGMINE_HOME that stands in for it."""
    return Path(os.environ.get("DAGSTER_HOME") or settings.home / "dagster")


def prepare_home(settings: Settings) -> Path:
    """Make the instance's folder and its `dagster.yaml`, where they are not there yet, and point this process at it."""
    home = dagster_home(settings)
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        shutil.copyfile(Path(__file__).with_name("dagster.yaml"), config)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    return home


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the instance, set up if need be; pools that a person has given a limit keep it."""
    prepare_home(settings)
    with dg.DagsterInstance.get() as instance:
        limited = {pool.name for pool in instance.event_log_storage.get_pool_limits()}
        for pool, limit in POOL_LIMITS.items():
            if pool not in limited:
                instance.event_log_storage.set_concurrency_slots(pool, limit)
        yield instance
