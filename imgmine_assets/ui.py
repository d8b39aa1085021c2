"""Starting the Dagster UI and its daemon as a child process, and waiting until it answers."""

import os
import shutil
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Mapping

import requests

from imgmine.errors import ImgmineError
from imgmine_assets.code_location import WORKSPACE


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


def start_ui(port: int, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start `dagster dev` over the graph, on loopback, and return it once the UI answers."""
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", str(WORKSPACE)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    child = subprocess.Popen(command, env={**os.environ, **environ})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise UiFailed(f"dagster dev ended with status {child.returncode}; what it said is above.")
        try:
            requests.get(f"http://127.0.0.1:{port}/server_info", timeout=2)
        except requests.RequestException:
            time.sleep(0.5)
        else:
            return child
    child.terminate()
    raise UiFailed("dagster dev did not answer within two minutes; what it said is above.")


def show(url: str) -> None:
    """Open the address in the user's browser, where there is a screen for one."""
    has_screen = sys.platform in {"darwin", "win32"} or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if has_screen and (sys.platform != "linux" or shutil.which("xdg-open")):
        webbrowser.open(url)
