"""Recipes: which switches they set. What each quirk changes is tested where it is used."""

from dataclasses import fields, replace

import pytest
import torch

from amtgan_lib import images, recipes
from amtgan_lib.recipes import ABLATIONS, CORRECTED, LOSSES, PUBLISHED, QUIRKS, RESIDUAL, WRITTEN, Recipe


def test_quirks_are_what_published_and_corrected_differ_in():
    switches = [field.name for field in fields(Recipe) if isinstance(getattr(CORRECTED, field.name), bool)]
    assert list(QUIRKS) == [name for name in switches if getattr(PUBLISHED, name) and not getattr(CORRECTED, name)]


def test_beside_the_quirks_published_differs_only_in_the_attack_weight():
    cured = replace(PUBLISHED, name="corrected", **dict.fromkeys(QUIRKS, False))
    assert replace(cured, weights=replace(cured.weights, adversarial=5.0)) == CORRECTED


def test_weights_are_the_papers():
    weights = CORRECTED.weights
    assert (weights.gan, weights.cycle, weights.makeup, weights.identity, weights.adversarial) == (10, 10, 2, 5, 5)
    assert weights.regions == (1, 0.1, 1)
    assert weights.dodging == weights.similarity == 0  # ours, not the paper's


def test_the_released_mean_over_halved_directions_halves_the_weight():
    """The released list holds 5 * 0.5 * loss of both directions and is averaged; here the directions' sum is halved."""
    fake, back = 0.8, 0.4
    released = (5 * 0.5 * fake + 5 * 0.5 * back) / 2
    assert PUBLISHED.weights.adversarial * 0.5 * (fake + back) == pytest.approx(released)


def test_residual_has_no_quirk_and_no_adversary():
    assert RESIDUAL.output == "residual" and not RESIDUAL.adversaries
    assert not any(getattr(RESIDUAL, quirk) for quirk in QUIRKS)
    assert RESIDUAL.weights.gan == RESIDUAL.weights.cycle == RESIDUAL.weights.identity == 0


def changed(variant: Recipe) -> dict[str, object]:
    """The fields in which a variant differs from the recipe that its name begins with; weights one by one."""
    base = recipes.recipe(variant.name.partition(" ")[0])
    ours, theirs = (vars(each) | vars(each.weights) for each in (variant, base))
    return {name: value for name, value in ours.items() if value != theirs[name] and name not in ("name", "weights")}


def test_each_variant_of_the_ablation_changes_one_thing_and_has_its_name():
    expected = {"corrected": {}, "published": {}, "corrected - H": {"regularized": False}}
    expected |= {"corrected - joint training": {"joint": False}}
    expected |= {f"corrected - {loss}": {loss: 0} for loss in LOSSES}
    expected |= {f"corrected + {quirk}": {quirk: True} for quirk in QUIRKS}
    expected |= {f"published - {quirk}": {quirk: False} for quirk in QUIRKS}
    expected |= {"corrected + halved attack": {"adversarial": 2.5}, "published - halved attack": {"adversarial": 5}}
    assert {name: changed(variant) for name, variant in ABLATIONS.items()} == expected
    assert all(recipes.recipe(name) is variant for name, variant in ABLATIONS.items())


def test_variants_train_anew_unless_only_writing_differs():
    for name, variant in ABLATIONS.items():
        same = [other for other, each in ABLATIONS.items() if recipes.same_training(variant, each)]
        base = name.partition(" ")[0]
        written = [each for each in ABLATIONS if each.startswith(base) and each.endswith(WRITTEN)]
        assert same == ([base, *written] if name in (base, *written) else [name])


def test_a_name_finds_its_recipe_and_a_wrong_one_is_told_which_there_are():
    assert [recipes.recipe(name) for name in ("published", "corrected", "residual")] == [PUBLISHED, CORRECTED, RESIDUAL]
    with pytest.raises(ValueError, match=r"'paper'.*published.*corrected.*residual.*any_target"):
        recipes.recipe("paper")


def test_stretch_shifts_the_colours_of_a_picture_that_is_not_full_range():
    picture = torch.rand(2, 3, 8, 8) * 0.5
    stretched = images.stretch(picture)
    assert stretched.amin((1, 2, 3)).tolist() == pytest.approx([-1, -1])
    assert stretched.amax((1, 2, 3)).tolist() == pytest.approx([1, 1])
    assert (stretched - picture).abs().mean() > 0.1
    torch.testing.assert_close(images.stretch(stretched), stretched)
