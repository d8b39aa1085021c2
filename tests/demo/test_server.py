"""The miniature Internet Archive answers as archive.org does, and fails when it is told to."""

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import internetarchive
import pytest
import requests

from imgmine.demo.server import serve

CONTENT = bytes(range(256)) * 40
FILES = [
    {"name": "a b.warc.zst", "format": "Web ARChive ZST", "size": str(len(CONTENT))},
    {"name": "secret.txt", "format": "Text", "size": "1", "private": "true"},
]


def write_item(root, identifier, publicdate="2023-05-03 12:34:56", **changes):
    folder = root / identifier
    folder.mkdir()
    about = {"identifier": identifier, "collection": ["imgur", "team"], "publicdate": publicdate, "title": "A title"}
    (folder / "item.json").write_text(json.dumps({"metadata": about, "files": FILES, "item_size": 7} | changes))
    (folder / "a b.warc.zst").write_bytes(CONTENT)
    (folder / "secret.txt").write_bytes(b"s")


@pytest.fixture
def root(tmp_path):
    write_item(tmp_path, "one")
    write_item(tmp_path, "two", "2023-05-04 00:00:00")
    write_item(tmp_path, "three", "2023-05-03 12:34:56")
    write_item(tmp_path, "in_the_dark", is_dark=True)
    return tmp_path


@pytest.fixture
def server(root):
    with serve(root) as running:
        yield running


@pytest.fixture
def client_session(server):
    """IA's own client, turned to the server."""
    session = internetarchive.ArchiveSession(config={"general": {"secure": False}}, config_file=os.devnull)
    session.host = server.url.removeprefix("http://")
    session.protocol = "http:"
    return session


def scrape(server, **params):
    return requests.get(f"{server.url}/services/search/v1/scrape", params=params, timeout=20)


def test_metadata_is_the_items_json_and_empty_for_a_missing_one(server, root):
    answer = requests.get(f"{server.url}/metadata/one", timeout=20)
    assert answer.json() == json.loads((root / "one" / "item.json").read_bytes())
    missing = requests.get(f"{server.url}/metadata/nothing", timeout=20)
    assert (missing.status_code, missing.json()) == (200, {})


def test_an_item_has_a_page_with_links_to_its_files(server, root):
    page = requests.get(f"{server.url}/details/one", timeout=20).text
    links = re.findall(r'href="([^"]*)"', page)
    listed = json.loads((root / "one" / "item.json").read_bytes())["files"]
    assert [unquote(link) for link in links] == [f"/download/one/{file['name']}" for file in listed]
    assert requests.get(f"{server.url}{links[0]}", timeout=20).content == CONTENT
    assert requests.get(f"{server.url}/details/nothing", timeout=20).status_code == 404


