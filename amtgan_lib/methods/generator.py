"""Methods that draw with a generator: one that was trained for a target, or one that is told its target by hints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amtgan_lib import paths
from amtgan_lib.faces import FaceCrop
from amtgan_lib.hints import HINT_CHANNELS, gradient_hints
from amtgan_lib.methods.method import SOMEBODY, Method, MethodError
from amtgan_lib.methods.targets import Target
from amtgan_lib.models import Generator, load_generator
from amtgan_lib.recipes import Recipe, recipe
from amtgan_lib.recognizers import Known, Recognizer, refuse_judges

SHIPPED = paths.WEIGHTS / "generator_any_target.safetensors"  # an any-target generator for photographs


@dataclass(frozen=True)
class Guide:
    """What an any-target generator is told at use time: the ensemble, the target, and how often to look again.

    ``weights`` say what each recogniser counts (None: all the same); every pass after the first looks at its own result
    and corrects it. ``hinted=False`` leaves the hints out: the control that must fail. Where ``known``
    faces show the same person, a search for a look moves away from these, and not from the face itself.
    """

    recognizers: Sequence[Recognizer]
    target: Target
    weights: Sequence[float] | None = None
    passes: int = 1
    hinted: bool = True
    known: Known | None = None

    def __post_init__(self):
        if self.passes < 1:
            raise MethodError(f"passes is {self.passes}; expected at least 1")
        counts = len(self.recognizers) if self.weights is None else len(self.weights)
        if counts != len(self.recognizers) or not counts:
            raise MethodError(f"{len(self.recognizers)} recognisers and {counts} weights; expected a weight for each")
        try:
            refuse_judges(recognizer.name for recognizer in self.recognizers)
            self.target.of(self.recognizers)
        except ValueError as error:
            raise MethodError(str(error)) from None

    def embeddings(self, crop: FaceCrop) -> list[Tensor]:
        """Per recogniser (1,D) of a face: that of the clean one is what later passes move away from."""
        return [recognizer.embed(crop.image[None], crop.points[None]) for recognizer in self.recognizers]

    def hints(self, crop: FaceCrop, own: Sequence[Tensor] | None = None) -> Tensor:
        """(1,6,S,S) for a face as it is now; ``own`` as in ``gradient_hints``."""
        image, points = crop.image[None], crop.points[None]
        if not self.hinted:
            return image.new_zeros(1, HINT_CHANNELS, *image.shape[2:])
        return gradient_hints(image, points, self.recognizers, self.target.of(self.recognizers), own, self.weights)


def of_generator(
    network: Generator, how: Recipe, size: int, facts: dict[str, Any], guide: Guide | None = None
) -> Method:
    """The method that draws with a generator trained at ``size`` pixels by the recipe ``how``.

    An any-target generator needs a ``guide``; no other takes one.
    """

    @torch.no_grad()
    def draw(crop: FaceCrop, reference: FaceCrop) -> Tensor:
        if guide is None:
            return _drawn(network, crop, reference)[0]
        image = _drawn(network, crop, reference, guide.hints(crop))
        own = guide.embeddings(crop) if guide.passes > 1 else None
        for _ in range(guide.passes - 1):
            again = replace(crop, image=image[0])
            image = _drawn(network, again, again, guide.hints(again, own))
        return image[0]

    if guide is not None:
        used = sorted({*facts.get("recognizers", ()), *(recognizer.name for recognizer in guide.recognizers)})
        facts = {**facts, "recognizers": used, "target": guide.target.name}
    known = {"target": facts.get("target", SOMEBODY), "world": "drawn" if facts.get("world") == "drawn" else ""}
    knew = tuple(facts.get("recognizers", ()))
    return Method(how.name, draw, size, how, recognizers=knew, guide=guide, details=facts, **known)


def _drawn(network: Generator, crop: FaceCrop, reference: FaceCrop, hints: Tensor | None = None) -> Tensor:
    sides = (crop.masks, reference.masks, crop.landmarks, reference.landmarks)
    return network(crop.image[None], reference.image[None], *(side[None] for side in sides), hints).float()


def load(generator: str | Path, guide: Guide | None = None) -> Method:
    """The method of a generator file that notebook 03 wrote; MethodError where it is none.

    An any-target generator needs a ``guide``, and no other can be guided.
    """
    network, facts, how = read(generator)
    if how.any_target != (guide is not None):
        said = "needs a guide, which names the target and the recognisers" if guide is None else "takes no other target"
        raise MethodError(f"{generator} is of the recipe {how.name}: it {said}")
    return of_generator(network, how, facts["size"], facts, guide)


def read(generator: str | Path) -> tuple[Generator, dict[str, Any], Recipe]:
    """The network, the facts and the recipe of a generator file."""
    try:
        network, facts = load_generator(generator)
        if missing := {"recipe", "size"} - set(facts):
            lacking = " and ".join(sorted(missing))
            raise ValueError(f"{generator} does not say its {lacking}; train it by notebook 03_train")
        return network, facts, recipe(facts["recipe"])
    except ValueError as error:
        raise MethodError(str(error)) from None
