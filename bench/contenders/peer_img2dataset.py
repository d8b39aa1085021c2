"""img2dataset, fed over loopback with the originals that ours accepts, ready as files: resize to 448, WebDataset out.

It runs in an environment of its own. Reading the archive, choosing originals and dropping pictures are spared it, and
it decodes with OpenCV, which judges more leniently than Pillow.
"""

import json
from pathlib import Path

from img2dataset import download
from stages import Stages, job


def main() -> None:
    """Let it fetch every URL of the list."""
    task = job()
    out = Path(task["scratch"]) / "out"
    stages = Stages()
    with stages.stage("all"):
        download(
            url_list=task["urls"],
            output_folder=str(out),
            output_format="webdataset",
            image_size=448,
            resize_mode="keep_ratio",
            resize_only_if_bigger=True,
            encode_quality=90,
            processes_count=task["lanes"],
            thread_count=16,
            number_sample_per_shard=1000,
            extract_exif=False,
            compute_hash=None,
            enable_wandb=False,
        )
    told = [json.loads(path.read_text()) for path in out.glob("*_stats.json")]
    stages.report(sum(shard["successes"] for shard in told))


if __name__ == "__main__":
    main()
