"""The jobs: mine or score an archive, fit the mixture and the probes, own, make the statistics, make a release."""

import dagster as dg

from imgmine_assets.partitions import archives, first_digits, versions

# What is told from an archive's vectors, by most from them alone.
_BY_VECTORS = ("anomaly_scores", "watermark_scores", "probe_scores", "categories")

mine_archive = dg.define_asset_job(
    "mine_archive",
    dg.AssetSelection.assets("raw_archives", "unique_files", "images", "nsfw_scores", "embeddings", *_BY_VECTORS),
    partitions_def=archives,
    description="One archive, from the Internet Archive to scored images (scored where there are models to score by).",
)
score_archive = dg.define_asset_job(
    "score_archive",
    dg.AssetSelection.assets("nsfw_scores", *_BY_VECTORS),
    partitions_def=archives,
    description="Scores one archive again, as after a new mixture, new labels, another threshold or list.",
)
fit_gmm = dg.define_asset_job(
    "fit_gmm", dg.AssetSelection.assets("gmm_model"), description="Fits the mixture to the reference images."
)
fit_probe = dg.define_asset_job(
    "fit_probe",
    dg.AssetSelection.assets("labels", "probe_model"),
    description="Fits the probes to what people labelled.",
)
statistics = dg.define_asset_job(
    "statistics",
    dg.AssetSelection.assets("dataset").downstream() - dg.AssetSelection.assets("releases"),
    description="Ownership across archives, the warehouse, and dbt's reports on it.",
)
own_in_parts = dg.define_asset_job(
    "own_in_parts",
    dg.AssetSelection.assets("ownership_parts"),
    partitions_def=first_digits,
    description=(
        "Ownership across archives in 16 parts, for hundreds of millions of files on several machines: launch the "
        "backfill of all, then statistics, which joins them."
    ),
)
find_near_duplicates = dg.define_asset_job(
    "find_near_duplicates",
    dg.AssetSelection.assets("near_duplicates"),
    description="Copies of one picture over all archives; pairs that were looked at before are not looked at again.",
)
make_release = dg.define_asset_job(
    "make_release",
    dg.AssetSelection.assets("releases"),
    partitions_def=versions,
    description="One version of the published dataset, by the recipe that imgmine release make has put into the store.",
)
take_down = dg.define_asset_job(
    "take_down",
    dg.AssetSelection.assets("takedown_applied"),
    description="Carries out the log of take-downs, and scans the store for what is left; imgmine takedown apply.",
)
ALL_JOBS = (
    mine_archive,
    score_archive,
    fit_gmm,
    fit_probe,
    statistics,
    own_in_parts,
    find_near_duplicates,
    make_release,
    take_down,
)
