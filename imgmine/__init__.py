"""imgmine turns web archives into image datasets that can be audited.

The library knows nothing of Dagster and can be used from a notebook; the graph over it is `imgmine_assets`.
"""

__version__ = "0.1.0"
