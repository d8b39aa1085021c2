"""Files of the hub: only at a pinned commit, through its redirects, and on from where a download broke off."""

import resource
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from imgmine.archives.retry import RetryPolicy
from imgmine.models.cards import ModelError
from imgmine.models.hub import HubFile, fetch
from tests.models.hub_server import REVISION, Hub, hub_server

DATA = Random(0).randbytes(3_000_000)
FILE = HubFile("owner/name", REVISION, "onnx/vision model.onnx")
PATIENT = RetryPolicy(attempts=3, sleep=lambda seconds: None)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server({"owner/name/onnx/vision%20model.onnx": DATA, "owner/name/empty": b"x"}) as hub:
        yield hub


def starts(hub: Hub) -> list[int]:
    """Where each answer was asked to begin: a broken one may have lost its last block."""
    return [int(wanted.removeprefix("bytes=").removesuffix("-") or 0) for wanted in hub.asked]


def test_a_file_is_fetched_through_the_redirect_and_compared_with_what_the_hub_says(hub: Hub, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    found = fetch(FILE, hub.url, tmp_path, progress=lambda done, total: told.append((done, total)))
    assert found.path.read_bytes() == DATA
    assert found.said is not None
    assert told[-1] == (len(DATA), len(DATA))


def test_a_download_that_breaks_off_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.break_off_after = [1_000_000, 700_000]
    assert fetch(FILE, hub.url, tmp_path, retry=PATIENT).path.read_bytes() == DATA
    assert starts(hub) == [0, pytest.approx(1_000_000, abs=100_000), pytest.approx(1_700_000, abs=200_000)]


def test_what_an_earlier_call_left_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    hub.break_off_after = [1_000_000]
    with pytest.raises(ModelError, match="Try again later"):
        fetch(FILE, hub.url, tmp_path, retry=RetryPolicy(attempts=1))
    assert fetch(FILE, hub.url, tmp_path, retry=PATIENT).path.read_bytes() == DATA
    assert fetch(FILE, hub.url, tmp_path, retry=PATIENT).path.read_bytes() == DATA
    assert starts(hub) == [0, pytest.approx(1_000_000, abs=100_000), len(DATA)]


def test_a_server_without_ranges_sends_all_of_it_again(hub: Hub, tmp_path: Path) -> None:
    hub.ranges = False
    hub.break_off_after = [1_000_000]
    assert fetch(FILE, hub.url, tmp_path, retry=PATIENT).path.read_bytes() == DATA


def test_a_part_that_leaves_a_hole_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.break_off_after, hub.skips = [1_000_000], 5
    with pytest.raises(ModelError, match=r"sent from byte \d+ on, and only \d+ bytes before are there"):
        fetch(FILE, hub.url, tmp_path, retry=PATIENT)
    hub.skips = 0
    assert fetch(FILE, hub.url, tmp_path, retry=PATIENT).path.read_bytes() == DATA


def test_a_file_that_there_is_no_room_for_is_told_and_goes_on_later(hub: Hub, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(ModelError, match=r"cannot be written to .* Make room"):
            fetch(FILE, hub.url, tmp_path, retry=PATIENT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert fetch(FILE, hub.url, tmp_path, retry=PATIENT).path.read_bytes() == DATA


def test_a_hub_that_is_busy_is_asked_again(hub: Hub, tmp_path: Path) -> None:
    hub.statuses = [503, 429]
    assert fetch(FILE, hub.url, tmp_path, retry=PATIENT).path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "have an account"), (403, "have an account"), (404, "no such file"), (410, "status 410")],
)
def test_a_file_that_is_not_to_be_had_is_told(hub: Hub, tmp_path: Path, status: int, words: str) -> None:
    hub.statuses = [status]
    with pytest.raises(ModelError, match=words):
        fetch(FILE, hub.url, tmp_path, retry=PATIENT)


def test_other_bytes_than_the_hub_says_are_refused_and_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.said_sha256 = "0" * 64
    with pytest.raises(ModelError, match="arrived with SHA-256"):
        fetch(FILE, hub.url, tmp_path, retry=PATIENT)
    assert not list(tmp_path.iterdir())


def test_an_answer_of_another_commit_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.commit = "f" * 40
    with pytest.raises(ModelError, match="another commit"):
        fetch(FILE, hub.url, tmp_path, retry=PATIENT)


def test_a_hub_that_is_not_there_is_told(tmp_path: Path) -> None:
    with hub_server({}) as gone:
        url = gone.url
    with pytest.raises(ModelError, match="could not be fetched"):
        fetch(FILE, url, tmp_path, retry=PATIENT)


@pytest.mark.parametrize("revision", ["main", "v1.0", "3d74acf", REVISION.upper(), "refs%2Fpr%2F1"])
def test_a_revision_that_can_move_is_refused(revision: str) -> None:
    with pytest.raises(ModelError, match="40 hexadecimal digits"):
        HubFile.parse(f"hf:owner/name@{revision}/model.onnx")


@pytest.mark.parametrize(
    "text",
    [
        "hf:owner@main/x",
        "hf:owner/name/model.onnx",
        f"hf:owner/name@{REVISION}",
        "hf:",
        f"hf:owner/name@{REVISION}/../../x",
    ],
)
def test_what_names_no_file_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="OWNER/NAME@REVISION/PATH"):
        HubFile.parse(text)


def test_an_id_is_read_as_it_is_written() -> None:
    text = f"hf:owner/name@{REVISION}/onnx/model.onnx"
    assert str(HubFile.parse(text)) == text
    assert HubFile.parse(text).url("https://host") == f"https://host/owner/name/resolve/{REVISION}/onnx/model.onnx"
