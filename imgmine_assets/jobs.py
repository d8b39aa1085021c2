"""The jobs: mine one archive, fit the mixture, score one archive, make the statistics."""

import dagster as dg

from imgmine_assets.partitions import archives

mine_archive = dg.define_asset_job(
    "mine_archive",
    dg.AssetSelection.assets("raw_archives", "unique_files", "images", "embeddings", "anomaly_scores"),
    partitions_def=archives,
    description="One archive, from the Internet Archive to scored images (scored where a mixture has been fitted).",
)
score_archive = dg.define_asset_job(
    "score_archive",
    dg.AssetSelection.assets("anomaly_scores"),
    partitions_def=archives,
    description="Scores one archive again, as after a new mixture or another percentile.",
)
fit_gmm = dg.define_asset_job(
    "fit_gmm", dg.AssetSelection.assets("gmm_model"), description="Fits the mixture to the reference images."
)
statistics = dg.define_asset_job(
    "statistics",
    dg.AssetSelection.assets("dataset").downstream(),
    description="Ownership across archives, the warehouse, and dbt's reports on it.",
)
ALL_JOBS = (mine_archive, score_archive, fit_gmm, statistics)
