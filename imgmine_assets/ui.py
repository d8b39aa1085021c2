"""Starting the Dagster UI and its daemon as a child process, and waiting until it answers."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator, Mapping
from pathlib import Path

import requests

from imgmine.errors import ImgmineError
from imgmine_assets.code_location import WORKSPACE

_SECONDS_TO_START = 120
_SECONDS_TO_END = 60
# Dagster recommends a newer tool, which wants a project of another shape.
_KNOWN = "ignore:Function `dev_command` is superseded"
_REQUESTS_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class UiFailed(ImgmineError):
    """The Dagster UI did not start."""


def free_port(wanted: int) -> int:
    """Return the wanted port of the loopback interface, or another one where it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UiFailed("No port is free on 127.0.0.1.")


@contextlib.contextmanager
def running_ui(port: int, environ: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dagster dev` over the graph, on loopback; yield it once the UI answers, and end it afterwards.

    It works in `folder`, where there is no `.env`: Dagster lets one override the environment, and so another instance's
    folder might be shown than the one that was worked on.

    What asks this process to end meanwhile (Ctrl-C, `kill`, a terminal that closes) raises `KeyboardInterrupt`. Must be
    called in the main thread. Raises `UiFailed`.
    """
    command = [sys.executable, "-W", _KNOWN, "-m", "dagster", "dev", "--workspace", str(WORKSPACE)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    # Handlers before the child is there: where a shell has this process ignore Ctrl-C, as in the background, the child
    # would inherit that, and dagster takes a request to terminate as it takes Ctrl-C.
    before = {number: signal.signal(number, signal.default_int_handler) for number in _REQUESTS_TO_END}
    try:
        # A process group of its own: it can be ended whole, and Ctrl-C is for us, who then end it in order.
        child = subprocess.Popen(command, env={**os.environ, **environ}, cwd=folder, process_group=0)
        try:
            _wait_for_answer(child, port)
            yield child
        finally:
            _end(child)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for_answer(child: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise UiFailed(f"dagster dev ended with status {child.returncode}; what it said is above.")
        try:
            requests.get(f"http://127.0.0.1:{port}/server_info", timeout=2)
        except requests.RequestException:
            time.sleep(0.5)
        else:
            return
    raise UiFailed(f"dagster dev did not answer within {_SECONDS_TO_START} s; what it said is above.")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Have dagster end its processes; kill them if that takes long, or at a second Ctrl-C."""
    child.terminate()
    try:
        child.wait(timeout=_SECONDS_TO_END)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)  # code servers take a minute to see that nobody asks them any more


def show(url: str) -> None:
    """Open the address in the user's browser, where there is a screen for one."""
    has_screen = sys.platform in {"darwin", "win32"} or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if has_screen and (sys.platform != "linux" or shutil.which("xdg-open")):
        webbrowser.open(url)
