"""What a materialization shows in the UI: tables of counts, pictures, histograms, schemas, links.

Everything is made from what was published, so that a rerun that changed nothing shows the same. It goes into Dagster's
event log, once a partition: pictures are kept to some tens of kilobytes.
"""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
from PIL import Image

from imgmine.dataset.takedown.listings import listed
from imgmine.figures import new_figure, plain_axes, png
from imgmine.images.contact_sheet import contact_sheet
from imgmine.images.samples import Sample, captioned_samples
from imgmine.models.showing import Screen
from imgmine.store.base import Store
from imgmine.store.publish import PublishedTable
from imgmine.store.tables import COLUMN_MEANINGS
from imgmine_assets.column_lineage import lineage_of

_BAR = 20
# The UI's table cells drop spaces in front.
_SPACE = "\N{NO-BREAK SPACE}"
_COLOURS = 32


def rows_table(columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> dg.MetadataValue:
    """A table as it is. `columns` are names and types (`string`, `int`, `float`); a null cell stays empty."""
    names = list(columns)
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({name: "" if cell is None else cell for name, cell in zip(names, row, strict=True)})
            for row in rows
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in columns.items()]),
    )


def counts_table(counts: Mapping[str, int], label: str, meanings: Mapping[str, str] | None = None) -> dg.MetadataValue:
    """A table of counts with shares as bars, largest first; `meanings` say what a row's name means."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    columns = {label: "string", "n": "int", "share": "string"} | ({"meaning": "string"} if meanings else {})
    return rows_table(
        columns,
        [
            (name, count, share_bar(count, total), *([meanings.get(name, "")] if meanings else []))
            for name, count in ordered
        ],
    )


def share_bar(count: int, total: int) -> str:
    """Return a share as ` 75.8% ███████████████`; the whole is 20 blocks long."""
    share = count / total if total else 0.0
    bar = "█" * round(share * _BAR) or ("▏" if count else "")
    return f"{share:6.1%} {bar}".replace(" ", _SPACE)


def count_values(table: pa.Table, column: str) -> Counter[str]:
    """Count the values of a column; a null counts as `(none)`."""
    counted = table[column].value_counts().to_pylist()
    return Counter({entry["values"] or "(none)": entry["counts"] for entry in counted})


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """The columns of a published table with what each means."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                field.name,
                str(field.type),
                description=COLUMN_MEANINGS.get(field.name),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def schemas_of(tables: Mapping[str, pa.Schema]) -> dict[str, Any]:
    """The last table's columns and their lineage as the UI shows them of an asset; further tables' under their own."""
    names: Sequence[str] = list(tables)
    shown = {"dagster/column_schema": column_schema(tables[names[-1]]), **lineage_of(names[-1])}
    return shown | {f"columns of {name}": column_schema(tables[name]) for name in names[:-1]}


def publication(
    store: Store, published: PublishedTable, rows: pa.Table, as_before: bool, seconds: float, counted: str
) -> dict[str, Any]:
    """What every archive's table shows: rows, columns, where it lies, how long it took. `counted` names a row."""
    rate = {} if as_before else {f"{counted} a second": round(rows.num_rows / seconds, 1)}
    return {
        "dagster/row_count": rows.num_rows,
        "unchanged": as_before,
        "seconds": round(seconds, 2),
        **rate,
        "inputs": published.metadata["inputs"],
        "dagster/uri": store.uri(published.key),
        "dagster/column_schema": column_schema(rows.schema),
        **lineage_of(published.key.partition("/")[0]),
    }


def links(store: Store, keys: Iterable[str]) -> dg.MetadataValue:
    """Where the published objects lie."""
    return dg.MetadataValue.md("\n".join(f"- `{store.uri(key)}`" for key in keys))


def page(sections: Mapping[str, str]) -> dg.MetadataValue:
    """Markdown sections under their headings: one page that opens at a click."""
    return dg.MetadataValue.md("\n\n".join(f"#### {heading}\n\n{text}" for heading, text in sections.items()))


def picture(data: bytes, media_type: str, alt: str) -> str:
    """A picture inside Markdown itself: it is there wherever the event log is."""
    return f"![{alt}]({data_uri(data, media_type)})"


def data_uri(data: bytes, media_type: str) -> str:
    """Bytes as an address that holds them itself."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def card(files: Mapping[str, bytes], text: str) -> dg.MetadataValue:
    """A model's card with its plots in it: their files are in the store, which the UI does not read."""
    shown = files[text].decode()
    for name, data in files.items():
        shown = shown.replace(f"({name})", f"({data_uri(data, 'image/png')})")
    return dg.MetadataValue.md(shown)


def sheet(samples: Sequence[Sample], what: str, screen: Screen) -> str:
    """A contact sheet in Markdown, or a line where there is nothing to show.

    What `screen` does not let be shown has a crossed cell above its caption; a line below says how many.
    """
    if not samples:
        return f"There are no {what}."
    found = screen.screen([payload for payload, _ in samples])
    cells = [(payload, caption) for payload, (_, caption) in zip(found.pictures, samples, strict=True)]
    return "\n\n".join(filter(None, [picture(contact_sheet(cells), "image/webp", what), found.note]))


def captioned_sheets(
    store: Store, images: pa.Table, pages: Mapping[str, Mapping[bytes, str]], screen: Screen
) -> dict[str, str]:
    """The contact sheet of each heading's pictures, of an archive's `images`; what is taken down is in none.

    `pages` have a picture's caption by its BLAKE2b.
    """
    images = listed(store, images)
    return {
        heading: sheet(captioned_samples(images, captions, store.get_range), "images", screen)
        for heading, captions in pages.items()
    }


def histogram(values: Sequence[float], label: str, counted: str) -> str:
    """A histogram in Markdown. `label` names the values and their unit, `counted` what is counted."""
    if not values:
        return f"There are no {counted}."
    # Imported here: it takes half a second, which loading the graph should not.
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(2.6)
    axes = plain_axes(figure)
    axes.hist(values, bins=min(50, max(10, len(values) // 10)), color="#4f6bed")
    axes.set_xlabel(label)
    axes.set_ylabel(counted)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    out = io.BytesIO()
    with Image.open(io.BytesIO(png(figure))) as image:
        image.convert("RGB").quantize(_COLOURS).save(out, "PNG", optimize=True)
    return picture(out.getvalue(), "image/png", label)
