"""Every method of the tables behind one name: the generators of a run, and the gradient attacks they are compared with.

A gradient attack is named as in ``attacks``; with ``_single`` it sees only the first recogniser, as in the paper's
table, without it all that the generators were trained against (AMT-GAN#12 and #14 ask for the like-for-like row).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from amtgan_lib import attacks, protection, recognizers, targets
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.faces import FaceCrop
from amtgan_lib.models import makeup_transfer
from amtgan_lib.protection import Guide, Protector
from amtgan_lib.recipes import RECIPES, Recipe
from amtgan_lib.recognizers import Recognizer

SINGLE = "_single"
TRANSFER = "makeup_only"
TOWARDS_NOBODY = f"any_target_{targets.NOBODY}"
BARE = "_bare"
GUIDED = tuple(name + end for name in ("any_target", TOWARDS_NOBODY) for end in ("", BARE))
GRADIENT = tuple(name + end for name in attacks.ATTACKS for end in ("", SINGLE))
NAMES = (*(name for name in RECIPES if name not in GUIDED), *GUIDED, TRANSFER, *GRADIENT)


def check(name: str) -> str:
    """The name of a method, or ValueError naming those that exist."""
    if name not in NAMES:
        raise ValueError(f"there is no method {name!r}; there are {', '.join(NAMES)}")
    return name


def protector(
    name: str,
    run: Path,
    target: str,
    target_face: FaceBatch,
    trained_against: Sequence[str],
    seed: int = 0,
    passes: int = 1,
) -> Protector:
    """The method ``name`` of a run, ready for photos.

    run: its folder, with ``train/<recipe>/generator.safetensors`` for a recipe; target, target_face: the person and the
    face for the loss (one); trained_against: names of the recognisers that an attack or a hint may look at; seed: of an
    attack's noise; passes: of an any-target generator, which with ``_bare`` leaves a face in its own makeup, and with
    ``_nobody`` moves it to no person. ``makeup_only`` is the transfer that the residual recipes start
    from, without any change for recognisers. The facts of what is returned name the ``target`` and the
    ``recognizers`` that the method really knew.
    """
    size = target_face.image.shape[-1]
    if check(name) == TRANSFER:
        return Protector(_transfer, Recipe(name), size, {"target": target, "recognizers": []})
    if name in GUIDED:
        return _guided(name, run, target, target_face, [recognizers.load(each) for each in trained_against], passes)
    if name in RECIPES:
        return protection.load(run / "train" / name / "generator.safetensors")
    return _attack(name, target, target_face, trained_against, seed)


def _guided(
    name: str, run: Path, target: str, target_face: FaceBatch, networks: list[Recognizer], passes: int
) -> Protector:
    if name.removesuffix(BARE) == TOWARDS_NOBODY:
        point = targets.nobody(networks)
    else:
        point = targets.of_faces(target_face.image, target_face.points, networks, target)
    guide = Guide(networks, point, passes=passes)
    dressed = protection.load(run / "train" / "any_target" / "generator.safetensors", guide)
    if not name.endswith(BARE):
        return dressed
    return replace(dressed, method=lambda crop, reference: dressed.method(crop, crop))


def _transfer(crop: FaceCrop, reference: FaceCrop) -> Tensor:
    sides = (crop.masks, reference.masks, crop.landmarks, reference.landmarks)
    change = makeup_transfer(crop.image[None], reference.image[None], *(side[None] for side in sides))
    return (crop.image + change[0]).clamp(-1, 1)


def _attack(name: str, target: str, target_face: FaceBatch, trained_against: Sequence[str], seed: int) -> Protector:
    seen = trained_against[:1] if name.endswith(SINGLE) else trained_against
    networks = [recognizers.load(each) for each in seen]
    with torch.no_grad():
        embeddings = [network.embed(target_face.image, target_face.points)[0] for network in networks]
    attack = replace(attacks.attack(name.removesuffix(SINGLE)), seed=seed)

    def change(crop: FaceCrop, reference: FaceCrop) -> Tensor:
        """The attack on one crop; the makeup reference is not looked at."""
        return attacks.perturb(attack, FaceBatch.of([crop]), embeddings, networks)[0]

    return Protector(change, Recipe(name), target_face.image.shape[-1], {"target": target, "recognizers": list(seen)})


def signed(reports: pd.DataFrame, method: Protector) -> pd.DataFrame:
    """The reports of ``protect_pairs`` with what the method knew: columns target and trained_against."""
    known = " ".join(method.facts["recognizers"])
    return reports.assign(target=method.facts["target"], trained_against=known)


def check_reports(reports: Mapping[str, pd.DataFrame], target: str, judges: Iterable[str], split: str) -> None:
    """Refuse reports of methods that knew a judge or were made for another target: ValueError names the method."""
    for method, report in reports.items():
        try:
            recognizers.refuse_overlap(report["trained_against"].iloc[0].split(), judges, split)
        except ValueError as error:
            raise ValueError(f"{method}: {error} Protect again by notebook 04_protect with this held_out.") from None
        if (made_for := report["target"].iloc[0]) not in (target, targets.NOBODY):
            raise ValueError(f"{method} was made for {made_for}, not for {target}: run 03_train and 04_protect again")
