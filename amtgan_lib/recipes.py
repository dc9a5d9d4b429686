"""What is trained: the released code with its flaws, the paper's method without them, our residual form, a rival.

Each flaw of the released code that docs call a quirk is one named field here, on in ``PUBLISHED`` and off in
``CORRECTED``. Three more remarks of its critics are no matter of training and so no fields: its baselines attack
one recogniser each while AMT-GAN attacks three (AMT-GAN#12), which of the nine references its tables used is
unknown, and a `G.pth` lying about resumed a run silently (here ``resume_from`` is explicit).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from amtgan_lib.losses import LossWeights


@dataclass(frozen=True)
class Recipe:
    """How a generator is trained and how its results are written."""

    name: str
    # "redraw": tanh draws every pixel anew; "residual": a bounded change is added; "eyes": around the eyes alone
    output: str = "redraw"
    any_target: bool = False  # gradient hints say who is to be seen; otherwise one target is trained for
    adversaries: bool = True  # discriminators, regularizer H, both directions and the cycle between them (the paper)
    regularized: bool = True  # the cycle goes through H; otherwise through G alone, and H is not trained
    # H is trained beside G, each through the other, in every step. Otherwise G goes through H as the run began with it:
    # our reading of a training that is not joint, as the paper's abstract names joint training without describing it.
    joint: bool = True

    # Quirks of the released code (True as released).
    makeup_loss_as_shipped: bool = False  # masks are indexed wrongly: the makeup loss is always 0 (PSGAN#29)
    perceptual_to_source: bool = False  # LPIPS(G(x,y), x) beside the identity term: FID 34 -> 27 (AMT-GAN#18)
    unaligned_recognizers: bool = False  # recognisers are trained against on the whole, unaligned image (AMT-GAN#6)
    stretch_output: bool = False  # each result is stretched to its own minimum and maximum: colours shift
    crop_output: bool = False  # square crops are saved, while clean photos are scored whole

    # Choices that differ between BeautyGAN, the released code and us.
    match_source: bool = False  # the histogram target is the recoloured source photo instead of the own output
    weights: LossWeights = field(default_factory=LossWeights)


PUBLISHED = Recipe(
    "published",
    makeup_loss_as_shipped=True,
    perceptual_to_source=True,
    unaligned_recognizers=True,
    stretch_output=True,
    crop_output=True,
    # The released loop takes the mean of its two halved directions, so its weight 5 is 2.5 here.
    weights=LossWeights(adversarial=2.5),
)
CORRECTED = Recipe("corrected")
RESIDUAL = Recipe(
    "residual",
    output="residual",
    adversaries=False,
    match_source=True,
    # Lips are few pixels: at weight 1 the change for the recognisers took half of their colour away again.
    weights=LossWeights(gan=0, cycle=0, identity=0, makeup=2, lip=4, adversarial=8, dodging=5, similarity=16),
)
ANY_TARGET = replace(
    RESIDUAL,
    name="any_target",
    any_target=True,
    # Impersonation must weigh more than dodging: at 5 against 9 a trial learned a pattern that dodges, and by step 90
    # nothing of the hints (impersonation loss 0.95; at 8 against 6 it was 0.5 by then; single steps, one run each).
    # SSIM does not mind patches of colour; S-CIELAB (visible) does.
    weights=replace(RESIDUAL.weights, adversarial=8, dodging=8, visible=0.04),
)
ADV_MAKEUP = Recipe(
    "adv_makeup",
    output="eyes",
    adversaries=False,  # it has one of its own, see training/adv_makeup.py
    weights=LossWeights(gan=1, cycle=0, makeup=0, identity=0, adversarial=1, gradient=1, style=1, variation=1),
)
RECIPES = {recipe.name: recipe for recipe in (PUBLISHED, CORRECTED, RESIDUAL, ANY_TARGET, ADV_MAKEUP)}

LOSSES = ("gan", "cycle", "makeup", "identity", "adversarial")
WRITTEN = ("stretch_output", "crop_output")  # quirks of writing: the training is the same
QUIRKS = ("makeup_loss_as_shipped", "perceptual_to_source", "unaligned_recognizers", *WRITTEN)


def _ablations() -> Iterator[Recipe]:
    yield CORRECTED
    yield replace(CORRECTED, name="corrected - H", regularized=False)
    yield replace(CORRECTED, name="corrected - joint training", joint=False)
    for loss in LOSSES:
        yield replace(CORRECTED, name=f"corrected - {loss}", weights=replace(CORRECTED.weights, **{loss: 0.0}))
    for base, sign, other in ((CORRECTED, "+", PUBLISHED), (PUBLISHED, "-", CORRECTED)):
        if base is PUBLISHED:
            yield base
        for quirk in QUIRKS:
            yield replace(base, name=f"{base.name} {sign} {quirk}", **{quirk: getattr(other, quirk)})
        yield replace(base, name=f"{base.name} {sign} halved attack", weights=other.weights)


ABLATIONS = {variant.name: variant for variant in _ablations()}
"""The paper's recipes with one thing taken away (-) or put in (+), for notebook 07_ablation; they are no methods."""


def recipe(name: str) -> Recipe:
    """The recipe of that name, a variant of the ablation too, or ValueError naming the recipes that exist."""
    known = {**ABLATIONS, **RECIPES}
    if name not in known:
        raise ValueError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    return known[name]


def same_training(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes train the same generator: they may differ in how its results are written."""
    return one == replace(other, name=one.name, **{quirk: getattr(one, quirk) for quirk in WRITTEN})
