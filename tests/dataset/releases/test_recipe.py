"""A recipe says what it says, and a wrong one is refused with the key, the file and what is wanted."""

from pathlib import Path

import pytest

from imgmine.dataset.releases.recipe import EXAMPLE, Content, Layout, RecipeError, parse_recipe, read_recipe

LEAST = "name: small\ndescription: Small.\nlicence: None.\n"


def test_the_shipped_example_is_a_recipe() -> None:
    recipe = read_recipe(EXAMPLE)
    assert recipe.content is Content.PREVIEWS
    assert recipe.layouts == tuple(Layout)
    assert recipe.holdout.share == 0.1


def test_a_recipe_as_it_is_stored_is_the_same_recipe(tmp_path: Path) -> None:
    held = "ab" * 32
    (tmp_path / "held.txt").write_text(f"{held}\n\n{held.upper()}\n")
    text = (
        LEAST
        + "published: 2026-01-31\narchives: [b, a]\nnear_duplicates: one\nlayouts: [parquet]\n"
        + "select: {labels: {good: 0.5}, without_labels: {maps: 0.2}, formats: [png, jpeg], stills: false}\n"
        + "holdout: {share: 0.25, seed: 7, files: [held.txt]}\n"
    )
    recipe = parse_recipe(text, "recipe.yaml", tmp_path)
    assert recipe.holdout.hashes == (bytes.fromhex(held),)
    stored = parse_recipe(recipe.canonical(), "stored")
    assert stored == recipe
    assert stored.digest == recipe.digest


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: [", "not valid YAML"),
        (LEAST + "select: {nsfw_below: 0.1, nsfw_below: 0.2}\n", "nsfw_below is there twice"),
        ("- name", "the recipe must be keys and values"),
        (LEAST + "sizes: 3\n", "unknown: sizes. At the top, archives, content, "),
        (LEAST + "select: {nsfw: 0.2}\n", "unknown: select.nsfw. Below select, categories, formats, "),
        (LEAST + "holdout: {part: 0.2}\n", "unknown: holdout.part. Below holdout, files, hashes, "),
        (LEAST + "select: {nsfw_below: 2}\n", "select.nsfw_below: 2: a number from 0 to 1 is wanted"),
        (LEAST + "select: {labels: [good]}\n", "select.labels"),
        (LEAST + "select: {formats: [SVG]}\n", "some of JPEG, PNG"),
        (LEAST + "content: thumbnails\n", "content: 'thumbnails': one of originals, previews is wanted"),
        (LEAST + "short_side: 256\n", "short_side is for content: previews"),
        (LEAST + "content: previews\nshort_side: 900\n", "a whole number from 32 to 448"),
        (LEAST + "seed: yes\n", "seed: True: a whole number"),
        (LEAST + "layouts: []\n", "a list of one or more of webdataset, parquet"),
        (LEAST + "archives: []\n", "all, or a list of identifiers, is wanted"),
        (LEAST + "published: soon\n", "a day as 2026-01-31 is wanted"),
        (LEAST + "holdout: {share: 1}\n", "less than 1 is wanted"),
        (LEAST + "holdout: {hashes: [abc]}\n", "'abc' is no BLAKE2b-256"),
        (LEAST + "holdout: {files: [none.txt]}\n", "none.txt cannot be read"),
        (LEAST.replace("small", "../x"), "up to 40 of a–z, 0–9 and - are wanted"),
        ("name: small\n", "description: None: a text is wanted"),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_key_and_what_is_wanted(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "wrong.yaml", tmp_path)
    assert told in str(caught.value)
    assert "wrong.yaml" in str(caught.value)


def test_a_line_of_a_list_that_is_no_hash_is_named(tmp_path: Path) -> None:
    (tmp_path / "held.txt").write_text(f"{'ab' * 32}\nnonsense\n")
    with pytest.raises(RecipeError, match=r"held\.txt, line 2: 'nonsense' is no BLAKE2b-256"):
        parse_recipe(LEAST + "holdout: {files: [held.txt]}\n", "recipe.yaml", tmp_path)
