"""What is trained, put together from the parameters of notebook 03_train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from amtgan_lib import datasets, losses, paths, recognizers
from amtgan_lib.training.config import TrainConfig
from amtgan_lib.training.trainer import Trainer


def assembled(given: dict) -> tuple[Trainer, datasets.FaceSet, datasets.FaceSet, dict[str, str]]:
    """Trainer, sources, references and the facts of its file, from the parameters of notebook 03_train.

    given: those by name; other names are passed over, so a notebook gives its ``globals()``.
    """
    face_set = datasets.load(paths.PREPARED / f"{given['prepared']}.npz", given["zoo"]).resized(given["size"])
    names, _ = recognizers.partition(given["split"], given["held_out"], recognizers.zoo(given["zoo"]))
    person = given["target"] or datasets.default_target(face_set)
    parts = datasets.training_parts(face_set, person)
    if given["recipe"] == "any_target":
        person, parts = "any", datasets.any_target_parts(face_set)
    target, sources, references = parts
    networks = [recognizers.load(name) for name in names]
    perceptual = losses.perceptual(networks[0].features, names[0])
    trainer = Trainer(configured(given, names), target, networks, perceptual)
    world = datasets.world_of(face_set.manifest).name
    facts = {"world": world, "target": person, "held_out": given["held_out"], "split": given["split"]}
    return trainer, sources, references, {**facts, "perceptual": perceptual.name}


def configured(given: dict, names: Sequence[str]) -> TrainConfig:
    """The configuration in the parameters of notebook 03_train, some of which say a value for each recipe."""
    known = ({field.name for field in fields(TrainConfig)} - {"recognizers"}) & given.keys()
    chosen = {name: value[given["recipe"]] if isinstance(value := given[name], dict) else value for name in known}
    return TrainConfig(**chosen, recognizers=tuple(names), discriminator_width=given["width"])
