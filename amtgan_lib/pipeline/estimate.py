"""How long a run will take: two steps of each training are measured, everything else comes from stored rows.

``results/measured/speed.csv`` tells how long each notebook of a preset took, and a step of its trainings. This machine
is assumed to be as much slower or faster at the notebooks as it is at the steps.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence

from amtgan_lib import paths
from amtgan_lib.pipeline.parameters import PresetError
from amtgan_lib.pipeline.presets import Step
from amtgan_lib.reporting import results

TRAINING = "03_train"
STEP = "seconds a step"
WARM_UP_COST = 0.25  # of a step that only gives faces back, beside a whole one
WRONG = 2  # exit status of the measurement, where no training can have these parameters


def expected(steps: Sequence[Step], preset: str) -> str:
    """Lines about the minutes to expect: of each training, and of the other notebooks where a run of them is stored.

    "" without a training. If the measurement fails, the text says why, since the run can continue. Raises PresetError
    if the parameters name an unknown recogniser, or leave none to train against.
    """
    trainings = [step for step in steps if step.notebook.name == TRAINING]
    if not trainings:
        return ""
    command = [sys.executable, "-m", "amtgan_lib.training.pace", json.dumps([step.values for step in trainings])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.splitlines() or ["it said nothing"])[-1]
        if done.returncode == WRONG:
            raise PresetError(last)
        return f"how long training takes could not be measured: {last}"
    paces = json.loads(done.stdout.splitlines()[-1])
    lines, training = [f"two steps of each training were measured; this machine {paces[0]['precision']}"], 0.0
    for pace in paces:
        seconds = (pace["steps"] - (1 - WARM_UP_COST) * pace["warm_up"]) * pace["seconds"]
        training += seconds
        short = f" ({pace['warm_up']} of them a quarter as long)" if pace["warm_up"] else ""
        lines.append(f"  {pace['recipe']}: {pace['steps']} steps of {pace['seconds']:.2g} s{short}, {minutes(seconds)}")
    others = _others(steps, preset, {step.name: pace["seconds"] for step, pace in zip(trainings, paces, strict=True)})
    if others is None:
        return "\n".join([*lines, f"about {minutes(training)} of training in all, and what the other notebooks take"])
    return "\n".join([*lines, f"about {minutes(training + others)} in all"])


def _others(steps: Sequence[Step], preset: str, paces: dict[str, float]) -> float | None:
    """Seconds of the notebooks that do not train; None where no run of this preset is stored that has them all.

    Of several stored machines, the one with the most similar time a step counts.
    """
    table = results.read(paths.MEASURED / "speed.csv")
    table = table[table["dataset"] == f"run, {preset}"]
    names, estimates = [step.name for step in steps if step.name not in paces], {}
    for _, rows in table.groupby("device"):
        values = {metric: part.set_index("method")["value"] for metric, part in rows.groupby("metric")}
        known = {metric: set(value.index) for metric, value in values.items()}
        if paces.keys() <= known.get(STEP, set()) and set(names) <= known.get("seconds", set()):
            slower = sum(paces.values()) / sum(values[STEP][name] for name in paces)
            estimates[abs(math.log(slower))] = slower * float(values["seconds"][names].sum())
    return estimates[min(estimates)] if estimates else None


def minutes(seconds: float) -> str:
    """A time in words, as exact as an estimate is: "40 seconds", "7 minutes", "3.5 hours"."""
    if seconds < 90:
        return f"{max(round(seconds, -1), 10):.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.2g} hours"
