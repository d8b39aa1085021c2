"""Processes forked from one that has everything loaded, for tests that end them.

To load Dagster and the graph takes longer than most of them live.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess

# They are only imported: threads would not survive a fork.
_LOADED = [
    "dagster",
    "imgmine_assets.cli",
    "imgmine_assets.definitions",
    "imgmine_assets.mining",
    "imgmine_assets.instance",
    "imgmine.store.s3",
    "boto3.s3.transfer",
    "alembic.command",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
    # What is called lies in these.
    "tests.dataset.releases.test_killed_making",
    "tests.dataset.takedown.test_killed_applying",
    "tests.dataset.test_killed_publishing",
    "tests.graph.killed_runs",
    "tests.kills.runs",
]


def forking() -> ForkServerContext:
    """Return the way to fork: all tests of a process share the one that has everything loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    return context


def start(target: Callable[..., None], *arguments: object) -> ForkServerProcess:
    """Begin a process that calls a function."""
    process = forking().Process(target=target, args=arguments)
    process.start()
    return process


def exit_status(target: Callable[..., None], *arguments: object) -> int | None:
    """Call a function in a process of its own, and return how that ended."""
    process = start(target, *arguments)
    process.join()
    return process.exitcode
