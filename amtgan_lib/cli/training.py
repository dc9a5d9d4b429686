"""Training in several processes, one a GPU: `torchrun --nproc-per-node 4 -m amtgan_lib launch --run-id ID`.

It trains what notebook 03_train of a preset would train, with the same parameters, into the same folder of a run, which
`pipeline --run-id ID --from 04` continues. `batch` is that of all processes together. Without torchrun there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import tyro

from amtgan_lib.cli.arguments import arg
from amtgan_lib.cli.pipeline import Parameters, Preset, overrides
from amtgan_lib.pipeline import PresetError, presets, runs
from amtgan_lib.pipeline.estimate import TRAINING
from amtgan_lib.training import assembled, distributed


def launch(
    run_id: Annotated[str, arg("ID")],
    preset: Preset = "procedural",
    parameter: Parameters = (),
    resume: tyro.conf.FlagCreatePairsOff[bool] = False,
    minutes: float | None = None,
    half: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> None:
    """Train the generators of a preset, each in all processes that torchrun has started.

    Args:
        run_id: name of the run folder; each generator is written to its train/RECIPE.
        resume: resume from the checkpoints in the run folder, whatever their number of processes.
        minutes: stop each training after this many minutes, to resume later with --resume; one process only.
        half: store the generators in float16, which halves the file.
    """
    run_dir = runs.folder(run_id)
    wanted, dtype = planned(preset, parameter), torch.float16 if half else torch.float32
    with distributed.process_group(str(wanted[0]["device"])) as share:
        for given in wanted:
            folder = run_dir / "train" / str(given["recipe"])
            checkpoint = folder / "checkpoint.pt"
            try:
                ready = assembled(given)
                trainer = ready.trainer
                trainer.learn_from(ready.sources, ready.references)
                if resume and checkpoint.exists():
                    trainer.resume(checkpoint)
            except ValueError as error:  # what the parameters ask for cannot be
                raise PresetError(str(error)) from error
            if share.rank == 0:
                print(f"{given['recipe']} {trainer.precision}", flush=True)
            file = ready.train(folder, minutes=minutes, dtype=dtype)
            if share.rank == 0:
                print(f"{file}: step {trainer.step} of {trainer.config.steps}, {trainer.seconds:.0f} seconds")


def planned(preset: str, assignments: Sequence[str]) -> list[dict]:
    """The parameters of each 03_train that the preset would run."""
    plan = presets.plan(presets.load(preset), overrides(assignments))
    steps = [step for step in plan if step.notebook.name == TRAINING]
    if not steps:
        raise PresetError(f"The preset {preset} does not run the notebook {TRAINING}, so there is nothing to train.")
    presets.check_recipes(steps)
    return [step.values for step in steps]
