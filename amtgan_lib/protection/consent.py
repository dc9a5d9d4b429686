"""Who a protected face may be taken for (nobody, unless a person is named on purpose), and whose hints guide it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from amtgan_lib import recognizers
from amtgan_lib.images import open_photo
from amtgan_lib.methods import authors, generator, natural, targets
from amtgan_lib.methods.generator import Guide
from amtgan_lib.methods.method import Method, MethodError
from amtgan_lib.methods.targets import Target
from amtgan_lib.recipes import PUBLISHED, Recipe
from amtgan_lib.recognizers import Known

ENOUGH = 3  # open recognisers, beside which their students would only take the place of better hints
PASSES = 4  # of an any-target generator: success and visible change against passes are in notebook 12


class ProtectionError(MethodError):
    """A photo that could not be protected; nothing was written. One sentence for its owner."""


_ON_PURPOSE = (
    "that person may be held responsible for it; pass impersonate=True (--impersonate) if they have agreed, or omit "
    "the target and the generator to be taken for nobody"
)


def check_method(method: Method, impersonate: bool) -> None:
    """ProtectionError for a method that makes people pass as a real person, unless consent is confirmed."""
    at_real_people = method.guide is not None or not method.world  # a guide names its target, whatever drew the faces
    if method.target != targets.NOBODY and at_real_people and not impersonate:
        raise ProtectionError(f"this generator makes recognisers take a face for {method.target}: {_ON_PURPOSE}")


def check_target(target: Any, impersonate: bool) -> None:
    """ProtectionError if somebody would be impersonated without confirmed consent."""
    if target is not None and not impersonate:
        raise ProtectionError(f"a target makes recognisers take this face for another person: {_ON_PURPOSE}")


def guide_to(
    target: Target | str | Path | Image.Image | Sequence[str | Path | Image.Image] | None = None,
    *,
    impersonate: bool = False,
    passes: int = PASSES,
    names: Sequence[str] | None = None,
    known: Known | None = None,
) -> Guide:
    """The target of a face and the recognisers that guide it there: by default nobody, and all that are available.

    names: the recognisers that give hints. None: the open recognisers on this machine (``python -m amtgan_lib
    assets fetch --group weights`` fetches them) and, if these are few, our own, which come with the package;
    nothing is fetched.

    target: None for nobody, a ``Target``, or one or more photos of a person, who is then
    impersonated. That needs ``impersonate=True``: whoever is matched with your photo may be held responsible for it.

    known: faces that recognisers may compare with. Raises ProtectionError if a target is named without
    ``impersonate=True``.
    """
    check_target(target, impersonate)
    if isinstance(target, str) or not isinstance(target, Target | Sequence | None):
        target = [target]
    if isinstance(target, Sequence) and not target:
        raise ProtectionError("the target is an empty list of photos")
    if names is None:
        names = hinting()
    networks = [recognizers.load(name) for name in names]
    if target is None:
        return Guide(networks, targets.nobody(networks), passes=passes, known=known)
    if not isinstance(target, Target):
        target = targets.of_photos(target, networks, f"the person of {open_photo(target[0]).name}")
    return Guide(networks, target, passes=passes, known=known)


@dataclass(frozen=True)
class Aim:
    """Who a face should be taken for (None: nobody), whether that person agreed, and whose hints are left out.

    passes: of an any-target generator; quick: a look by fewer steps; stronger: one that hides better and shows more;
    known: photos that recognisers may compare with.
    """

    target: Target | str | Path | Image.Image | Sequence[str | Path | Image.Image] | None = None
    impersonate: bool = False
    passes: int | None = None
    held_out: Sequence[str] = ()
    quick: bool = False
    stronger: bool = False
    known: str | Path | Image.Image | Sequence[str | Path | Image.Image] = ()

    def guide(self) -> Guide:
        """The guide of this aim."""
        options: dict[str, Any] = {} if self.passes is None else {"passes": self.passes}
        if self.held_out:
            options["names"] = hinting(self.held_out)
        if self.known:
            options["known"] = Known.on(self.known)
        return guide_to(self.target, impersonate=self.impersonate, **options)


def aimed(file: Path | None, aim: Aim) -> Method:
    """A natural look towards the aim, or the method of a generator file, guided where it takes a target."""
    check_target(aim.target, aim.impersonate)
    if file is None:
        if aim.passes is not None:
            raise ProtectionError("passes apply only to an any-target generator: give its file, or omit passes")
        if aim.quick and aim.stronger:
            raise ProtectionError("quick and stronger contradict each other: choose one")
        search = natural.QUICK if aim.quick else natural.STRONGER if aim.stronger else natural.Search()
        return natural.method(aim.guide(), search)
    for option in ("quick", "stronger", "known"):
        if getattr(aim, option):
            raise ProtectionError(f"{option} applies only to the search for a look: omit the generator, or {option}")
    if file.suffix in authors.SUFFIXES:
        method = authors.load(file)
        _check_options(file, PUBLISHED, method.recognizers, aim)
        return method
    network, facts, how = generator.read(file)
    _check_options(file, how, facts.get("recognizers", ()), aim)
    return generator.of_generator(network, how, facts["size"], facts, aim.guide() if how.any_target else None)


def _check_options(file: Path, how: Recipe, knew: Sequence[str], aim: Aim) -> None:
    """ProtectionError for what a generator of this recipe, trained against these recognisers, cannot take."""
    if took_part := [name for name in knew if name in aim.held_out]:
        raise ProtectionError(f"{', '.join(took_part)} cannot be held out: {file} was trained against it")
    if aim.target is not None and not how.any_target:
        raise ProtectionError(f"{file} was trained for one target: omit the target")
    if aim.passes is not None and not how.any_target:
        raise ProtectionError(f"{file} has the recipe {how.name}, which makes one pass: omit passes")


def hinting(held_out: Sequence[str] = ()) -> tuple[str, ...]:
    """The available recognisers that may give hints: neither held out nor teachers or students of those.

    Our own students give hints if few of their teachers can. Raises ProtectionError if none is left.
    """
    at_hand = recognizers.at_hand((*recognizers.OWN, *recognizers.OPEN))
    names = tuple(name for name in at_hand if not any(recognizers.kin(name, other) for other in held_out))
    if not names:
        raise ProtectionError(f"with {', '.join(held_out)} held out, no available recogniser is left to give hints")
    teachers = tuple(name for name in names if name in recognizers.OPEN)
    return teachers if len(teachers) >= ENOUGH else names
