"""Measure the stored tables of results/measured anew, part by part, all at one commit.

.venv/bin/python -m benchmarks.measured                     # which parts there are, and which are done
.venv/bin/python -m benchmarks.measured natural open-small  # measure these, or "all"; the same command resumes
.venv/bin/python -m benchmarks.measured --keep              # copy what is done into results/; then `make results`

Tables lie in results/runs until they are kept: in results/measured they would make the checkout another than that of
its commit. What is in APART has no part here.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from amtgan_lib import paths
from amtgan_lib.files import written
from amtgan_lib.reporting import results
from benchmarks import looks

SUCCESS = ("05_black_box_success", "06_image_quality")
DRAWN = {
    "recognition-drawn": ("02_recognition",),
    "thresholds-drawn": ("02_thresholds",),
    "false-accepts-drawn": ("02_false_accepts",),
    "scores-procedural": ("05_scores",),
    "groups": ("05_groups",),
    "fars-procedural": ("05_fars",),
    "procedural": SUCCESS,
}
ANY_TARGET = {
    "any-target": SUCCESS,
    "any-target-passes": ("12_any_target_passes",),
    "any-target-ablation": ("12_any_target_ablation",),
    "any-target-equal-ssim": ("12_any_target_equal_ssim",),
    "any-target-equal-visible": ("12_any_target_equal_visible",),
}
# Times and calibrations are measured by commands of their own; the other two are trials that no preset makes any more.
APART = {"speed", "recognition", "thresholds", "bf16", "any-target-more-passes"}


@dataclass(frozen=True)
class Part:
    """What one command measures. minutes: on two cores with native bfloat16, roughly.

    files: relative to results/, as they are stored. ``make`` writes them into a folder, as if that were results/.
    """

    minutes: int
    files: tuple[str, ...]
    make: Callable[[Path], None]

    def done(self, folder: Path) -> bool:
        """Whether all of it lies there."""
        return all((folder / file).is_file() for file in self.files)


def run(*words: str) -> None:
    """Run a module with this interpreter in this checkout; CalledProcessError where it fails."""
    subprocess.run([sys.executable, "-m", *words], cwd=paths.ROOT, check=True)


def of_run(
    minutes: int, preset: str, tables: Mapping[str, tuple[str, ...]], pictures: Mapping[str, str] = MappingProxyType({})
) -> Part:
    """A preset's run, whose tables and pictures are stored under other names (stored name -> names in the run)."""
    files = (*(f"measured/{name}.csv" for name in tables), *(f"figures/{name}.png" for name in pictures))

    def make(folder: Path) -> None:
        run_folder = paths.RUNS / f"{folder.name}-{preset}"
        resume = ["--resume"] if (run_folder / "run.json").is_file() else []
        run("amtgan_lib", "pipeline", "--preset", preset, "--run-id", run_folder.name, *resume)
        copy(run_folder, tables, folder)
        for stored, name in pictures.items():
            shutil.copyfile(run_folder / "figures" / f"{name}.png", folder / "figures" / f"{stored}.png")

    return Part(minutes, files, make)


def of_looks(name: str) -> Part:
    """A set of looks on the photographs that the preset ``natural`` prepares."""

    def make(folder: Path) -> None:
        prepared_photographs()
        run("benchmarks.looks", name, "--into", str(folder / "measured"))

    return Part(15, (f"measured/{name}.csv",), make)


def prepared_photographs() -> None:
    """Prepare the open photographs, if that was not done yet."""
    if not (paths.PREPARED / "open.npz").is_file():
        run("amtgan_lib", "pipeline", "--preset", "natural", "--only", "01")


def leave_one_out(folder: Path) -> None:
    """Table 1 with each drawn recogniser held out in turn."""
    name = f"{folder.name}-leave-one-out"
    judges = ("--over", "held_out=drawn_ir,drawn_irse,drawn_mobile,drawn_inception")
    split = ("-p", "split=leave one out")
    run("amtgan_lib", "sweep", "--preset", "procedural-long", *split, "--sweep-id", name, *judges)
    copy(paths.RUNS / name, {"leave-one-out": SUCCESS}, folder)


def turned(folder: Path) -> None:
    """How many faces are found beside an upright one, at each angle."""
    run("benchmarks.turned", "4", str(folder / "measured"))


def copy(run_folder: Path, tables: Mapping[str, tuple[str, ...]], folder: Path) -> None:
    """Store a run's tables under their names; several become one. FileNotFoundError where the run lacks one."""
    for stored, names in tables.items():
        files = [run_folder / "tables" / f"{name}.csv" for name in names]
        target = folder / "measured" / f"{stored}.csv"
        if len(files) == 1:
            with written(target) as part:
                shutil.copyfile(files[0], part)
        else:
            results.write(results.joined(*(results.read(file) for file in files)), target)


def london(folder: Path) -> None:
    """The look of ``protect`` on the London set, whose people come with labels."""
    prepared_photographs()
    run("benchmarks.london", "--into", str(folder / "measured"))


PARTS = {
    "procedural": of_run(12, "procedural", DRAWN, {"procedural_makeup": "06_makeup"}),
    "open-small": of_run(45, "open-small", {"open-small": SUCCESS}),
    "ablation": of_run(170, "ablation", {"ablation": ("07_ablation",)}, {"ablation": "07_ablation"}),
    "any-target": of_run(240, "any-target", ANY_TARGET),
    "leave-one-out": Part(240, ("measured/leave-one-out.csv",), leave_one_out),
    "london": Part(20, ("measured/natural-london.csv", "measured/groups-london.csv"), london),
    "turned": Part(1, ("measured/turned.csv",), turned),
} | {name: of_looks(name) for name in looks.NAMES if (paths.MEASURED / f"{name}.csv").is_file()}


def listed(folder: Path) -> str:
    """A line a part: whether it is done at this commit, and the minutes that it takes."""
    lines = [
        f"{name:24} {'done' if part.done(folder) else f'about {part.minutes} minutes'}" for name, part in PARTS.items()
    ]
    return "\n".join(lines)


def measure(names: list[str], folder: Path) -> None:
    """Make those of these parts that are not done yet."""
    for at, name in enumerate(names, 1):
        if not PARTS[name].done(folder):
            print(f"{at} of {len(names)}: {name}, about {PARTS[name].minutes} minutes", flush=True)
            for kind in ("measured", "figures"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
            PARTS[name].make(folder)


def keep(folder: Path) -> list[str]:
    """Copy what is done into results/; returns the names of the parts."""
    done = [name for name, part in PARTS.items() if part.done(folder)]
    for file in (file for name in done for file in PARTS[name].files):
        shutil.copyfile(folder / file, paths.MEASURED.parent / file)
    return done


def main(words: list[str] | None = None) -> None:
    """List, measure or keep, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"all, or some of: {', '.join(PARTS)}")
    parser.add_argument("--keep", action="store_true", help="copy what is done into results/")
    given = parser.parse_args(words)
    if strange := set(given.parts) - set(PARTS) - {"all"}:
        parser.error(f"there is no part {', '.join(sorted(strange))}; there are all, {', '.join(PARTS)}")
    commit = results.commit()
    if (given.parts or given.keep) and (commit.endswith("-dirty") or commit == "no git"):
        parser.error(f"rows name the commit that made them, and this checkout is {commit}: commit what has changed")
    folder = paths.RUNS / f"measured-{commit}"
    measure(list(PARTS) if "all" in given.parts else given.parts, folder)
    print(f"kept in results/: {', '.join(keep(folder)) or 'nothing is done'}" if given.keep else listed(folder))


if __name__ == "__main__":
    main()