def test_scrape_answers_get_and_post(server):
    wanted = {"q": "collection:imgur", "fields": "publicdate", "sorts": "publicdate desc,identifier asc"}
    answer = scrape(server, **wanted).json()
    assert answer == {
        "items": [
            {"identifier": "two", "publicdate": "2023-05-04T00:00:00Z"},
            {"identifier": "one", "publicdate": "2023-05-03T12:34:56Z"},
            {"identifier": "three", "publicdate": "2023-05-03T12:34:56Z"},
        ],
        "count": 3,
        "total": 3,
    }
    url = f"{server.url}/services/search/v1/scrape"
    assert requests.post(url, params=wanted, timeout=20).json() == answer
    assert requests.post(url, data=wanted, timeout=20).json() == answer
    assert scrape(server, q="collection:imgur", total_only="true").json() == {"items": [], "count": 0, "total": 3}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("collection:imgur AND publicdate:[2023-05-04 TO 9999-12-31]", {"two"}),
        ("publicdate:[2023-05-03 TO 2023-05-03]", {"one", "three"}),
        ("publicdate:[2023-05-03T12:34:57Z TO *]", {"two"}),
        ("(collection:team) AND identifier:t*", {"two", "three"}),
        ('title:"A title" AND identifier:one', {"one"}),
        ("collection:imgu", set()),
    ],
)
def test_queries(server, query, found):
    assert {item["identifier"] for item in scrape(server, q=query).json()["items"]} == found


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"q": "collection:imgur", "count": "99"},
        {"q": "collection:imgur", "count": "10001"},
        {"q": "collection:imgur", "count": "many"},
        {"q": "collection:imgur", "sorts": "identifier asc,publicdate asc"},
        {"q": "collection:imgur", "sorts": "colour"},
        {"q": "collection:imgur OR x"},
        {"q": "publicdate:[yesterday TO *]"},
        {"q": "collection:imgur", "cursor": "nonsense"},
    ],
)
def test_a_search_that_cannot_be_answered_is_an_error(server, params):
    answer = scrape(server, **params)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_cursor_leads_through_all_pages(server, root):
    lines = [{"metadata": {"identifier": f"x{n:03}", "collection": "many"}} for n in range(250)]
    (root / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found, cursor = [], {}
    while True:
        answer = scrape(server, q="collection:many", count=100, **cursor).json()
        assert answer["total"] == 250
        found += [item["identifier"] for item in answer["items"]]
        if "cursor" not in answer:
            break
        cursor = {"cursor": answer["cursor"]}
    assert found == [f"x{n:03}" for n in range(250)]


def test_items_appear_while_the_server_runs(server, root):
    assert scrape(server, q="identifier:late").json()["total"] == 0
    write_item(root, "late")
    assert scrape(server, q="identifier:late").json()["total"] == 1


def test_advanced_search_pages_and_stops_at_ten_thousand(server):
    url = f"{server.url}/advancedsearch.php"
    params = {"q": "collection:imgur", "fl[]": ["identifier"], "sort[]": "publicdate desc", "rows": 2, "output": "json"}
    answer = requests.get(url, params=params | {"page": 2}, timeout=20).json()
    assert answer["response"] == {"numFound": 3, "start": 2, "docs": [{"identifier": "three"}]}
    assert "10000" in requests.get(url, params=params | {"page": 5001}, timeout=20).json()["error"]


def test_ias_own_client_understands_it(server, client_session):
    search = client_session.search_items("collection:imgur", sorts=["publicdate asc", "identifier asc"])
    assert [item["identifier"] for item in search] == ["one", "three", "two"]
    paged = client_session.search_items("collection:imgur", params={"rows": 2, "page": 1}, sorts=["identifier asc"])
    assert [item["identifier"] for item in paged] == ["one", "three"]
    item = client_session.get_item("one")
    assert item.exists
    assert item.get_file("a b.warc.zst").download(return_responses=True).content == CONTENT
    assert not client_session.get_item("nothing").exists


def test_download_redirects_to_another_port(server):
    answer = requests.get(f"{server.url}/download/one/a b.warc.zst", allow_redirects=False, timeout=20)
    assert answer.status_code == 302
    location = answer.headers["Location"]
    assert location.startswith(f"{server.data_url}/")
    assert location.endswith("/items/one/a%20b.warc.zst")
    assert server.data_url != server.url
    whole = requests.get(location, timeout=20)
    assert whole.content == CONTENT
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert whole.headers["ETag"]
    assert whole.headers["Last-Modified"]


@pytest.fixture
def location(server):
    return f"{server.data_url}/1/items/one/a b.warc.zst"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=10-19", 10, 19), ("bytes=10200-", 10200, 10239), ("bytes=-5", 10235, 10239), ("bytes=0-99999", 0, 10239)],
)
def test_ranges(location, asked, first, last):
    answer = requests.get(location, headers={"Range": asked}, timeout=20)
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/10240"
    assert answer.content == CONTENT[first : last + 1]


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=99999-100000", "bytes=-0"])
def test_a_range_beyond_the_file_cannot_be_satisfied(location, asked):
    answer = requests.get(location, headers={"Range": asked}, timeout=20)
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */10240")


@pytest.mark.parametrize("asked", ["bytes=9-3", "bytes=1-2,4-5", "lines=1-2", "bytes=a-b", "bytes", "bytes=-"])
def test_a_range_that_cannot_be_read_is_ignored(location, asked):
    answer = requests.get(location, headers={"Range": asked}, timeout=20)
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_if_range_gives_the_range_only_of_the_same_file(location):
    head = requests.head(location, timeout=20)
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", "10240")
    for validator in (head.headers["ETag"], head.headers["Last-Modified"]):
        same = requests.get(location, headers={"Range": "bytes=1-2", "If-Range": validator}, timeout=20)
        assert (same.status_code, same.content) == (206, CONTENT[1:3])
    other = requests.get(location, headers={"Range": "bytes=1-2", "If-Range": '"other"'}, timeout=20)
    assert (other.status_code, other.content) == (200, CONTENT)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/download/nothing/a", 404),
        ("/download/one/nothing", 404),
        ("/download/in_the_dark/a b.warc.zst", 403),
        ("/download/one/secret.txt", 401),
        ("/1/items/in_the_dark/a b.warc.zst", 403),
        ("/1/items/one/item.json", 404),
        ("/1/items/one/..%2Ftwo%2Fa b.warc.zst", 404),
        ("/1/items/..%2F..%2Fetc/passwd", 404),
        ("/nowhere", 404),
    ],
)
def test_what_is_not_for_everybody_and_what_is_not_there(server, path, status):
    assert requests.get(server.url + path, timeout=20).status_code == status


