"""The command line of the pipeline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from amtgan_lib.cli import PROGRAM
from amtgan_lib.cli.arguments import arg
from amtgan_lib.pipeline import presets, runs
from amtgan_lib.pipeline.estimate import TRAINING
from amtgan_lib.pipeline.parameters import PresetError, Text
from amtgan_lib.pipeline.runner import run, shown
from amtgan_lib.pipeline.sweeps import Sweep, summary
from amtgan_lib.pipeline.sweeps import run as run_sweep

RunId = Annotated[str | None, arg("ID", help='name of the run folder; an existing run, or "latest", is reused.')]
Recipe = Literal["published", "corrected", "residual", "any_target", "adv_makeup"]
Preset = Annotated[str, arg("NAME|FILE", "procedural", help="a name in presets/, or the path of a YAML file.")]
Resume = Annotated[
    tyro.conf.FlagCreatePairsOff[bool],
    arg(help="keep finished steps of this run whose cells and parameters have not changed."),
]
REPEATED = "a parameter of every notebook that has it, or NOTEBOOK.NAME=VALUE; may be repeated."
Parameters = Annotated[tuple[str, ...], arg("NAME=VALUE", aliases=["-p"], help=REPEATED), tyro.conf.UseAppendAction]
TO_TRAIN = "01,02,03"  # the notebooks of `train`


def pipeline(
    preset: Preset = "procedural",
    only: Annotated[str, arg("01,03")] = "",
    start: Annotated[str, arg("03", name="from")] = "",
    run_id: RunId = None,
    parameter: Parameters = (),
    resume: Resume = False,
) -> None:
    """Run the numbered notebooks in order; tables, figures and executed copies go to results/runs/ID.

    Args:
        only: numbers or names of notebooks, separated by commas; the others are skipped.
        start: number or name of the first notebook to run.
    """
    run(preset, only=only, start=start, run_id=run_id, overrides=overrides(parameter), resume=resume, foretell=True)


def train(
    preset: Preset = "procedural",
    recipe: Annotated[tuple[Recipe, ...], arg()] = (),
    parameter: Parameters = (),
    resume_from: Annotated[Path | None, arg("CHECKPOINT")] = None,
    run_id: RunId = None,
    resume: Resume = False,
) -> None:
    """Train generators: notebooks 01 to 03 of a preset, into results/runs/ID/train/RECIPE.

    It first prints what it will train and where it will write. Ctrl-C stops it and prints how to resume.

    Args:
        recipe: one or more of them (default: those of the preset).
        resume_from: the checkpoint.pt of an interrupted training of one recipe, to resume from.
    """
    given = overrides(parameter)
    if recipe:
        given[f"{TRAINING}.recipe"] = Text(",".join(recipe))
    if resume_from is not None:
        if len(recipe) != 1:
            raise PresetError("--resume-from takes the checkpoint of one recipe: name the recipe with --recipe.")
        if not resume_from.is_file():
            raise PresetError(f"--resume-from: there is no file {resume_from}.")
        given[f"{TRAINING}.resume_from"] = Text(str(resume_from.resolve()))
    run_id = run_id or runs.default_id(presets.load(preset).name)
    print("\n".join(_to_train(preset, given, runs.folder(run_id))), flush=True)
    folder = run(preset, only=TO_TRAIN, run_id=run_id, overrides=given, resume=resume, foretell=True)
    for generator in sorted(folder.glob("train/*/generator.safetensors")):
        print(f"to use it: {PROGRAM} protect PHOTO --generator {generator}")


def _to_train(preset: str, given: dict[str, Text], folder: Path) -> list[str]:
    """What will be trained, in words: a line a recipe, with its steps and its file."""
    steps = presets.select(presets.plan(presets.load(preset), given), TO_TRAIN, "")
    faces = {step.values["world"] for step in steps if "world" in step.values}
    lines = []
    for values in (step.values for step in steps if step.notebook.name == TRAINING):
        name = values["recipe"]
        count, batch = (values[key].get(name, "no") for key in ("steps", "batch"))
        file = shown(folder / "train" / name / "generator.safetensors")
        lines.append(f"  {name}: {count} steps of {batch} faces at {values['size']} px -> {file}")
    kind = {("drawn",): "drawn faces", (): "faces"}.get(tuple(faces), "photographs")
    first = f"training {len(lines)} generator{'s' if len(lines) > 1 else ''} on {kind} (preset {preset}):"
    return [first, *lines, "Ctrl-C stops it at any time and prints how to resume."]


def sweep(
    over: Annotated[tuple[str, ...], arg("NAME=V1,V2"), tyro.conf.UseAppendAction] = (),
    preset: Preset = "procedural",
    parameter: Parameters = (),
    workers: Annotated[int, arg("N")] = 0,
    scheduler: Annotated[str, arg("tcp://HOST:8786")] = "",
    sweep_id: Annotated[str, arg("ID", "sweep")] = "sweep",
) -> None:
    """Run a preset in parallel for each value of a parameter, or each combination of values of several.

    The tables are gathered in results/runs/ID. A failed run does not stop the others. The same command resumes: it
    does not repeat finished runs.

    Args:
        over: a parameter and its values, such as held_out=drawn_ir,drawn_irse; may be repeated.
        workers: number of parallel runs. The default is one per core, or as many as the cluster takes.
        scheduler: address of a Dask cluster whose workers see this checkout. The default is this machine.
        sweep_id: name of the folder of the tables, and prefix of the run folders.
    """
    fixed = {name: value.text for name, value in overrides(parameter).items()}
    folder = run_sweep(Sweep(preset, _values(over), fixed, sweep_id), workers, scheduler)
    if (folder / "tables" / "05_black_box_success.csv").is_file():
        print(summary(folder))
    print(f"tables in {folder / 'tables'}")


def _values(over: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    swept = {}
    for words in over:
        name, equals, values = words.partition("=")
        if not equals or name.strip() in swept:
            raise PresetError(f"--over {words!r} is not NAME=VALUE,VALUE, or repeats a NAME.")
        swept[name.strip()] = tuple(value.strip() for value in values.split(","))
    return swept


def overrides(assignments: Sequence[str]) -> dict[str, Text]:
    """The assignments NAME=VALUE of `-p`; PresetError for anything else."""
    given = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise PresetError(f"-p {assignment!r} is not NAME=VALUE.")
        given[name.strip()] = Text(value)
    return given
