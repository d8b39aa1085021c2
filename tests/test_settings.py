"""What the environment and `.env` decide: defaults that work offline, who wins, and what a wrong value is told."""

import os
import re
from pathlib import Path

import pytest

from imgmine.settings import SettingError, load_settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder, with none of imgmine's or Amazon's variables set; what a test sets is undone."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in [name for name in os.environ if name.startswith(("IMGMINE_", "AWS_"))]:
        del os.environ[name]
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_any_variable_all_lies_below_the_working_folder(folder: Path) -> None:
    settings = load_settings()
    assert settings == load_settings({})
    assert settings.home == folder / ".imgmine"
    assert settings.store == str(folder / ".imgmine" / "store")
    assert settings.cache == folder / ".imgmine" / "cache"
    assert settings.scratch == folder / ".imgmine" / "scratch"
    assert settings.s3_endpoint is None
    assert settings.archive_org == "https://archive.org"
    assert settings.collection == "archiveteam_imgur"
    assert settings.embedder == "efficientnet-lite0"
    assert settings.models == folder / ".imgmine" / "models"
    assert settings.providers == ()
    assert settings.hub == "https://huggingface.co"
    assert settings.contact is None
    assert settings.connections == 2
    assert settings.fetch == "cache"
    assert settings.decode == "exact"
    assert settings.reference is None
    assert settings.anomaly_percentile == 5.0
    assert (settings.nsfw_threshold, settings.show_nsfw) == (0.2, False)
    assert (settings.watermark_model, settings.watermark_threshold) == ("watermark-efficientnet-lite0", None)
    assert settings.categories is None
    assert settings.discover_runs_per_tick == 0
    assert not settings.home.exists(), "to read settings makes nothing"


def test_home_moves_what_has_no_place_of_its_own(folder: Path) -> None:
    settings = load_settings({"IMGMINE_HOME": "elsewhere", "IMGMINE_CACHE": "/dev/shm/cache"})
    assert settings.home == folder / "elsewhere"
    assert settings.store == str(folder / "elsewhere" / "store")
    assert settings.cache == Path("/dev/shm/cache")
    assert load_settings({"IMGMINE_HOME": "~/data"}).home == Path.home() / "data"


def test_a_variable_that_is_set_to_nothing_has_its_default(folder: Path) -> None:
    example = (Path(__file__).parents[1] / ".env.example").read_text()
    names = re.findall(r"^#(IMGMINE_\w+)=", example, re.M)
    assert len(names) > 20
    assert load_settings(dict.fromkeys(names, "")) == load_settings({})


def test_the_environment_wins_over_the_file(folder: Path) -> None:
    (folder / ".env").write_text("IMGMINE_COLLECTION=of_the_file\nIMGMINE_CONTACT='a@b.org'  # mine\n")
    os.environ["IMGMINE_COLLECTION"] = "of_the_environment"
    settings = load_settings()
    assert settings.collection == "of_the_environment"
    assert settings.contact == "a@b.org"


def test_credentials_in_the_file_reach_boto3(folder: Path) -> None:
    (folder / ".env").write_text("AWS_ACCESS_KEY_ID=of_the_file\nAWS_SECRET_ACCESS_KEY=secret\n")
    os.environ["AWS_SECRET_ACCESS_KEY"] = "of the environment"
    load_settings()
    assert os.environ["AWS_ACCESS_KEY_ID"] == "of_the_file"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "of the environment"


def test_variables_that_are_given_are_all_that_counts(folder: Path) -> None:
    (folder / ".env").write_text("IMGMINE_COLLECTION=of_the_file\nAWS_ACCESS_KEY_ID=of_the_file\n")
    assert load_settings({}).collection == "archiveteam_imgur"
    assert "AWS_ACCESS_KEY_ID" not in os.environ


