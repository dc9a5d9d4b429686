"""The command line of the pipeline."""

from typing import Annotated

import tyro

from amtgan_lib.pipeline.parameters import PresetError, Text
from amtgan_lib.pipeline.runner import run

Words = Annotated[str, tyro.conf.arg(metavar="01,03")]
Start = Annotated[str, tyro.conf.arg(name="from", metavar="03")]
RunId = Annotated[str | None, tyro.conf.arg(metavar="ID")]
Parameters = Annotated[tuple[str, ...], tyro.conf.arg(aliases=["-p"], metavar="NAME=VALUE"), tyro.conf.UseAppendAction]


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


def _overrides(assignments: tuple[str, ...]) -> dict[str, Text]:
    found = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise PresetError(f"-p {assignment!r} is not NAME=VALUE.")
        found[name.strip()] = Text(value)
    return found
