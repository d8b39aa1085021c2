"""The partitionings of the graph: by archive identifier, releases by version, ownership by a digest's first digit."""

from collections.abc import Sequence

import dagster as dg

from imgmine.dataset.ownership_parts import PREFIXES

ARCHIVES, VERSIONS = "archives", "versions"
archives = dg.DynamicPartitionsDefinition(name=ARCHIVES)
versions = dg.DynamicPartitionsDefinition(name=VERSIONS)
first_digits = dg.StaticPartitionsDefinition(list(PREFIXES))

# One call builds one SQL statement with a variable for each key, and a stock SQLite refuses very long ones.
KEYS_A_CALL = 2_000


def known_archives(instance: dg.DagsterInstance) -> set[str]:
    """Return the identifiers of all archives."""
    return set(instance.get_dynamic_partitions(ARCHIVES))


def add_archives(instance: dg.DagsterInstance, identifiers: Sequence[str]) -> list[str]:
    """Add those identifiers that are not partitions yet, in bulk, and return them in the order given."""
    known = known_archives(instance)
    new = [identifier for identifier in dict.fromkeys(identifiers) if identifier not in known]
    for start in range(0, len(new), KEYS_A_CALL):
        instance.add_dynamic_partitions(ARCHIVES, new[start : start + KEYS_A_CALL])
    return new
