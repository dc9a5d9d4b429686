"""All networks of a training as one file, for another training to begin with: G, H and both discriminators."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from amtgan_lib import paths
from amtgan_lib.files import written
from amtgan_lib.models import Regularizer
from amtgan_lib.training.state import State

COME_ALONG = {"trained": "trained_{recipe}.safetensors", "warmed": "warmed.safetensors"}
"""What the parameter ``start`` may say for networks that come with the package: those of a finished training of the
recipe, and G and H that only learned to give faces back, of the paper's recipes."""


def file_of(start: str, recipe: str) -> Path:
    """The file that ``start`` means: a path, or networks that come along."""
    return paths.WEIGHTS / COME_ALONG[start].format(recipe=recipe) if start in COME_ALONG else Path(start)


def save_networks(trainer: State, path: Path, facts: Mapping[str, Any]) -> Path:
    """Write the networks of a training in float16, with its configuration, its steps and ``facts`` (JSON values)."""
    from safetensors.torch import save_file

    tensors = {name: tensor.half().contiguous() for name, tensor in trainer.networks.state_dict().items()}
    told = {"config": json.dumps(asdict(trainer.config)), "facts": json.dumps({**facts, "steps": trainer.step})}
    with written(path) as unfinished:
        save_file(tensors, unfinished, told)
    return path


def configuration(path: Path) -> dict[str, Any]:
    """That of the training whose networks a file holds; ValueError where the file is missing or is none of these."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected networks.safetensors of a training")
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {})["config"])
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} does not hold the networks of a training: {error}") from error


def begin_with(trainer: State, path: Path) -> None:
    """Give a new training the networks of an earlier one; ValueError where these are of other kinds or sizes."""
    from safetensors.torch import load_file

    there, here = configuration(path), asdict(trainer.config)
    sizes = [name for name in here if "width" in name or name in ("bottlenecks", "regularizer_blocks")]
    if other := [f"{name} {there[name]} there, {here[name]} here" for name in sizes if there[name] != here[name]]:
        raise ValueError(f"start is {path}, a training of other networks: {', '.join(other)}")
    try:
        trainer.networks.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    except RuntimeError as error:
        raise ValueError(f"start is {path}, a training of the recipe {there['recipe']}: {error}") from error


def regularizer(path: Path) -> tuple[Regularizer, int]:
    """H of a training, frozen, and the side of the crops that it was trained on; from ``networks.safetensors``.

    ValueError where the file is missing or damaged, or of a recipe that trains no H.
    """
    from safetensors.torch import load_file

    config, prefix = configuration(path), "regularizer."
    tensors = {
        name.removeprefix(prefix): value.float() for name, value in load_file(path).items() if name.startswith(prefix)
    }
    if not tensors:
        raise ValueError(f"{path} is a training of the recipe {config['recipe']}, which has no H")
    width = config["regularizer_width"]
    network = Regularizer(config["regularizer_blocks"], width, width // 2)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False), config["size"]
