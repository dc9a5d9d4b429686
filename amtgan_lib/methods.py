"""Every method of the tables behind one name: the generators of a run, and the gradient attacks they are compared with.

A gradient attack is named as in ``attacks``; with ``_single`` it sees only the first recogniser, as in the paper's
table, without it all that the generators were trained against (AMT-GAN#12 and #14 ask for the like-for-like row).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from amtgan_lib import attacks, protection, recognizers
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.protection import Protector
from amtgan_lib.recipes import RECIPES, Recipe

SINGLE = "_single"
NAMES = (*RECIPES, *attacks.ATTACKS, *(name + SINGLE for name in attacks.ATTACKS))


def check(name: str) -> str:
    """The name of a method, or ValueError naming those that exist."""
    if name not in NAMES:
        raise ValueError(f"there is no method {name!r}; there are {', '.join(NAMES)}")
    return name


def protector(name: str, run: Path, target: FaceBatch, trained_against: Sequence[str]) -> Protector:
    """The method ``name`` of a run, ready for photos.

    run: its folder, with ``train/<recipe>/generator.safetensors`` for a recipe; target: the face for the loss (one);
    trained_against: names of the recognisers that an attack may look at.
    """
    if check(name) in RECIPES:
        return protection.load(run / "train" / name / "generator.safetensors")
    seen = trained_against[:1] if name.endswith(SINGLE) else trained_against
    networks = [recognizers.load(each) for each in seen]
    with torch.no_grad():
        embeddings = [network.embed(target.image, target.points)[0] for network in networks]
    method = attacks.on_crops(attacks.attack(name.removesuffix(SINGLE)), embeddings, networks)
    return Protector(method, Recipe(name), target.image.shape[-1], {"recognizers": list(seen)})
