"""Ours, as it is run: an archive through the graph, from a loopback archive.org to published tables and previews."""

from pathlib import Path

import dagster as dg
from stages import Stages, job

from imgmine.settings import load_settings
from imgmine.store.opening import open_store
from imgmine.store.publish import read_table
from imgmine_assets.definitions import build_defs
from imgmine_assets.partitions import add_archives

ASSETS = ("raw_archives", "unique_files", "images")


def main() -> None:
    """Materialize the assets one after the other."""
    task = job()
    archive, home = task["archive"], Path(task["scratch"]) / "home"
    home.mkdir()
    stages = Stages()
    settings = load_settings(
        {"IMGMINE_HOME": str(home), "IMGMINE_ARCHIVE_ORG": task["server"], "IMGMINE_DECODE": task["decode"]}
    )
    with dg.instance_for_test(temp_dir=str(home)) as instance:
        defs = build_defs(settings=settings)
        add_archives(instance, [archive])
        for asset in ASSETS:
            with stages.stage(asset):
                result = defs.resolve_job_def("mine_archive").execute_in_process(
                    instance=instance,
                    partition_key=archive,
                    asset_selection=[dg.AssetKey(asset)],
                    run_config={"loggers": {"console": {}}},
                )
            assert result.success
    table = read_table(open_store(settings.store), "images", archive).read()
    stages.report(table["decision"].to_pylist().count("kept"))


if __name__ == "__main__":
    main()
