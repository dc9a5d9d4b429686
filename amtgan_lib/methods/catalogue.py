"""Every method of the tables behind one name: the generators of a run, and the gradient attacks they are compared with.

A gradient attack is named as in ``attacks``; with ``_single`` it sees only the first recogniser, as in the paper's
table, without it all that the generators were trained against (AMT-GAN#12 and #14 ask for the like-for-like row).
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amtgan_lib import losses, recognizers
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.faces import FaceCrop
from amtgan_lib.methods import attacks, authors, generator, natural, targets
from amtgan_lib.methods.generator import Guide
from amtgan_lib.methods.method import Method
from amtgan_lib.methods.targets import Target
from amtgan_lib.models import makeup_transfer
from amtgan_lib.models.rendering import PARTS, Look
from amtgan_lib.recipes import RECIPES
from amtgan_lib.recognizers import Recognizer
from amtgan_lib.reporting.results import REGIONS

SINGLE = "_single"
TRANSFER = "makeup_only"
TOWARDS_NOBODY = f"any_target_{targets.NOBODY}"
BARE = "_bare"
UNSTRETCHED = "_unstretched"  # of a recipe that stretches its results, as the released code does
GUIDED = tuple(name + end for name in ("any_target", TOWARDS_NOBODY) for end in ("", BARE))
NATURAL = tuple(natural.NAME + towards + end for towards in ("", f"_{targets.NOBODY}") for end in ("", BARE))
GRADIENT = tuple(name + end for name in attacks.ATTACKS for end in ("", SINGLE))
TRAINED = tuple(name for name in RECIPES if name not in GUIDED)
LEVEL = tuple(name + UNSTRETCHED for name in TRAINED if RECIPES[name].stretch_output)
NAMES = (*NATURAL, *TRAINED, *LEVEL, *GUIDED, authors.NAME, TRANSFER, *GRADIENT)


def check(name: str) -> str:
    """The name of a method, or ValueError naming those that exist."""
    if name not in NAMES:
        raise ValueError(f"there is no method {name!r}; there are {', '.join(NAMES)}")
    return name


def build(
    name: str,
    run: Path,
    target: str,
    target_face: FaceBatch,
    trained_against: Sequence[str],
    seed: int = 0,
    passes: int = 1,
    known: FaceBatch | None = None,
    file: str | Path = "",
) -> Method:
    """The method ``name`` of a run, ready for photos.

    run: its folder, with ``train/<recipe>/generator.safetensors`` for a recipe; target, target_face: the person and the
    face for the loss (one); trained_against: names of the recognisers that an attack or a hint may look at; seed: of an
    attack's noise; passes: of an any-target generator, which with ``_bare`` leaves a face in its own makeup, and with
    ``_nobody`` moves it to no person, away from the ``known`` ones; file: of a generator that the paper's ``authors``
    published for this target and against these recognisers ("": the one in their imported archive). With
    ``_unstretched`` the results of a recipe that stretches them are written as they are drawn. ``makeup_only`` is
    the transfer that the residual recipes start from, without any change for recognisers. What is returned says the
    ``target`` and the ``recognizers`` that it really knew.
    """
    size = target_face.image.shape[-1]
    if check(name) == TRANSFER:
        return Method(name, transferred, size, target=target)
    if name == authors.NAME:
        return authors.load(file, target, trained_against) if file else authors.load()
    if name in (*TRAINED, *LEVEL):
        trained = generator.load(run / "train" / name.removesuffix(UNSTRETCHED) / "generator.safetensors")
        if name in LEVEL:
            return replace(trained, name=name, recipe=replace(trained.recipe, stretch_output=False))
        return trained
    networks = [recognizers.load(one) for one in (trained_against[:1] if name.endswith(SINGLE) else trained_against)]
    if name.removesuffix(BARE).endswith(targets.NOBODY):  # away from the known faces as these recognisers see them
        seen = known and {each.name: recognizers.embed_many(each, known.image, known.points) for each in networks}
        point = targets.nobody(networks, seen)
    else:
        point = targets.of_faces(target_face.image, target_face.points, networks, target)
    if name in GRADIENT:
        return replace(gradient_attack(name.removesuffix(SINGLE), point, networks, size, seed), name=name)
    guide = Guide(networks, point, passes=passes)
    if name in NATURAL:
        dressed = natural.method(guide, replace(natural.Search(), seed=seed))
    else:
        dressed = generator.load(run / "train" / "any_target" / "generator.safetensors", guide)
    return bare(dressed) if name.endswith(BARE) else dressed


def transferred(crop: FaceCrop, reference: FaceCrop) -> Tensor:
    """A face (3,S,S) in [-1,1] in the makeup of a reference, beside each one's own skin, without any network."""
    sides = (crop.masks, reference.masks, crop.landmarks, reference.landmarks)
    change = makeup_transfer(crop.image[None], reference.image[None], *(side[None] for side in sides))
    return (crop.image + change[0]).clamp(-1, 1)


