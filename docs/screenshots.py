"""Makes the README's pictures anew from a running demo: `imgmine demo`, then `python docs/screenshots.py [address]`.

Needs Chromium (or Chrome) on PATH. It is driven over a WebSocket, by a library that the UI's server brings along.
"""

import base64
import contextlib
import io
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from PIL import Image
from websockets.sync.client import ClientConnection, connect

FOLDER = Path(__file__).parent / "images"
SIZE = (1600, 1000)
GROUPS = ("archive", "models", "dataset", "reports")

GRAPH = "/asset-groups?expanded=" + ",".join(f"global@global:{group}" for group in GROUPS)
# Kept when a page is loaded anew; the graph is fitted to the window then.
HIDE_NAVIGATION = "[...document.querySelectorAll('*')].filter(it => it.innerText === 'Hide navigation').pop().click();"
OPEN_SHEET = "[...document.querySelectorAll('*')].filter(it => it.innerText === '[Show Markdown]').pop().click();"


class Browser:
    """A headless Chromium with one page."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count()

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv(timeout=60))).get("id") != number:
            pass
        return dict(answer["result"])

    def show(self, url: str, script: str = "") -> None:
        self.do("Page.navigate", url=url)
        time.sleep(6)
        if script:
            self.do("Runtime.evaluate", expression=script)
            time.sleep(2)

    def save(self, path: Path) -> None:
        data = base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"])
        with Image.open(io.BytesIO(data)) as picture:
            picture = picture.convert("RGB")
        palette = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2)
        picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
        print(path, path.stat().st_size)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a headless Chromium with a window of `SIZE`, and end it."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [chromium, "--headless", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        command += [f"--window-size={SIZE[0]},{SIZE[1]}", "--hide-scrollbars", "--disable-background-networking"]
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert child.stderr is not None
            line = next(line for line in child.stderr if "DevTools listening on" in line)
            port = line.partition("127.0.0.1:")[2].partition("/")[0]
            pages = requests.get(f"http://127.0.0.1:{port}/json/list", timeout=10).json()
            address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            with connect(address, max_size=None) as socket:
                chrome = Browser(socket)
                width, height = SIZE
                chrome.do(
                    "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
                )
                yield chrome
        finally:
            child.terminate()
            child.wait()


def latest_archive(ui: str) -> str:
    """Return the archive of the demo that was mined last."""
    query = '{ assetNodeOrError(assetKey: {path: "images"}) { ... on AssetNode { partitionKeys } } }'
    answer = requests.post(f"{ui}/graphql", json={"query": query}, timeout=30).json()
    return str(answer["data"]["assetNodeOrError"]["partitionKeys"][-1])


def main(ui: str) -> None:
    """Make both pictures."""
    with browser() as chrome:
        chrome.show(ui + GRAPH, HIDE_NAVIGATION)
        chrome.show(ui + GRAPH)
        chrome.save(FOLDER / "graph.png")
        chrome.show(f"{ui}/assets/images?view=partitions&partition={latest_archive(ui)}", OPEN_SHEET)
        chrome.save(FOLDER / "images-asset.png")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000")
