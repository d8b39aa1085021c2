"""What the documents say of columns, decisions and settings is what the code has."""

import re
from pathlib import Path

import pytest

from imgmine.dataset.near_groups import HOWS, NEAR_DUPLICATES
from imgmine.dataset.releases.samples import SAMPLES
from imgmine.decisions import JUDGEMENT_MEANINGS, ImageDecision, RecordDecision, ScoreDecision
from imgmine.store.tables import ANOMALY_SCORES, FILES, IMAGES, JUDGEMENTS, LABELS, RECORDS, embeddings_schema

ROOT = Path(__file__).parents[1]
SCHEMAS = {
    "records": RECORDS,
    "files": FILES,
    "images": IMAGES,
    "embeddings": embeddings_schema(1),
    "anomaly_scores": ANOMALY_SCORES,
    **JUDGEMENTS,
    "labels": LABELS,
    "samples": SAMPLES,
    "near_duplicates": NEAR_DUPLICATES,
}
DECISIONS = {
    **{table: list(meanings) for table, meanings in JUDGEMENT_MEANINGS.items()},
    "records": list(RecordDecision),
    "images": list(ImageDecision),
    "anomaly_scores": list(ScoreDecision),
    "near_duplicates": list(HOWS),
}


def section(table: str) -> str:
    [found] = re.findall(rf"^## `{table}`$(.*?)(?=^## |\Z)", (ROOT / "docs/tables.md").read_text(), re.M | re.S)
    return str(found)


@pytest.mark.parametrize("table", SCHEMAS)
def test_the_document_of_the_tables_has_every_column_and_decision_in_order(table: str) -> None:
    decisions = [str(decision) for decision in DECISIONS.get(table, ())]
    assert re.findall(r"^\| `(\w+)` \|", section(table), re.M) == [*SCHEMAS[table].names, *decisions]


def test_every_setting_that_the_code_reads_is_in_the_example() -> None:
    read = set(re.findall(r'"(IMGMINE_\w+)"', (ROOT / "imgmine/settings.py").read_text()))
    assert read == set(re.findall(r"^#(IMGMINE_\w+)=", (ROOT / ".env.example").read_text(), re.M))


def test_links_within_the_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md")]:
        for path, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", document.read_text()):
            target = document.parent / path if path else document
            assert target.exists(), f"{document.name}: {path}"
            if heading:
                assert heading in anchors(target), f"{document.name}: {path}#{heading}"


def anchors(document: Path) -> list[str]:
    """Return what the headings of a document can be linked to by."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.M)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
