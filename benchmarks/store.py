"""Keep a default run: its tables, scores, thresholds and faces as the stored rows of results/.

.venv/bin/python -m benchmarks.store results/runs/latest

Tables that belong together then come from one run. Afterwards: ``benchmarks.speed run --store``, ``make results``.
"""

import argparse
import shutil
from pathlib import Path

from amtgan_lib import paths
from amtgan_lib.reporting import results

COPIED = {
    "tables/02_recognition.csv": "recognition-drawn.csv",
    "tables/02_thresholds.csv": "thresholds-drawn.csv",
    "tables/02_false_accepts.csv": "false-accepts-drawn.csv",
    "tables/05_scores.csv": "scores-procedural.csv",
    "tables/05_groups.csv": "groups.csv",
    "tables/05_fars.csv": "fars-procedural.csv",
}
JOINED = ("tables/05_black_box_success.csv", "tables/06_image_quality.csv")
PICTURE = "figures/06_makeup.png"


def store(run: Path, measured: Path, figures: Path) -> None:
    """Copy a whole run's rows and faces; FileNotFoundError, before anything is copied, where it lacks one."""
    for name in (*COPIED, *JOINED, PICTURE):
        if not (run / name).exists():
            raise FileNotFoundError(f"{run} has no {name}: a run of --preset procedural from notebook 1 to 10 has")
    for name, stored in COPIED.items():
        shutil.copyfile(run / name, measured / stored)
    results.write(results.joined(*(results.read(run / name) for name in JOINED)), measured / "procedural.csv")
    shutil.copyfile(run / PICTURE, figures / "procedural_makeup.png")


def main() -> None:
    """Store the run that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    store(parser.parse_args().run.resolve(), paths.MEASURED, paths.ROOT / "results" / "figures")


if __name__ == "__main__":
    main()
