"""What a materialization shows in the UI: tables of counts, pictures, histograms, schemas, links.

Everything is made from what was published, so that a rerun that changed nothing shows the same.
"""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import dagster as dg
import pyarrow as pa

from imgmine.images.contact_sheet import contact_sheet
from imgmine.images.samples import Sample
from imgmine.store.base import Store
from imgmine.store.tables import COLUMN_MEANINGS


def counts_table(counts: Mapping[str, int], label: str) -> dg.MetadataValue:
    """A table of counts with shares, largest first."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return dg.MetadataValue.table(
        records=[dg.TableRecord({label: name, "n": count, "share": f"{count / total:.1%}"}) for name, count in ordered],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn(label),
                dg.TableColumn("n", "int"),
                dg.TableColumn("share", description=f"of {total}"),
            ]
        ),
    )


def count_values(table: pa.Table, column: str) -> Counter[str]:
    """Count the values of a column; a null counts as `(none)`."""
    counted = table[column].value_counts().to_pylist()
    return Counter({entry["values"] or "(none)": entry["counts"] for entry in counted})


def picture(data: bytes, media_type: str, alt: str) -> dg.MetadataValue:
    """A picture inside the metadata itself: it is there wherever the event log is."""
    encoded = base64.b64encode(data).decode()
    return dg.MetadataValue.md(f"![{alt}](data:{media_type};base64,{encoded})")


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


def links(store: Store, keys: Iterable[str]) -> dg.MetadataValue:
    """Where the published objects lie."""
    return dg.MetadataValue.md("\n".join(f"- `{store.uri(key)}`" for key in keys))


def schemas_of(tables: Mapping[str, pa.Schema]) -> dict[str, dg.TableSchema]:
    """The column schema under the key that the UI shows as the asset's, and further tables under their own."""
    names: Sequence[str] = list(tables)
    shown = {"dagster/column_schema": column_schema(tables[names[-1]])}
    return shown | {f"columns of {name}": column_schema(tables[name]) for name in names[:-1]}


def sheet(samples: Sequence[Sample], what: str) -> dg.MetadataValue:
    """A contact sheet as a picture, or a line where there is nothing to show."""
    if not samples:
        return dg.MetadataValue.md(f"No picture was {what}.")
    return picture(contact_sheet(samples), "image/jpeg", f"{what} pictures")


def histogram(values: Sequence[float], label: str, counted: str) -> dg.MetadataValue:
    """A histogram as a picture. `label` names the values and their unit, `counted` what is counted."""
    # Imported here: it takes half a second, which loading the graph should not.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.hist(values, bins=min(50, max(10, len(values) // 10)), color="#4f6bed")
    axes.set_xlabel(label)
    axes.set_ylabel(counted)
    axes.spines[["top", "right"]].set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100, metadata={"Software": None})
    return picture(out.getvalue(), "image/png", label)
