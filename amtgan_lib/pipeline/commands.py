"""The command line of the pipeline."""

from typing import Annotated

import tyro

from amtgan_lib.pipeline.parameters import PresetError, Text
from amtgan_lib.pipeline.runner import run
from amtgan_lib.pipeline.sweeps import Sweep, summary
from amtgan_lib.pipeline.sweeps import run as run_sweep

Words = Annotated[str, tyro.conf.arg(metavar="01,03")]
Start = Annotated[str, tyro.conf.arg(name="from", metavar="03")]
RunId = Annotated[str | None, tyro.conf.arg(metavar="ID")]
Parameters = Annotated[tuple[str, ...], tyro.conf.arg(aliases=["-p"], metavar="NAME=VALUE"), tyro.conf.UseAppendAction]
Over = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=V1,V2"), tyro.conf.UseAppendAction]


def pipeline(
    preset: str = "procedural",
    only: Words = "",
    start: Start = "",
    run_id: RunId = None,
    parameter: Parameters = (),
    resume: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> None:
    """Run the numbered notebooks in order, and write tables, figures and executed copies into results/runs/ID.

    Args:
        preset: a name in presets/, or the path of a YAML file.
        only: numbers or names of notebooks, with commas between; the others are left out.
        start: number or name of the first notebook to run.
        run_id: name of the run folder; an old run, or "latest", is run into again.
        parameter: a parameter of every notebook that has it, or NOTEBOOK.NAME=VALUE; may be given again and again.
        resume: keep what this run has done already with the same cells and parameters.
    """
    run(preset, only=only, start=start, run_id=run_id, overrides=_overrides(parameter), resume=resume)


def sweep(
    over: Over = (),
    preset: str = "procedural",
    parameter: Parameters = (),
    workers: int = 0,
    scheduler: Annotated[str, tyro.conf.arg(metavar="tcp://HOST:8786")] = "",
    sweep_id: Annotated[str, tyro.conf.arg(metavar="ID")] = "sweep",
) -> None:
    """Run a preset once for each value of a parameter, or for each combination of values of several, side by side.

    The tables are gathered into results/runs/ID. What is finished is not run again, and one failed run does not stop
    the others: the same command goes on from there.

    Args:
        over: a parameter and its values, such as held_out=drawn_ir,drawn_irse; may be given again and again.
        preset: a name in presets/, or the path of a YAML file.
        parameter: a parameter of every run, NAME=VALUE; may be given again and again.
        workers: runs side by side; 0 is one a core, or all that the cluster can.
        scheduler: address of a Dask cluster; its workers must see this checkout. Without it: this machine.
        sweep_id: name of the folder of the tables, and the beginning of the names of the run folders.
    """
    fixed = {name: value.text for name, value in _overrides(parameter).items()}
    folder = run_sweep(Sweep(preset, _values(over), fixed, sweep_id), workers, scheduler)
    if (folder / "tables" / "05_black_box_success.csv").is_file():
        print(summary(folder))
    print(f"tables in {folder / 'tables'}")


def _values(over: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found = {}
    for words in over:
        name, equals, values = words.partition("=")
        if not equals or name.strip() in found:
            raise PresetError(f"--over {words!r} is not NAME=VALUE,VALUE with a NAME of its own.")
        found[name.strip()] = tuple(value.strip() for value in values.split(","))
    return found


def _overrides(assignments: tuple[str, ...]) -> dict[str, Text]:
    found = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise PresetError(f"-p {assignment!r} is not NAME=VALUE.")
        found[name.strip()] = Text(value)
    return found