def test_faults_over_http(server):
    url = f"{server.url}/metadata/one"
    control = f"{server.url}/_faults"
    requests.post(control, json={"kind": "status", "status": 503, "retry_after": "1", "times": 2}, timeout=20)
    requests.post(control, json=[{"kind": "restricted", "path": "one"}], timeout=20)
    assert [fault["kind"] for fault in requests.get(control, timeout=20).json()] == ["status", "restricted"]
    busy = requests.get(url, timeout=20)
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "1")
    assert requests.get(url, timeout=20).status_code == 503
    assert requests.get(url, timeout=20).json()["metadata"]["access-restricted-item"] == "true"
    assert requests.get(f"{server.url}/download/one/a b.warc.zst", timeout=20).status_code == 403
    requests.delete(control, timeout=20)
    assert requests.get(f"{server.url}/download/one/a b.warc.zst", timeout=20).status_code == 200
    assert requests.post(control, json={"kind": "earthquake"}, timeout=20).status_code == 400
    assert requests.post(control, data="{", timeout=20).status_code == 400


def test_the_log_of_requests(server, location):
    requests.get(location, headers={"Range": "bytes=10-19", "User-Agent": "me"}, timeout=20)
    (logged,) = requests.get(f"{server.url}/_requests", timeout=20).json()
    assert logged == {
        "method": "GET",
        "path": "/1/items/one/a b.warc.zst",
        "query": "",
        "range": "bytes=10-19",
        "user_agent": "me",
        "port": int(server.data_url.rpartition(":")[2]),
        "status": 206,
        "sent": 10,
    }
    requests.delete(f"{server.url}/_requests", timeout=20)
    assert server.requests == []


def test_a_cut_connection_ends_after_so_many_bytes(server, location):
    server.faults.add("cut", after=1000)
    with requests.get(location, stream=True, timeout=20) as answer:
        assert answer.headers["Content-Length"] == "10240"
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            _ = answer.content
    assert server.requests[0].sent == 1000
    assert requests.get(location, timeout=20).content == CONTENT


def test_wrong_bytes_and_wrong_ranges(server, location):
    server.faults.add("flip", after=300)
    flipped = requests.get(location, headers={"Range": "bytes=256-511"}, timeout=20).content
    assert [n for n in range(256) if flipped[n] != CONTENT[256 + n]] == [300 - 256]
    server.faults.add("ignore_range")
    assert requests.get(location, headers={"Range": "bytes=256-511"}, timeout=20).content == CONTENT
    server.faults.add("wrong_range", after=10_000)
    wrong = requests.get(location, headers={"Range": "bytes=256-511"}, timeout=20)
    assert (wrong.headers["Content-Range"], wrong.content) == ("bytes 10000-10239/10240", CONTENT[10_000:])


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "throttle", "rate": 51_200},
        {"kind": "slow_start", "seconds": 0.2},
        {"kind": "stall", "after": 5000, "seconds": 0.2},
    ],
)
def test_slowness(server, location, fault):
    server.faults.add(**fault)
    begun = time.monotonic()
    assert requests.get(location, timeout=20).content == CONTENT
    assert time.monotonic() - begun > 0.15


def test_a_throttle_can_be_shared_by_all_connections(server, location):
    server.faults.add("throttle", rate=51_200, shared=True)
    begun = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: requests.get(location, timeout=20).content, range(3)))
    assert answers == [CONTENT] * 3
    # Each would take 0.2 s; the waits after their last blocks are not seen.
    assert time.monotonic() - begun > 0.35


def test_failed_searches(server):
    server.faults.add("search_error")
    assert "error" in scrape(server, q="collection:imgur").json()
    server.faults.add("search_short")
    short = scrape(server, q="collection:imgur").json()
    assert (len(short["items"]), short["total"]) == (1, 3)
    server.faults.add("garbage")
    assert scrape(server, q="collection:imgur").headers["Content-Type"] == "text/html"


def test_stopping_cuts_what_is_under_way(root):
    server = serve(root)
    server.faults.add("throttle", rate=1000)
    with requests.get(f"{server.data_url}/1/items/one/a b.warc.zst", stream=True, timeout=20) as answer:
        answer.raw.read(10)
        server.stop()
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            _ = answer.content
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=20)


def test_the_command_prints_its_address_and_nothing_else(root):
    command = [sys.executable, "-m", "imgmine.demo.server", str(root), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert requests.get(f"{url}/download/one/a b.warc.zst", timeout=20).content == CONTENT
    finally:
        process.terminate()
        rest = process.communicate(timeout=10)
    assert rest == ("", "")
    assert process.returncode == 0
