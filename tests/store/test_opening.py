"""Which address opens which store. What each then does is in the tests of the stores."""

import subprocess
import sys
from pathlib import Path

from imgmine.store.local import LocalStore
from imgmine.store.opening import open_store
from imgmine.store.s3 import S3Store

ROOT = Path(__file__).parents[2]


def test_a_path_is_a_local_folder_that_is_not_made_yet(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"), "http://not.asked.invalid")
    assert isinstance(store, LocalStore)
    assert store.url == str(tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_an_s3_address_is_a_bucket_and_a_prefix_and_asks_nothing_yet() -> None:
    store = open_store("s3://bucket/some/prefix/", "http://not.asked.invalid")
    assert isinstance(store, S3Store)
    assert (store.bucket, store.url) == ("bucket", "s3://bucket/some/prefix")
    assert store.uri("records/a.parquet") == "s3://bucket/some/prefix/records/a.parquet"


def test_a_prefix_may_be_missing() -> None:
    assert open_store("s3://bucket", "http://not.asked.invalid").uri("a") == "s3://bucket/a"


def test_a_local_store_is_opened_without_loading_boto3() -> None:
    script = (
        "import sys; from imgmine.store.opening import open_store; open_store('x'); sys.exit('boto3' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
