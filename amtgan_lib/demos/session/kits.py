"""Which recognisers guide a face's look and which judge it: one kit for drawn faces, one for photographs."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from amtgan_lib import assets, protection, recognizers
from amtgan_lib.images import PhotoError
from amtgan_lib.methods import Method, natural
from amtgan_lib.recognizers import Recognizer

HELD_OUT = "held out"
DRAWN_HELD_OUT = "inception_resnet"  # the family of the drawn recognisers that gives no hints


class StudioError(PhotoError):
    """What a person asked for cannot be done; one sentence for them."""


@dataclass(frozen=True, eq=False)
class Kit:
    """A method that wears looks, and the judges of what it does; ``world`` is "drawn" or "open".

    Every judge has thresholds at the false accept rates ``recognizers.USUAL`` and ``LAX``.
    """

    method: Method
    judges: tuple[Recognizer, ...]
    world: str

    def role(self, name: str) -> str:
        """What a judge had to do with the change: a word about how much its opinion is worth."""
        if name in self.method.recognizers:
            return "gave hints"
        related = any(recognizers.kin(name, other) for other in self.method.recognizers)
        return "related to one that gave hints" if related else HELD_OUT

    @property
    def says(self) -> str:
        """What the meters of this kit mean, in words."""
        names = ", ".join(judge.name for judge in self.judges)
        if self.world == "drawn":
            return (
                f"Judged by {names}, which know only drawn faces. They show how the method works, "
                "but say nothing about recognisers of real people."
            )
        if any(self.role(judge.name) == HELD_OUT for judge in self.judges):
            worth = "Those held out say more about other recognisers than those that gave hints"
        else:
            worth = "All of them gave hints for this change, so they overrate it"
        return (
            f"Judged by {names}: recognisers of real faces on this machine. {worth}; "
            "another recogniser, or a newer one, may still recognise this person."
        )


@functools.cache
def drawn_kit() -> Kit:
    """For drawn faces: the four recognisers that come with the package; those of one family only judge."""
    hinting, _ = recognizers.partition("family", DRAWN_HELD_OUT, recognizers.DRAWN)
    return Kit(natural.method(protection.guide_to(names=hinting)), _loaded(recognizers.DRAWN), "drawn")


@functools.cache
def photo_kit(held_out: Collection[str] = frozenset()) -> Kit:
    """For photographs: what ``protect`` does, with hints from all at hand but the ``held_out``, and whom it asks.

    Raises StudioError for a held out recogniser that is not at hand, ProtectionError where none is left to give hints.
    """
    names = recognizers.judges_at_hand()
    if strangers := [name for name in held_out if name not in names]:
        raise StudioError(f"{strangers[0]} cannot be held out: choose from {', '.join(names)}")
    judges = _loaded(names)
    return Kit(protection.prepare(held_out=sorted(held_out)).method, judges, "open")


def _loaded(names: Iterable[str]) -> tuple[Recognizer, ...]:
    try:
        return tuple(recognizers.load(name) for name in names)
    except assets.AssetError as error:
        raise StudioError(str(error)) from None