@pytest.mark.parametrize(
    ("value", "store"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/prefix/", "s3://bucket/a/prefix"),
        ("/data/store/", "/data/store"),
        ("/data/../store", "/store"),
    ],
)
def test_a_store_is_a_folder_or_a_bucket(value: str, store: str) -> None:
    assert load_settings({"IMGMINE_STORE": value}).store == store


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMGMINE_STORE", "s3://"),
        ("IMGMINE_STORE", "s3:///prefix"),
        ("IMGMINE_STORE", "s3://bucket//prefix"),
        ("IMGMINE_STORE", "s3://bucket/../other"),
        ("IMGMINE_STORE", "gs://bucket/prefix"),
        ("IMGMINE_STORE", "https://bucket.s3.amazonaws.com"),
        ("IMGMINE_S3_ENDPOINT", "localhost:9000"),
        ("IMGMINE_S3_ENDPOINT", "s3://bucket"),
        ("IMGMINE_S3_ENDPOINT", "https://account.r2.cloudflarestorage.com/bucket"),
        ("IMGMINE_ARCHIVE_ORG", "archive.org"),
        ("IMGMINE_ARCHIVE_ORG", "https://"),
        ("IMGMINE_ANOMALY_PERCENTILE", "five"),
        ("IMGMINE_ANOMALY_PERCENTILE", "-1"),
        ("IMGMINE_ANOMALY_PERCENTILE", "100.5"),
        ("IMGMINE_ANOMALY_PERCENTILE", "nan"),
        ("IMGMINE_DISCOVER_RUNS", "201"),
        ("IMGMINE_DISCOVER_RUNS", "many"),
        ("IMGMINE_CONNECTIONS", "0"),
        ("IMGMINE_FETCH", "drip"),
        ("IMGMINE_PROVIDERS", "cuda, abacus"),
        ("IMGMINE_HUB", "huggingface.co"),
        ("IMGMINE_DECODE", "half"),
        ("IMGMINE_DETECTOR", "median"),
        ("IMGMINE_DETECTOR", "pyod:Forest"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name) as caught:
        load_settings({name: value})
    assert value in str(caught.value)


def test_addresses_lose_the_slash_at_their_end() -> None:
    settings = load_settings(
        {"IMGMINE_ARCHIVE_ORG": "http://127.0.0.1:8000/", "IMGMINE_S3_ENDPOINT": "https://host:9000/"}
    )
    assert settings.archive_org == "http://127.0.0.1:8000"
    assert settings.s3_endpoint == "https://host:9000"


def test_a_reference_folder_and_numbers_are_read(folder: Path) -> None:
    settings = load_settings(
        {"IMGMINE_REFERENCE": "good", "IMGMINE_ANOMALY_PERCENTILE": "2.5", "IMGMINE_DISCOVER_RUNS": "20"}
    )
    assert settings.reference == folder / "good"
    assert settings.anomaly_percentile == 2.5
    assert settings.discover_runs_per_tick == 20


def test_a_home_given_for_one_command_does_not_get_the_dagster_of_the_dotenv_file(folder: Path) -> None:
    os.environ.pop("DAGSTER_HOME", None)
    (folder / ".env").write_text(f"DAGSTER_HOME={folder / 'usual'}\n")
    assert load_settings().home == folder / ".imgmine"
    assert os.environ.pop("DAGSTER_HOME") == str(folder / "usual")
    os.environ["IMGMINE_HOME"] = str(folder / "other")
    assert load_settings().home == folder / "other"
    assert "DAGSTER_HOME" not in os.environ


def test_lists_of_hashes_are_named_with_commas(folder: Path) -> None:
    assert load_settings().blocklist == ()
    found = load_settings({"IMGMINE_BLOCKLIST": "a.txt, /lists:of/b,"}).blocklist
    assert found == (folder / "a.txt", Path("/lists:of/b"))


def test_the_cache_has_no_limit_unless_one_is_given():
    assert load_settings({}).cache_bytes is None
    assert load_settings({"IMGMINE_CACHE_BYTES": "500000000000"}).cache_bytes == 500_000_000_000
    with pytest.raises(SettingError, match="IMGMINE_CACHE_BYTES='500 GB': a whole number"):
        load_settings({"IMGMINE_CACHE_BYTES": "500 GB"})