def gradient_attack(
    name: str,
    point: Target,
    networks: Sequence[Recognizer],
    size: int,
    seed: int = 0,
    steps: int | None = None,
    dodging: float | None = None,
) -> Method:
    """The attack ``name`` of ``attacks`` towards a target, on crops of ``size``.

    ``steps`` None leaves its own number; ``dodging`` weighs getting away from the owner against impersonation (None: as
    the papers do, of whose attacks TIP-IM alone tries it).
    """
    how = attacks.attack(name)
    attack = replace(how, seed=seed, steps=how.steps if steps is None else steps)
    attack = attack if dodging is None else replace(attack, dodging=dodging)
    embeddings = point.of(networks)

    def change(crop: FaceCrop, reference: FaceCrop) -> Tensor:
        """The attack on one crop; the makeup reference is not looked at."""
        face = FaceBatch.of([crop])
        with torch.no_grad():
            own = [network.embed(face.image, face.points) for network in networks] if attack.dodging else None
        return attacks.perturb(attack, face, embeddings, networks, own_embeddings=own)[0]

    return Method(name, change, size, target=point.name, recognizers=tuple(network.name for network in networks))


def bare(dressed: Method) -> Method:
    """The same method, but every face keeps its own makeup, whatever the reference."""
    return dressed.wrapped(lambda act: lambda crop, reference, *begin: act(crop, crop, *begin))


def in_makeup_of(method: Method, reference: FaceCrop) -> Method:
    """The same method, but every face gets the makeup of this ``reference``, a crop as the method wants it."""
    return method.wrapped(lambda act: lambda crop, _, *begin: act(crop, reference, *begin))


def by_region(method: Method) -> dict[str, Method]:
    """Region -> the same method confined to it: a part of its look, or lip, skin or eyes of what it draws.

    What is drawn for the whole face is cut, so a region alone may do less than one that was sought alone.
    """
    if method.wear is not None:
        return {part: natural.only(method, [part]) for part in PARTS}
    return {region: _confined(method, index) for index, region in enumerate(REGIONS)}


def _confined(method: Method, region: int) -> Method:
    def draw(crop: FaceCrop, reference: FaceCrop) -> Tensor:
        return torch.where(crop.masks[region] > 0.5, method.draw(crop, reference), crop.image)

    return replace(method, draw=draw)


# How plainly pictures (N,3,H,W) differ from the clean ones, per picture; 0: not at all.
VISIBILITY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ssim": lambda images, clean: 1 - losses.ssim(images, clean),
    "visible": lambda images, clean: losses.colour_difference(images, clean).mean(dim=(1, 2, 3)),
}


def visibility(method: Method, crops: Sequence[FaceCrop], measure: str = "ssim") -> float:
    """How plainly the method is seen on face crops, each face in its own makeup: mean of 1 - SSIM, or of S-CIELAB."""
    clean = torch.stack([crop.image for crop in crops])
    changed = torch.stack([method.change(crop, crop) for crop in crops])
    return float(VISIBILITY[measure](changed, clean).mean())


def weakened(strong: Method, crops: Sequence[FaceCrop], limit: float, measure: str = "ssim") -> Method:
    """The same method, weakened to a ``visibility`` of at most ``limit`` on ``crops`` (scale to 0.001)."""
    clean = torch.stack([crop.image for crop in crops])
    change = torch.stack([strong.draw(crop, crop) for crop in crops]) - clean

    def seen(scale: float) -> float:
        return float(VISIBILITY[measure]((clean + scale * change).clamp(-1, 1), clean).mean())

    if seen(1.0) <= limit:
        return strong
    low, high = 0.0, 1.0
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (middle, high) if seen(middle) <= limit else (low, middle)

    def scaled(crop: FaceCrop, reference: FaceCrop) -> Tensor:
        return crop.image + low * (strong.draw(crop, reference) - crop.image)

    return replace(strong, draw=scaled, wear=None, knowing=None, details={**strong.details, "strength": round(low, 3)})


def remembered(method: Method) -> Method:
    """The same method, computed once for every face and reference: for attacks of many steps, and looks taken apart.

    Its cost is no longer what it seems: ask ``seconds_a_face`` before.
    """

    def once(act: Callable) -> Callable:
        known: dict[tuple[bytes, ...], Any] = {}

        def remember(*given: FaceCrop | Look | None) -> Any:
            key = tuple(hashlib.sha256(each.image.numpy().tobytes()).digest() for each in given[:2])
            if key not in known:
                known[key] = act(*given)
            return known[key]

        return remember

    return method.wrapped(once)


def seconds_a_face(method: Method, crops: Sequence[FaceCrop]) -> float:
    """Median seconds that the method takes for a crop, each dressed as the next one; a first call does not count."""
    method.change(crops[0], crops[0])
    taken = []
    for crop, reference in zip(crops, (*crops[1:], crops[0]), strict=True):
        started = time.perf_counter()
        method.change(crop, reference)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)
