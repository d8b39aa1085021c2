import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imgmine.decisions import RecordDecision
from imgmine.demo.archives import make_archives
from imgmine.demo.damage import Damage
from imgmine.demo.exchanges import Kind
from imgmine.demo.generate import main
from imgmine.demo.photographs import FOLDER, reference_photographs
from imgmine.demo.truth import read_truth
from tests.demo.demo_archives import ReadBack

# The traps alone: an archive cannot be smaller.
SMALL = 1


def hashes(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    make_archives(tmp_path / "here", 7, [Kind.APRIL], SMALL)
    code = (
        "import sys; from pathlib import Path; from imgmine.demo.archives import make_archives; "
        f"from imgmine.demo.exchanges import Kind; make_archives(Path(sys.argv[1]), 7, [Kind.APRIL], {SMALL})"
    )
    environment = os.environ | {"PYTHONHASHSEED": "12345", "TZ": "Asia/Kathmandu", "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True, env=environment)
    assert hashes(tmp_path / "here") == hashes(tmp_path / "there")


def test_another_seed_gives_other_names_and_other_pictures(tmp_path: Path) -> None:
    (first,), (second,) = (make_archives(tmp_path, seed, [Kind.APRIL], SMALL) for seed in (1, 2))
    assert first.identifier != second.identifier
    films = ("mp4", "webm")  # there are few of those, and what tells them apart is their last bytes
    of_first, of_second = (
        {file.blake2b for file in read_truth(made.truth).files if file.form not in films} for made in (first, second)
    )
    assert not of_first & of_second


def test_archives_are_as_large_as_the_demo_can_bear(demo: dict[Kind, ReadBack]) -> None:
    assert all(290 <= each.archive.records <= 320 for each in demo.values())
    assert sum(each.archive.size for each in demo.values()) < 60_000_000


def test_as_many_files_pass_the_gate_as_in_the_collection(demo: dict[Kind, ReadBack]) -> None:
    files = [file for each in demo.values() for file in each.truth.files]
    assert sum(file.gate.decision == "kept" for file in files) / len(files) == pytest.approx(0.76, abs=0.02)


@pytest.mark.parametrize(("kind", "before"), [(Kind.MAY_3, [Kind.APRIL]), (Kind.MAY_15, [Kind.APRIL, Kind.MAY_3])])
def test_some_pictures_were_in_earlier_archives(demo: dict[Kind, ReadBack], kind: Kind, before: list[Kind]) -> None:
    seen = {file.blake2b for earlier in before for file in demo[earlier].truth.files}
    files = demo[kind].truth.files
    assert 0.1 < sum(file.blake2b in seen for file in files) / len(files) < 0.22


@pytest.mark.parametrize("damage", list(Damage))
def test_damage_costs_the_records_that_it_hits(tmp_path: Path, damage: Damage) -> None:
    (sound,) = make_archives(tmp_path / "sound", 3, [Kind.MAY_15], SMALL)
    (hurt,) = make_archives(tmp_path / "hurt", 3, [Kind.MAY_15], SMALL, damage=damage)
    before, after = read_truth(sound.truth), read_truth(hurt.truth)
    (lost,) = [record for record in after.records if record.decision == RecordDecision.DAMAGED]
    path = hurt.folder / lost.warc_file
    assert (lost.record_type, lost.url, lost.record_id) == (None, None, None)
    if damage is Damage.CUT:
        assert lost.warc_offset + lost.warc_length == path.stat().st_size
        assert len(before.records) - len(after.records) < 20
    else:
        assert len(after.records) == len(before.records)
    kept = {record.blake2b for record in after.records if record.decision == RecordDecision.KEPT}
    assert {file.blake2b for file in after.files} == kept
    assert hashes(sound.folder)[sound.warc_files[0].name] == hashes(hurt.folder)[hurt.warc_files[0].name]
    assert hashes(sound.folder)[lost.warc_file] != hashes(hurt.folder)[lost.warc_file]


def test_the_command_line_makes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--kind", "april", "--records", str(SMALL), "--seed", "5"]) == 0
    (truth,) = (tmp_path / "truth").iterdir()
    assert f"{truth.stem}  april  {len(read_truth(truth).records)} records" in capsys.readouterr().out


def test_every_photograph_has_its_credit() -> None:
    credits = (FOLDER / "CREDITS.md").read_text()
    photographs = reference_photographs()
    assert len(photographs) >= 40
    assert [path.name for path in photographs if f"| {path.name} |" not in credits] == []
