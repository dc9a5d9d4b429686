"""Which generator changes a face and which recognisers judge it: one kit for drawn faces, one for photographs."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from amtgan_lib import assets, methods, paths, protection, recognizers
from amtgan_lib.faces import FaceCrop
from amtgan_lib.images import PhotoError
from amtgan_lib.methods import Guide, Method, MethodError, targets
from amtgan_lib.methods.generator import SHIPPED, read
from amtgan_lib.models import Generator
from amtgan_lib.recipes import Recipe
from amtgan_lib.recognizers import Recognizer

DRAWN_GENERATOR = "generator_drawn.safetensors"
USUAL, LAX = 0.01, 0.1  # false accept rates: how many of 100 strangers a recogniser takes for the owner is 1, or 10


class StudioError(PhotoError):
    """What a person asked for cannot be done; one sentence for them."""


@dataclass(frozen=True, eq=False)
class Kit:
    """A generator that adds a change to a face, its guide (None: it was trained for one target), and the judges.

    Every judge has thresholds at the false accept rates USUAL and LAX. ``world`` is "drawn" or "open".
    """

    network: Generator
    method: Method
    judges: tuple[Recognizer, ...]
    world: str

    @property
    def guide(self) -> Guide | None:
        """What an any-target generator is told."""
        return self.method.guide

    @property
    def size(self) -> int:
        """Side of the crops that the generator changes."""
        return self.method.size

    def hints(self, crop: FaceCrop) -> Tensor | None:
        """What the guide tells of a clean face: (1,6,S,S), or None without one."""
        return None if self.guide is None else self.guide.hints(crop)

    def role(self, name: str) -> str:
        """What a judge had to do with the change: a word about how much its opinion is worth."""
        if self.guide is not None and name in [each.name for each in self.guide.recognizers]:
            return "gave hints"
        return "took part in training" if name in self.method.recognizers else "held out"

    @property
    def says(self) -> str:
        """What the meters of this kit mean, in words for whoever looks at them."""
        names = ", ".join(judge.name for judge in self.judges)
        if self.world == "drawn":
            return (
                f"Judged by {names}, which know drawn faces only. They show how the method works; "
                "about recognisers of real people they say nothing."
            )
        if any(self.role(judge.name) == "held out" for judge in self.judges):
            worth = "Those that are held out say more about others than those that gave hints or trained"
        else:
            worth = "All of them had a say in this change, so they flatter it"
        return (
            f"Judged by {names}: recognisers of real faces at hand on this machine. {worth}; "
            "another recogniser, or a newer one, may still recognise this person."
        )


def at_hand() -> tuple[str, ...]:
    """Names of the recognisers of real faces that need no download: our own, and open ones that lie on this machine."""
    return recognizers.at_hand((*recognizers.OWN, *recognizers.OPEN))


@functools.cache
def drawn_kit() -> Kit:
    """For drawn faces: the small generator and the four recognisers that come with the package."""
    return kit(paths.WEIGHTS / DRAWN_GENERATOR)


@functools.cache
def photo_kit(held_out: frozenset[str] = frozenset()) -> Kit:
    """For photographs: the generator of ``protection.protect``, with hints from all at hand but the ``held_out``."""
    return kit(SHIPPED, held_out)


def kit(generator: str | Path, held_out: Collection[str] = ()) -> Kit:
    """The kit of a generator file; the recognisers of its world judge, and all but ``held_out`` give hints.

    Raises StudioError for a generator that redraws the face, so that nothing can be blended, for one that makes people
    pass as a real person, and where no recogniser of its world is at hand.
    """
    try:
        network, facts, how = read(generator)
    except MethodError as error:
        raise StudioError(f"{generator} is no generator of this project: {error}") from None
    world = "drawn" if facts.get("world") == "drawn" else "open"
    _check(generator, how, facts, world)
    names = _names(world, held_out)
    try:
        judges = tuple(recognizers.load(name) for name in names)
        guide = _guide(facts, world, [name for name in names if name not in held_out]) if how.any_target else None
    except assets.AssetError as error:
        raise StudioError(str(error)) from None
    make = methods.of_generator if guide is None else functools.partial(methods.of_guided, guide=guide)
    return Kit(network, make(network, how, facts["size"], facts), judges, world)


def _names(world: str, held_out: Collection[str]) -> tuple[str, ...]:
    """The recognisers that judge a world's faces."""
    names = recognizers.DRAWN if world == "drawn" else at_hand()
    if not names:
        raise StudioError(
            "no recogniser of real faces is at hand: fetch the open ones once (13 MB) by "
            f"`python -m amtgan_lib assets fetch {' '.join(recognizers.OPEN)}`"
        )
    if strangers := [name for name in held_out if name not in names]:
        raise StudioError(f"{strangers[0]} cannot be held out: at hand are {', '.join(names)}")
    return names


def _check(generator: str | Path, how: Recipe, facts: dict[str, Any], world: str) -> None:
    if how.output != "residual" or how.stretch_output or how.crop_output:
        raise StudioError(
            f"{generator} is of the recipe {how.name}, which draws the whole face anew: there is nothing to blend; "
            "take a generator of the recipe residual or any_target"
        )
    if world != "drawn" and not how.any_target and facts.get("target") != targets.NOBODY:
        raise StudioError(
            f"{generator} makes recognisers take a face for {facts.get('target')}, who may have to answer for it: "
            "take one of the recipe any_target, which moves to nobody"
        )


def _guide(facts: dict[str, Any], world: str, names: Sequence[str]) -> Guide:
    """Drawn judges that took no part in training give no hints either, so that one stays held out."""
    known = [name for name in names if world != "drawn" or name in facts["recognizers"]]
    if not known:
        raise StudioError("every recogniser at hand is held out: leave one that gives hints")
    return protection.guide_to(names=known)
