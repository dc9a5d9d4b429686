"""All networks of a training as one file, for another training to begin with: G, H and both discriminators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from amtgan_lib import paths
from amtgan_lib.files import read_safetensors, write_safetensors
from amtgan_lib.models import Regularizer
from amtgan_lib.training.state import State

COME_ALONG = {
    "trained": "trained_{recipe}.safetensors",
    "photos": "photos_{recipe}.safetensors",
    "warmed": "warmed.safetensors",
}
"""What the parameter ``start`` may say for networks that come with the package: those of a finished training of the
recipe, on drawn faces or on photographs, and G and H that only learned to give faces back, of the paper's recipes."""


def file_of(start: str, recipe: str) -> Path:
    """The file that ``start`` means: a path, or networks that come along."""
    return paths.WEIGHTS / COME_ALONG[start].format(recipe=recipe) if start in COME_ALONG else Path(start)


def save_networks(trainer: State, path: Path, facts: Mapping[str, Any]) -> Path:
    """Write the networks of a training in float16, with its configuration, its steps and ``facts`` (JSON values).

    Its ``recognizers`` are those of the facts, if these name some: all that ever trained the networks.
    """
    tensors = {name: tensor.half().contiguous() for name, tensor in trainer.networks.state_dict().items()}
    config = trainer.config.told()
    config["recognizers"] = facts.get("recognizers", config["recognizers"])
    told = {"config": config, "facts": {**facts, "steps": trainer.step}}
    return write_safetensors(path, tensors, told)


def configuration(path: Path) -> dict[str, Any]:
    """That of the training whose networks a file holds; ValueError where the file is missing or is none of these."""
    return _read(path)[1]


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The networks of a training, in float32, and its configuration."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected networks.safetensors of a training")
    try:
        tensors, (config,) = read_safetensors(path, "config")
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} does not hold the networks of a training: {error}") from error
    return {name: tensor.float() for name, tensor in tensors.items()}, config


def begin_with(trainer: State, path: Path) -> None:
    """Give a new training the networks of an earlier one; ValueError where these are of other kinds or sizes."""
    (tensors, there), here = _read(path), asdict(trainer.config)
    sizes = [name for name in here if "width" in name or name in ("bottlenecks", "regularizer_blocks")]
    if other := [f"{name} {there[name]} there, {here[name]} here" for name in sizes if there[name] != here[name]]:
        raise ValueError(f"start is {path}, a training of other networks: {', '.join(other)}")
    try:
        trainer.networks.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"start is {path}, a training of the recipe {there['recipe']}: {error}") from error


def regularizer(path: Path) -> tuple[Regularizer, int]:
    """H of a training, frozen, and the side of the crops that it was trained on; from ``networks.safetensors``.

    ValueError where the file is missing or damaged, or of a recipe that trains no H.
    """
    (tensors, config), prefix = _read(path), "regularizer."
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    if not own:
        raise ValueError(f"{path} is a training of the recipe {config['recipe']}, which has no H")
    width = config["regularizer_width"]
    network = Regularizer(config["regularizer_blocks"], width, width // 2)
    network.load_state_dict(own)
    return network.eval().requires_grad_(False), config["size"]
