"""The one entry to training: a run put together from the parameters of notebook 03_train, trained and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from amtgan_lib import datasets, losses, paths, recognizers
from amtgan_lib.training.beginning import begin_with, configuration, file_of, save_networks
from amtgan_lib.training.config import TrainConfig
from amtgan_lib.training.trainer import Trainer, export, train

DATA = ("prepared", "zoo", "split", "held_out", "target")
CONFIGURED = (
    *("recipe", "size", "width", "regularizer_blocks", "regularizer_width", "batch", "steps", "start"),
    *("warm_up", "alike", "views", "attack", "transfer", "tint"),
    *("learning_rate", "decay_from", "discriminator_rate"),
    *("precision", "checkpointing", "compile_mode", "device", "seed"),
)
PARAMETERS = (*DATA, *CONFIGURED)  # of notebook 03_train: what ``assembled`` reads


@dataclass(frozen=True)
class Run:
    """A training ready to start, and the facts that its generator's file will tell.

    Among them ``recognizers``: see ``taught_by``.
    """

    trainer: Trainer
    sources: datasets.FaceSet
    references: datasets.FaceSet
    facts: Mapping[str, Any]

    def train(
        self,
        folder: Path,
        *,
        resume_from: Path | None = None,
        minutes: float | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Path:
        """Train (see ``train``), with checkpoints in ``folder``, and write the generator there: its file.

        All networks stand beside it, for another training to start with.
        """
        checkpoint, file = folder / "checkpoint.pt", folder / "generator.safetensors"
        options = {"checkpoint": checkpoint, "resume_from": resume_from, "minutes": minutes}
        train(self.trainer, self.sources, self.references, **options)
        if self.trainer.share.rank == 0:
            export(self.trainer, file, dtype, **self.facts)
            save_networks(self.trainer, folder / "networks.safetensors", self.facts)
        return file


def assembled(given: Mapping[str, Any]) -> Run:
    """The run that these ``PARAMETERS`` of notebook 03_train ask for; others are not looked at."""
    face_set = datasets.load(paths.PREPARED / f"{given['prepared']}.npz", given["zoo"]).resized(given["size"])
    names, judges = recognizers.partition(given["split"], given["held_out"], recognizers.zoo(given["zoo"]))
    if given["recipe"] == "any_target":
        person, parts = "any", datasets.any_target_parts(face_set)
    else:
        person = given["target"] or datasets.default_target(face_set)
        parts = datasets.training_parts(face_set, person)
    target, sources, references = parts
    networks = [recognizers.load(name) for name in names]
    perceptual = losses.perceptual(networks[0].features, names[0])
    trainer = Trainer(configured(given, names), target, networks, perceptual)
    check_start(trainer.config, judges, given["split"])
    if trainer.config.start:
        begin_with(trainer, file_of(trainer.config.start, trainer.config.recipe))
    facts: dict[str, Any] = {"world": datasets.world_of(face_set.manifest).name, "target": person}
    facts |= {"held_out": given["held_out"], "split": given["split"], "perceptual": perceptual.name}
    facts["recognizers"] = taught_by(trainer.config)
    return Run(trainer, sources, references, facts)


def check_start(config: TrainConfig, judges: Sequence[str], split: str) -> None:
    """ValueError where a training would start with networks that one of its judges helped to train."""
    if not config.start:
        return
    try:
        recognizers.refuse_overlap(taught_by(config), judges, split)
    except ValueError as error:
        anew = f'start of {config.recipe} to "", as the preset procedural-long does, to train from nothing'
        raise ValueError(
            f"start is {config.start!r}, networks that a judge helped to train. {error} Set {anew}"
        ) from error


def taught_by(config: TrainConfig) -> list[str]:
    """The recognisers that a training learns from: its own, and those of the networks that it begins with."""
    earlier = configuration(file_of(config.start, config.recipe))["recognizers"] if config.start else ()
    return list(dict.fromkeys((*config.recognizers, *earlier)))


def configured(given: Mapping[str, Any], names: Sequence[str]) -> TrainConfig:
    """The configuration in the parameters of notebook 03_train, some of which say a value for each recipe."""
    values = {name: given[name] for name in CONFIGURED}
    chosen = {name: value[given["recipe"]] if isinstance(value, dict) else value for name, value in values.items()}
    return TrainConfig(**chosen, recognizers=tuple(names), discriminator_width=chosen["width"])
