"""How long a training step takes on this machine: `python -m amtgan_lib.training.pace PARAMETERS`, in JSON.

It runs in its own process, so that the caller need not load torch, and before anything is prepared: on a drawn pair of
faces, and with untrained recognisers where weights are not at hand, which take the same time.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

from amtgan_lib import datasets, losses, recognizers
from amtgan_lib.recognizers import Recognizer
from amtgan_lib.training.assembly import check_start, configured
from amtgan_lib.training.trainer import Trainer

LONG = 20.0
"""Seconds: a first step that took longer is enough, though the set-up is in it."""


def measured(given: dict, steps: int = 2) -> dict[str, str | float]:
    """Median seconds of all ``steps`` but the first, with these parameters of notebook 03_train; what they compute in.

    Where the first takes ``LONG``, it is the only one.
    """
    names = _names(given)
    config, pair = configured(given, names), datasets.drawn_pair(given["size"])
    networks = [_network(name) for name in names]
    target = pair if given["recipe"] == "any_target" else pair[:1]
    trainer = Trainer(config, target, networks, losses.perceptual(networks[0].features, names[0]))
    trainer.step = trainer.warm_up  # before it, steps take a fraction of the others
    source, reference = (pair[[side] * config.batch] for side in (0, 1))
    taken: list[float] = []
    while len(taken) < steps and (not taken or taken[0] < LONG):
        began = time.perf_counter()
        trainer.train_step(source, reference)
        taken.append(time.perf_counter() - began)
    seconds = statistics.median(taken[1:] or taken)
    told = {"recipe": config.recipe, "steps": config.steps, "warm_up": trainer.warm_up}
    return told | {"seconds": seconds, "precision": str(trainer.precision)}


def _names(given: dict) -> tuple[str, ...]:
    """The recognisers that are trained against; ValueError where no training can have such parameters."""
    names, judges = recognizers.partition(given["split"], given["held_out"], recognizers.zoo(given["zoo"]))
    check_start(configured(given, names), judges, given["split"])
    return names


def _network(name: str) -> Recognizer:
    if recognizers.at_hand([name]):
        return recognizers.load(name)
    return Recognizer(recognizers.spec(name), recognizers.folded(recognizers.build(name)), "")


if __name__ == "__main__":
    trainings = json.loads(sys.argv[1])
    try:
        for training in trainings:
            _names(training)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(json.dumps([measured(training) for training in trainings]))
