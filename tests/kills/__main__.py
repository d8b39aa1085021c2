"""`python -m tests.kills`: kills runs of the graph at random moments, and prints how many met which stage.

Exit status 1 where a run afterwards did not set all right, byte for byte; its folder is kept. `make kills` calls it.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.kills.campaign import FOLDER, S3, Kill, Outcome, campaign, circumstances_of, trials
from tests.kills.moments import Stage

FETCH_MODES = ["cache", "stream", "select"]


def main() -> int:
    """Kill as often as is asked for; return 1 where something was wrong afterwards."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the moments (default: %(default)s)")
    parser.add_argument("--records", type=int, default=60, help="of the miniature archive (default: about %(default)s)")
    parser.add_argument("--stores", nargs="+", default=[FOLDER, S3], choices=[FOLDER, S3])
    parser.add_argument("--fetch", nargs="+", default=FETCH_MODES, choices=FETCH_MODES)
    parser.add_argument("--folder", type=Path, help="where to work; what went wrong is kept (default: a temporary one)")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="imgmine-kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    kills: list[Kill] = []
    wrong: list[Outcome] = []
    number_of_trials = 0
    started = time.monotonic()
    with campaign(folder, asked.seed, asked.records, with_s3=S3 in asked.stores) as running:
        for outcome in trials(running, circumstances_of(asked.stores, asked.fetch), asked.kills):
            number_of_trials += 1
            kills += outcome.kills
            met = ", ".join(f"{kill.victim} in {kill.stage.label}" for kill in outcome.kills) or "ended before the kill"
            print(f"{len(kills):4} of {asked.kills}  {outcome.circumstances}: {met}", flush=True)
            if outcome.faults:
                wrong.append(outcome)
                print("\n".join(f"     WRONG: {fault}" for fault in outcome.faults), flush=True)
                print(f"     See {outcome.folder}", flush=True)
    minutes = (time.monotonic() - started) / 60
    print(f"\n{table(kills)}\n")
    made = f"{len(kills)} kills in {number_of_trials} trials, seed {asked.seed}, {minutes:.0f} minutes"
    print(f"{made}: something was wrong after {len(wrong)} of the trials.")
    if not wrong and asked.folder is None:
        shutil.rmtree(folder)
    return 1 if wrong else 0


def table(kills: Sequence[Kill]) -> str:
    """Return, in Markdown, how many kills met which stage, by store, way of fetching, victim, and in a row."""
    columns = {
        "kills": lambda kill: True,
        "folder": lambda kill: kill.circumstances.store == FOLDER,
        "S3": lambda kill: kill.circumstances.store == S3,
        **{mode: lambda kill, mode=mode: kill.circumstances.fetch == mode for mode in FETCH_MODES},
        "an archive anew": lambda kill: kill.circumstances.anew,
        **{victim.value: lambda kill, victim=victim: kill.victim is victim for victim in type(kills[0].victim)},
        "the 2nd or 3rd in a row": lambda kill: kill.in_a_row > 1,
    }
    rows = [(stage.label, [kill for kill in kills if kill.stage is stage]) for stage in Stage]
    lines = [["stage", *columns], ["---", *["--:"] * len(columns)]]
    for name, of in [*rows, ("all", list(kills))]:
        if of:
            lines.append([name, *(str(sum(map(counts, of))) for counts in columns.values())])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
