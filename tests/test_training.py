"""Training: the steps against a plain transcription, each quirk, checkpoints and resuming, export."""

import copy
import json
import os
import resource
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fakes import (
    ANY_TINY,
    NAMES,
    POOL,
    REFERENCES,
    RESIDUAL_TINY,
    SIZE,
    SOURCES,
    TARGETS,
    TINY,
    assert_close,
    face_set,
    gradients,
    pair,
    perceptual,
    tiny_recognizers,
    trainer,
)
from torch import Tensor, nn

from amtgan_lib import datasets, losses, recipes, recognizers
from amtgan_lib.cli import training as launcher
from amtgan_lib.datasets import FaceBatch, FaceSet
from amtgan_lib.hints import HINT_CHANNELS
from amtgan_lib.images import in_levels
from amtgan_lib.losses import FeatureDistance, LossWeights
from amtgan_lib.models import Regularizer, load_generator
from amtgan_lib.pipeline import PresetError
from amtgan_lib.recipes import CORRECTED, PUBLISHED, RESIDUAL, Recipe
from amtgan_lib.recognizers.recognizer import Recognizer
from amtgan_lib.training import TrainConfig, Trainer, TrainingError, assembly, build_generator, export, residual, train
from amtgan_lib.training import trainer as trainer_module
from amtgan_lib.training.beginning import begin_with, configuration, file_of, regularizer, save_networks
from benchmarks.published import PlainLoop

G_TERMS = ("gan", "cycle", "makeup", "identity", "adversarial")
QUIRK_TERMS = {
    "makeup_loss_as_shipped": "makeup",
    "perceptual_to_source": "identity",
    "unaligned_recognizers": "adversarial",
}
PAPER_TERMS = {"total", "discriminator_makeup", "discriminator_plain", *G_TERMS, *(f"h_{name}" for name in G_TERMS)}
RESIDUAL_TERMS = {"total", "adversarial", "dodging", "similarity", "makeup"}
ANY_TERMS = {*RESIDUAL_TERMS, "visible"}


@pytest.fixture
def with_recipe(monkeypatch) -> Callable[..., str]:
    """Register a recipe for one test; returns its name."""

    def register(recipe: Recipe, **changes) -> str:
        named = replace(recipe, name=f"test_{len(recipes.RECIPES)}", **changes)
        monkeypatch.setitem(recipes.RECIPES, named.name, named)
        return named.name

    return register


def differ(found: list[Tensor], expected: list[Tensor]) -> bool:
    scale = max(tensor.abs().max().item() for tensor in expected)
    return any((a - b).abs().max().item() > 1e-3 * scale for a, b in zip(found, expected, strict=True))


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters alone: the buffers of the spectral norms move with every reading."""
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


# --- the paper's step ---------------------------------------------------------------------------------------------


def plain_loop(subject: Trainer, recipe: Recipe) -> PlainLoop:
    """The released loop, in `benchmarks`, on this trainer's networks and on recognisers of its own."""
    return PlainLoop(subject, recipe, tiny_recognizers(), perceptual(), TARGETS.batch([0]))


@pytest.mark.parametrize("recipe", [CORRECTED, PUBLISHED], ids=lambda recipe: recipe.name)
def test_a_step_is_the_released_loop(recipe):
    """Two steps, so that the second stands on the weights of the first: every network's gradient, from scratch."""
    subject = trainer(recipe=recipe.name)
    plain = plain_loop(subject, recipe)
    for number in range(2):
        noise = torch.Generator().manual_seed(subject._seed("noise"))
        expected = plain.step(*pair(), noise)
        subject.train_step(*pair())
        assert set(expected) == set(subject.networks)
        for name, network in subject.networks.items():
            # Adam turns a gradient of nothing into a full step, so the second step agrees a little less.
            assert_close(gradients(network), expected[name], (1e-4, 1e-2)[number])


def test_the_transcription_notices_a_disturbed_weight():
    subject = trainer()
    plain = plain_loop(subject, replace(CORRECTED, weights=replace(CORRECTED.weights, cycle=10.5)))
    expected = plain.step(*pair(), torch.Generator().manual_seed(subject._seed("noise")))
    subject.train_step(*pair())
    assert differ(gradients(subject.networks["generator"]), expected["generator"])


def test_each_update_moves_its_own_network_and_nothing_else():
    subject = trainer()
    before = {name: weights_of(network) for name, network in subject.networks.items()}
    at_start, moved, order = copy.deepcopy(before), {}, []

    def starts(name):
        order.append(name)
        for other, network in subject.networks.items():
            assert all(torch.equal(value, before[other][key]) for key, value in weights_of(network).items())

    def ends(name):
        moved[name] = {
            other
            for other, network in subject.networks.items()
            if any(not torch.equal(value, before[other][key]) for key, value in weights_of(network).items())
        }
        before.update({other: weights_of(network) for other, network in subject.networks.items()})

    for name, optimizer in subject.optimizers.items():
        optimizer.register_step_pre_hook(lambda *_, name=name: starts(name))
        optimizer.register_step_post_hook(lambda *_, name=name: ends(name))
    subject.train_step(*pair())
    assert order == ["discriminator_makeup", "discriminator_plain", "generator", "regularizer"]
    assert moved == {name: {name} for name in order}
    for name, network in subject.networks.items():
        assert all(torch.equal(value, before[name][key]) for key, value in weights_of(network).items())
        assert not torch.equal(*(torch.cat([t.flatten() for t in w[name].values()]) for w in (at_start, before)))


@pytest.mark.parametrize(
    ("config", "names"),
    [(TINY, PAPER_TERMS), (RESIDUAL_TINY, RESIDUAL_TERMS), (ANY_TINY, ANY_TERMS)],
)
def test_losses_have_names_and_go_into_the_history(config, names):
    subject = trainer(config)
    terms = subject.train_step(*pair())
    assert set(terms) == names
    assert all(isinstance(value, float) and np.isfinite(value) for value in terms.values())
    subject.train_step(*pair())
    first, second = subject.history
    assert {key: value for key, value in first.items() if key not in ("step", "seconds")} == terms
    assert (first["step"], second["step"]) == (1, 2) and 0 < first["seconds"] < second["seconds"]


def test_the_total_is_the_weighted_sum_of_the_generators_terms():
    terms, weights = trainer().train_step(*pair()), CORRECTED.weights
    assert terms["total"] == pytest.approx(sum(getattr(weights, name) * terms[name] for name in G_TERMS), rel=1e-5)


@pytest.mark.parametrize("config", [TINY, RESIDUAL_TINY, ANY_TINY], ids=lambda config: config.recipe)
def test_recognisers_never_change(config):
    subject = trainer(config)
    before = copy.deepcopy([recognizer.state_dict() for recognizer in subject.recognizers])
    subject.networks.train()
    for recognizer in subject.recognizers:
        recognizer.train()
    subject.train_step(*pair())
    for recognizer, state in zip(subject.recognizers, before, strict=True):
        assert not any(module.training for module in recognizer.modules())
        assert all(torch.equal(value, state[key]) for key, value in recognizer.state_dict().items())
        assert all(p.grad is None and not p.requires_grad for p in recognizer.parameters())


@pytest.mark.parametrize("config", [TINY, RESIDUAL_TINY, ANY_TINY], ids=lambda config: config.recipe)
def test_a_batch_of_two_runs(config):
    terms = trainer(config).train_step(*pair(2))
    assert all(np.isfinite(value) for value in terms.values())


def only(**weights: float) -> LossWeights:
    """Every term at 0 but those named; the shares of the regions stay."""
    terms = {field.name: 0.0 for field in fields(LossWeights) if field.name not in ("lip", "skin", "eyes")}
    return LossWeights(**{**terms, **weights})


@pytest.mark.parametrize("recipe", [CORRECTED, RESIDUAL], ids=lambda recipe: recipe.name)
def test_without_weights_nothing_learns(with_recipe, recipe):
    subject = trainer(recipe=with_recipe(recipe, weights=only()))
    learners = [name for name in ("generator", "regularizer") if name in subject.networks]
    before = {name: weights_of(subject.networks[name]) for name in learners}
    subject.train_step(*pair())
    for name in learners:
        assert not any(gradient.any() for gradient in gradients(subject.networks[name]))
        assert all(torch.equal(value, before[name][key]) for key, value in weights_of(subject.networks[name]).items())


@pytest.mark.parametrize(
    ("recipe", "terms"),
    [(CORRECTED, G_TERMS), (RESIDUAL, ("adversarial", "dodging", "similarity", "makeup"))],
    ids=["corrected", "residual"],
)
def test_each_weight_scales_its_own_term(with_recipe, recipe, terms):
    """The gradient is linear in the weights: all terms together are the sum of each alone, and each is something."""
    shares = {name: 1.0 + 0.5 * index for index, name in enumerate(terms)}

    def gradient(**weights: float) -> list[Tensor]:
        subject = trainer(recipe=with_recipe(recipe, weights=only(**weights)))
        # Away from the residual's start, where the closeness to it has no gradient yet.
        nn.init.normal_(subject.networks["generator"].manet.last.weight, std=0.02)
        subject.train_step(*pair())
        return gradients(subject.networks["generator"])

    alone = {name: gradient(**{name: share}) for name, share in shares.items()}
    for name, tensors in alone.items():
        assert any(tensor.any() for tensor in tensors), f"{name} has no gradient"
    assert_close([torch.stack(parts).sum(0) for parts in zip(*alone.values(), strict=True)], gradient(**shares), 1e-3)


# --- quirks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quirk", QUIRK_TERMS)
def test_each_quirk_changes_its_own_term(with_recipe, quirk):
    terms, slopes = [], []
    for recipe in (CORRECTED, replace(CORRECTED, **{quirk: True})):
        subject = trainer(recipe=with_recipe(recipe))
        terms.append(subject.train_step(*pair()))
        slopes.append(gradients(subject.networks["generator"]))
    clean, quirky = terms
    changed = {name for name in G_TERMS if clean[name] != pytest.approx(quirky[name], rel=1e-3)}
    assert changed == {QUIRK_TERMS[quirk]}
    h_term = f"h_{QUIRK_TERMS[quirk]}"
    assert clean[h_term] != pytest.approx(quirky[h_term], rel=1e-3)
    assert differ(*slopes)


def test_makeup_loss_as_shipped_is_nothing_where_the_intended_one_is_not(with_recipe):
    shipped = trainer(recipe=with_recipe(CORRECTED, makeup_loss_as_shipped=True)).train_step(*pair())
    assert shipped["makeup"] == shipped["h_makeup"] == 0
    intended = trainer().train_step(*pair())
    assert intended["makeup"] > 1 and intended["h_makeup"] > 1


def test_unaligned_recognisers_see_the_target_unaligned_too(with_recipe):
    aligned, whole = trainer(), trainer(recipe=with_recipe(CORRECTED, unaligned_recognizers=True))
    image, points = TARGETS.batch([0]).image, TARGETS.batch([0]).points
    for index, judge in enumerate(tiny_recognizers()):
        torch.testing.assert_close(aligned.target[index], judge.embed(image, points)[0])
        torch.testing.assert_close(whole.target[index], judge.embed(image)[0])


def test_the_residual_recipe_knows_unaligned_recognisers_too(with_recipe, monkeypatch):
    aligned, whole = (trainer(recipe=with_recipe(RESIDUAL, unaligned_recognizers=quirk)) for quirk in (False, True))
    seen = []
    embed = Recognizer.embed
    monkeypatch.setattr(
        Recognizer, "embed", lambda self, images, points=None: (seen.append(points), embed(self, images, points))[1]
    )
    aligned.train_step(*pair())
    assert seen and all(points is not None for points in seen)
    seen.clear()
    whole.train_step(*pair())
    assert seen and all(points is None for points in seen)


# --- H taken away, or trained before ------------------------------------------------------------------------------


def without_training_h(recipe: str) -> tuple[dict[str, float], list[Tensor]]:
    """The losses of one step, and the gradient of G; fails where H has moved or has losses."""
    subject = trainer(recipe=recipe)
    before = weights_of(subject.networks["regularizer"])
    terms = subject.train_step(*pair())
    after = weights_of(subject.networks["regularizer"])
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert set(terms) == {name for name in PAPER_TERMS if not name.startswith("h_")}
    return terms, gradients(subject.networks["generator"])


def test_without_h_the_cycle_goes_through_g_alone(with_recipe):
    untouched, whole = trainer(), trainer()
    terms, slopes = without_training_h(with_recipe(CORRECTED, regularized=False))
    (x, y), total = pair(), 0.0
    with torch.no_grad():
        for own, other in ((x, y), (y, x)):
            drawn = untouched.generate(own, other)
            total += 0.5 * (untouched.generate(own, own, drawn) - own.image).abs().mean().item()
    assert terms["cycle"] == pytest.approx(total, rel=1e-4)
    with_h = whole.train_step(*pair())
    assert {name for name in G_TERMS if terms[name] != pytest.approx(with_h[name], rel=1e-4)} == {"cycle"}
    assert differ(slopes, gradients(whole.networks["generator"]))


def test_without_joint_training_g_learns_through_an_h_that_stays(with_recipe):
    whole = trainer()
    terms, slopes = without_training_h(with_recipe(CORRECTED, joint=False))
    with_h = whole.train_step(*pair())
    assert all(terms[name] == pytest.approx(with_h[name], rel=1e-5) for name in G_TERMS)
    assert_close(slopes, gradients(whole.networks["generator"]))


def test_a_recipe_with_a_perceptual_term_wants_the_distance():
    with pytest.raises(ValueError, match="'published' has a perceptual term"):
        Trainer(replace(TINY, recipe="published"), TARGETS.batch([0]), tiny_recognizers())


def test_match_source_decides_whose_colours_are_matched(with_recipe):
    own, source = (
        trainer(recipe=with_recipe(RESIDUAL, match_source=choice)).train_step(*pair()) for choice in (False, True)
    )
    assert own["makeup"] != pytest.approx(source["makeup"], rel=1e-3)


# --- the residual recipe ------------------------------------------------------------------------------------------


def drawn_and_start(subject: Trainer) -> tuple[Tensor, Tensor]:
    (x, y), generator = pair(), subject.networks["generator"]
    sides = (x.image, y.image, x.masks, y.masks, x.landmarks, y.landmarks)
    with torch.no_grad():
        return generator(*sides), generator.start(*sides)


def test_residual_has_one_network_that_starts_at_the_colour_transfer():
    subject = trainer(RESIDUAL_TINY)
    assert list(subject.networks) == list(subject.optimizers) == ["generator"]
    drawn, start = drawn_and_start(subject)
    assert (drawn - start).abs().max() < 2e-3
    assert (start - pair()[0].image).abs().max() > 0.05  # the colours are carried over
    assert subject.train_step(*pair())["similarity"] < 2e-3


def judged(subject: Trainer, anchors: list[Tensor]) -> float:
    """Mean cosine of the drawn face with one embedding per recogniser, without random views."""
    drawn, _ = drawn_and_start(subject)
    embeddings = [recognizer.embed(drawn, pair()[0].points) for recognizer in subject.recognizers]
    return torch.stack([F.cosine_similarity(e, a.view(1, -1)) for e, a in zip(embeddings, anchors)]).mean().item()


def test_residual_learns_the_attack_within_its_bound(with_recipe):
    """15 steps on one pair against two random recognisers."""
    name = with_recipe(RESIDUAL, weights=only(adversarial=5.0))
    subject = trainer(recipe=name, learning_rate=5e-3, bound=0.2, steps=15)
    before = judged(subject, subject.target)
    for _ in range(15):
        subject.train_step(*pair())
    drawn, start = drawn_and_start(subject)
    assert 1 - judged(subject, subject.target) < 0.8 * (1 - before)
    assert 0.02 < (drawn - start).abs().max() <= 0.2 + 1e-6


def test_dodging_leads_away_from_the_own_face(with_recipe):
    name = with_recipe(RESIDUAL, weights=only(dodging=5.0))
    subject = trainer(recipe=name, learning_rate=5e-3, steps=15)
    face = pair()[0]
    own = [recognizer.embed(face.image, face.points) for recognizer in subject.recognizers]
    before = judged(subject, own)
    for _ in range(15):
        subject.train_step(*pair())
    assert before > 0.3 and judged(subject, own) < before - 0.1


@pytest.mark.parametrize("config", [TINY, RESIDUAL_TINY, ANY_TINY], ids=lambda config: config.recipe)
def test_bf16_is_near_fp32(config):
    full, half = (trainer(config, precision=precision).train_step(*pair()) for precision in ("float32", "bfloat16"))
    for name, value in full.items():
        # The similarity starts near 0, where only the absolute difference means something.
        assert half[name] == pytest.approx(value, rel=0.05, abs=0.02), name


@pytest.mark.parametrize("config", [TINY, ANY_TINY], ids=lambda config: config.recipe)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_checkpointing_gives_the_same_gradients(config, precision):
    usual, sparing = (
        trainer(config, checkpointing=checkpointing, precision=precision) for checkpointing in (False, True)
    )
    losses_of = [each.train_step(*pair()) for each in (usual, sparing)]
    assert losses_of[0] == pytest.approx(losses_of[1], rel=1e-5)
    for name, network in usual.networks.items():
        assert_close(gradients(sparing.networks[name]), gradients(network), 1e-6)


def test_checkpointing_keeps_a_fraction_of_what_the_regularizer_computes():
    image = pair()[0].image.requires_grad_()

    def kept(checkpointing: bool) -> int:
        network, sizes = Regularizer(blocks=2, width=8, growth=4), []
        network.checkpointing = checkpointing
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            network(image)
        return sum(sizes)

    assert kept(True) < 0.2 * kept(False)


def test_checkpointing_keeps_little_more_than_the_pictures_of_the_generator():
    def kept(checkpointing: bool) -> int:
        subject, sizes = trainer(checkpointing=checkpointing), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            subject.generate(*pair())
        return sum(sizes)

    assert kept(True) < 0.2 * kept(False)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(TINY, id="corrected", marks=pytest.mark.slow),
        pytest.param(replace(TINY, checkpointing=True), id="checkpointing", marks=pytest.mark.slow),
        pytest.param(RESIDUAL_TINY, id="residual"),
        pytest.param(ANY_TINY, id="any_target", marks=pytest.mark.slow),
    ],
)
def test_a_compiled_step_is_the_same(config, monkeypatch):
    """Every network as one whole graph (``fullgraph`` refuses a break), here without making machine code of it."""
    compiled, real = [], nn.Module.compile

    def whole(network, mode):
        compiled.append((type(network).__name__, mode))
        real(network, backend="aot_eager", fullgraph=True)

    monkeypatch.setattr(nn.Module, "compile", whole)
    usual, subject = trainer(config), trainer(config, compile_mode="default")
    assert compiled == [(type(network).__name__, "default") for network in usual.networks.values()]
    for number in range(3):
        expected, found = usual.train_step(*pair()), subject.train_step(*pair())
        assert found == pytest.approx(expected, rel=1e-3 if number else 1e-5, abs=1e-6)
        for name, network in usual.networks.items() if number == 0 else ():
            assert_close(gradients(subject.networks[name]), gradients(network), 1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU")
def test_a_network_is_compiled_to_machine_code():
    plain, image = Regularizer(blocks=1, width=8, growth=4), pair()[0].image
    network = copy.deepcopy(plain)
    network.compile(mode="default")
    slopes = [torch.autograd.grad(each(image).square().sum(), each.parameters()) for each in (plain, network)]
    assert_close(slopes[1], slopes[0], 1e-5)


def test_an_unknown_mode_of_compilation_is_refused():
    with pytest.raises(
        ValueError, match=r"compile_mode is 'fast'; expected one of off, default, max-autotune-no-cudagraphs"
    ):
        replace(TINY, compile_mode="fast")


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        RESIDUAL_TINY,
        ANY_TINY,
        pytest.param(replace(TINY, recipe="published"), marks=pytest.mark.slow),
        pytest.param(replace(RESIDUAL_TINY, transfer="makeup"), marks=pytest.mark.slow),
    ],
    ids=lambda config: f"{config.recipe}-{config.transfer}",
)
@pytest.mark.parametrize("checkpointing", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_step_reads_nothing_back_from_its_device(config, checkpointing, monkeypatch):
    """The device "meta" has shapes and no values: whatever would read one fails. (Slow copies to it do not.)"""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # has no such device, nor has fused Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda parameters, rate, **_: torch.optim.SGD(parameters, rate))
    networks, targets = tiny_recognizers(), POOL if recipes.recipe(config.recipe).any_target else TARGETS
    for network in networks:
        network.looked_on_device = True
    config = replace(config, device="meta", checkpointing=checkpointing)
    subject = Trainer(config, targets.batch(), networks, FeatureDistance(networks[0].features, "tiny"))
    for number in range(2):  # for any target of two passes and of three
        terms = subject.launch(*pair(2))
        assert all(value.is_meta for value in terms.values()) and subject.step == number + 1
    with pytest.raises(NotImplementedError, match="meta"):
        subject.train_step(*pair(2))


def test_a_trainer_of_either_kind_goes_on_from_a_checkpoint(tmp_path):
    run(replace(TINY, steps=1), checkpoint=tmp_path / "run.pt")
    sparing = trainer(checkpointing=True)
    sparing.resume(tmp_path / "run.pt")
    assert sparing.step == 1


def test_bf16_judges_with_the_updated_discriminators():
    """Autocast keeps the cast of a weight for its block: the biases must not be those from before the update."""
    subject, (x, y) = trainer(precision="bfloat16", learning_rate=0.5), pair()
    with torch.no_grad():
        fake, back = subject.generate(x, y), subject.generate(y, x)
    judges = [subject.networks[name] for name in ("discriminator_makeup", "discriminator_plain")]
    for name in ("discriminator_makeup", "discriminator_plain"):
        biases = [conv.bias for conv in subject.networks[name].convs]
        subject.optimizers[name] = torch.optim.Adam(biases, 0.5)  # weights stay, so that their spectral norms do

    def judged() -> float:
        with torch.no_grad():
            return 0.5 * sum(((judge(image) - 1) ** 2).mean().item() for judge, image in zip(judges, (fake, back)))

    before, found = judged(), subject.train_step(x, y)["gan"]
    assert found == pytest.approx(judged(), rel=0.05)
    assert found != pytest.approx(before, rel=0.2)


# --- makeup alone as the start ------------------------------------------------------------------------------------


def at_the_start(subject: Trainer) -> Trainer:
    """The generator's own change is exactly nothing."""
    nn.init.zeros_(subject.networks["generator"].manet.last.weight)
    return subject


def test_the_transfer_decides_what_the_residual_starts_from():
    starts = {}
    for transfer in ("colours", "makeup"):
        subject = trainer(RESIDUAL_TINY, transfer=transfer)
        drawn, starts[transfer] = drawn_and_start(subject)
        assert (drawn - starts[transfer]).abs().max() < 2e-3
    face = pair()[0]
    skin = face.masks[:, 1:2] * (1 - F.max_pool2d(face.masks[:, [0, 2]].amax(1, keepdim=True), 9, 1, 4))
    changes = {name: ((start - face.image).abs() * skin).max() for name, start in starts.items()}
    assert changes["colours"] > 0.05 and changes["makeup"] == 0
    assert (starts["makeup"] - face.image).abs().max() > 0.05


def test_makeup_as_transferred_has_no_makeup_loss():
    terms = {
        name: at_the_start(trainer(RESIDUAL_TINY, transfer=name)).train_step(*pair()) for name in ("colours", "makeup")
    }
    assert terms["makeup"]["makeup"] == terms["makeup"]["similarity"] == 0
    assert terms["colours"]["makeup"] > 0.1  # the histograms of the carried colours are not quite the reference's


def test_the_makeup_loss_counts_levels_of_change_by_region(with_recipe):
    weights = only(makeup=1.0)
    name = with_recipe(RESIDUAL, weights=replace(weights, lip=4.0, skin=0.5, eyes=2.0))
    subject = trainer(recipe=name, transfer="makeup", bound=0.1)
    nn.init.normal_(subject.networks["generator"].manet.last.weight, std=0.05)
    drawn, start = drawn_and_start(subject)
    expected = 0.0
    for mask, weight in zip(pair()[0].masks[0], (4.0, 0.5, 2.0), strict=True):
        expected += weight * in_levels((drawn - start)[0].abs()[:, mask > 0].sum()).item() / (3 * SIZE * SIZE)
    terms = subject.train_step(*pair())
    assert terms["makeup"] == terms["total"] == pytest.approx(expected, rel=1e-4) and expected > 0.1


def test_an_unknown_transfer_is_refused():
    with pytest.raises(ValueError, match="transfer is 'paint'; expected 'colours' or 'makeup'"):
        trainer(RESIDUAL_TINY, transfer="paint")


# --- any target ---------------------------------------------------------------------------------------------------


def pool_trainer(pool: FaceSet, config: TrainConfig = ANY_TINY) -> Trainer:
    return Trainer(config, pool.batch(), tiny_recognizers())


def members(targets: list[Tensor], subject: Trainer) -> Tensor:
    """Per recogniser and target how often each person of the pool counts in it, in quarters: (R, N, P)."""
    found = []
    for vectors, drawn in zip(subject.targets, targets, strict=True):
        shares = torch.linalg.lstsq(vectors.T.double(), drawn.T.double()).solution.T
        found.append(residual.PEOPLE_BETWEEN * shares / shares.sum(1, keepdim=True))
    return torch.stack(found)


def test_hints_reach_the_generator():
    subject, (x, y) = trainer(ANY_TINY), pair()
    layer, hints = subject.networks["generator"].manet.hints, torch.rand(1, HINT_CHANNELS, SIZE, SIZE)
    before = layer.weight.detach().clone()
    subject.train_step(x, y)
    assert (layer.weight.grad.abs().amax((0, 2, 3)) > 0).all()
    assert ((layer.weight - before).abs().amax((0, 2, 3)) > 0.5 * subject.config.learning_rate).all()
    nn.init.normal_(subject.networks["generator"].manet.last.weight, std=0.02)
    with torch.no_grad():
        assert (subject.generate(x, y, hints=hints) - subject.generate(x, y, hints=-hints)).abs().max() > 1e-4


def test_only_a_generator_for_any_target_takes_hints():
    channels = [build_generator(config).hint_channels for config in (TINY, RESIDUAL_TINY, ANY_TINY)]
    assert channels == [0, 0, HINT_CHANNELS]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_trains_the_first_second_or_third_look_at_a_face(precision):
    """Each look is at the result of the one before; the last one teaches every parameter, under autocast, too."""
    looks = set()
    for step in range(8):
        subject, passes = trainer(ANY_TINY, precision=precision), []
        real, subject.step = subject.generate, step

        def generate(source, reference, *, hints, real=real, passes=passes):
            drawn = real(source, reference, hints=hints)
            passes.append((source.image, drawn, torch.is_grad_enabled()))
            return drawn

        subject.generate = generate
        subject.train_step(*pair())
        looks.add(len(passes))
        assert torch.equal(passes[0][0], pair()[0].image)
        assert all(torch.equal(before[1], now[0]) for before, now in pairwise(passes))
        assert [teaches for *_, teaches in passes] == [False] * (len(passes) - 1) + [True]
        assert all(gradient.any() for gradient in gradients(subject.networks["generator"]))
    assert looks == {1, 2, 3}


def strangers(count: int) -> list[Tensor]:
    """Embeddings of faces that resemble nobody of the pool."""
    return [torch.zeros(count, 16)] * len(NAMES)


def test_nobody_is_to_be_taken_for_oneself(monkeypatch):
    """Tiny networks find strangers alike, so that the limit is set between them and the person."""
    subject, noise = trainer(ANY_TINY), torch.Generator().manual_seed(0)
    monkeypatch.setattr(residual, "ONESELF", 1 - 1e-4)
    own = [vectors[[2] * 200] for vectors in subject.targets]
    drawn = members(subject.run_step._draw_targets(own, noise), subject)[0].round()
    assert not drawn[:, 2].any() and drawn[:, [0, 1, 3, 4, 5]].any(0).all()
    monkeypatch.setattr(residual, "ONESELF", 2.0)
    assert members(subject.run_step._draw_targets(own, noise), subject)[0].round()[:, 2].any()


def test_in_half_of_the_steps_only_some_recognisers_give_hints():
    subject = trainer(ANY_TINY)
    drawn = torch.tensor([subject.run_step._draw_ensemble(torch.Generator().manual_seed(s)) for s in range(400)])
    assert set(drawn.flatten().tolist()) == {0.0, 1.0} and (drawn.sum(1) >= 1).all()
    everybody = drawn.all(1).float().mean()
    # Of two: both in half of the steps; in the other half both, the one, the other or (then both again) neither.
    assert 0.7 < everybody < 0.8 and all(0.82 < share < 0.93 for share in drawn.mean(0))


def test_patches_are_worse_than_the_same_change_spread_out_and_makeup_carries_more():
    image = torch.zeros(1, 3, 32, 32)
    masks = torch.zeros(1, 3, 32, 32)
    patch, spread = image.clone(), image + 0.02
    patch[..., :16] += 0.04
    plain = residual._visible(patch, image, masks)
    assert plain > 1.5 * residual._visible(spread, image, masks) > 0
    masks[:, 0] = 1
    torch.testing.assert_close(residual._visible(patch, image, masks), residual.MADE_UP**2 * plain)
    masks[:, 0], masks[:, 1] = 0, 1  # the skin is no makeup
    torch.testing.assert_close(residual._visible(patch, image, masks), plain)


def test_about_half_of_the_targets_are_people_and_the_rest_lie_between_a_few():
    subject, count = trainer(ANY_TINY), 400
    targets = subject.run_step._draw_targets(strangers(count), torch.Generator().manual_seed(0))
    for each in targets:
        torch.testing.assert_close(each.norm(dim=1), torch.ones(count))
    shares = members(targets, subject)
    torch.testing.assert_close(shares, shares.round(), atol=0.02, rtol=0)
    assert (shares.round() >= 0).all() and (shares.round().sum(2) == residual.PEOPLE_BETWEEN).all()
    assert torch.equal(*shares.round())  # the same people for every recogniser
    people = (shares[0].round() == residual.PEOPLE_BETWEEN).any(1)
    assert 160 < people.sum() < 240
    drawn = shares[0].round()
    for group in (drawn[people], drawn[~people]):
        assert (group.sum(0) / group.sum() > 0.1).all()  # everyone of the six has a turn


def test_targets_depend_on_the_noise_of_the_step_alone():
    subject = trainer(ANY_TINY)

    def draw(step: int) -> list[Tensor]:
        torch.rand(step + 1)  # whatever else draws
        return subject.run_step._draw_targets(strangers(3), torch.Generator().manual_seed(step))

    assert all(map(torch.equal, draw(1), draw(1))) and not any(map(torch.equal, draw(1), draw(2)))


@pytest.mark.parametrize(
    ("config", "expected"), [(ANY_TINY, [False, True, False, True]), (RESIDUAL_TINY, [False] * 4)], ids=["any", "one"]
)
def test_every_second_step_for_any_target_leaves_the_reference_out(config, expected):
    bare = []
    for step in range(4):
        terms = []
        for reference in (pair()[1], pair()[0]):
            subject = trainer(config)
            nn.init.normal_(subject.networks["generator"].manet.last.weight, std=0.02)
            subject.step = step
            terms.append(subject.train_step(pair()[0], reference))
        bare.append(terms[0] == terms[1])
    assert bare == expected


@pytest.mark.parametrize("config", [TINY, RESIDUAL_TINY], ids=lambda config: config.recipe)
@pytest.mark.parametrize("count", [0, 3])
def test_a_recipe_for_one_target_refuses_any_other_number_of_faces(config, count):
    with pytest.raises(ValueError, match=f"the recipe '{config.recipe}' trains for one target, got {count} faces"):
        Trainer(config, POOL.batch()[:count], tiny_recognizers())


def test_for_any_target_somebody_must_be_in_the_pool():
    with pytest.raises(ValueError, match="got 0 faces"):
        Trainer(ANY_TINY, POOL.batch()[:0], tiny_recognizers())


@pytest.mark.parametrize("count", [1, 2, 33])
def test_the_pool_holds_one_face_or_many(count):
    """33 are more than are embedded at once."""
    pool = face_set(count, 8)
    subject = pool_trainer(pool)
    for judge, vectors in zip(tiny_recognizers(), subject.targets, strict=True):
        faces = [pool.batch([index]) for index in range(count)]
        expected = torch.cat([judge.embed(face.image, face.points) for face in faces])
        torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=0)
        assert not vectors.requires_grad
    assert all(np.isfinite(value) for value in subject.train_step(*pair(2)).values())


def test_a_pool_of_one_is_always_that_person():
    subject = pool_trainer(TARGETS)
    targets = subject.run_step._draw_targets(strangers(9), torch.Generator().manual_seed(0))
    for each, vectors in zip(targets, subject.targets, strict=True):
        torch.testing.assert_close(each, vectors.expand(9, -1))


def test_any_target_transfers_makeup_only():
    with pytest.raises(ValueError, match="transfer is 'colours'; any_target looks at its own results"):
        replace(ANY_TINY, transfer="colours")


def test_a_trained_generator_follows_its_hints(with_recipe):
    """Two people who could not differ more, 20 steps: each is approached with the hints towards them alone."""
    name = with_recipe(recipes.ANY_TARGET, weights=only(adversarial=5.0))
    subject, face = trainer(ANY_TINY, recipe=name, learning_rate=1e-2, steps=20, batch=4), SOURCES.batch(range(4))
    subject.targets = [F.normalize(torch.randn(1, 16)) * torch.tensor([[1.0], [-1.0]]) for _ in NAMES]
    for _ in range(20):
        subject.train_step(face, face)

    def similarity(told: int) -> float:
        """Mean cosine with the first of the two."""
        person = [vectors[told] for vectors in subject.targets]
        hints = residual.gradient_hints(face.image, face.points, subject.recognizers, person)
        with torch.no_grad():
            drawn = subject.generate(face, face, hints=hints)
        seen = zip(subject.recognizers, subject.targets, strict=True)
        return torch.stack([judge.embed(drawn, face.points) @ vectors[0] for judge, vectors in seen]).mean().item()

    assert similarity(told=0) > similarity(told=1) + 0.1


# --- data, rate, configuration ------------------------------------------------------------------------------------


def test_picks_depend_on_the_seed_and_the_step_alone():
    def picks(subject: Trainer, step: int) -> tuple[list[int], list[int]]:
        subject.step = step
        torch.rand(step + 1)  # whatever else draws
        return subject.picks(50, 40)

    one, other = trainer(batch=8), trainer(RESIDUAL_TINY, batch=8, width=8)
    assert [picks(one, step) for step in (0, 1, 2)] == [picks(other, step) for step in (0, 1, 2)]
    assert picks(one, 2) == picks(one, 2) != picks(one, 3)
    assert picks(one, 2) != picks(trainer(batch=8, seed=4), 2)


def test_picks_are_in_range_and_reach_every_item():
    subject = trainer(batch=2)
    counts = torch.zeros(2, 5)
    for subject.step in range(200):
        first, second = subject.picks(5, 3)
        assert len(first) == len(second) == 2
        for side, chosen in enumerate((first, second)):
            for index in chosen:
                counts[side, index] += 1
    assert (counts[0] > 40).all() and (counts[1, :3] > 80).all() and not counts[1, 3:].any()


def test_alike_pairs_each_source_with_one_of_its_nearest_references():
    subject, seen = trainer(batch=2, alike=2), set()
    subject.learn_from(SOURCES, REFERENCES)
    nearest = datasets.alike(SOURCES, REFERENCES, 2)
    for subject.step in range(200):
        for source, reference in zip(*subject.picks(len(SOURCES), len(REFERENCES)), strict=True):
            assert reference in nearest[source]
            seen.add((source, reference))
    assert len(seen) == 2 * len(SOURCES)


def test_data_and_noise_have_streams_of_their_own():
    subject = trainer()
    seeds = []
    for subject.step in range(50):
        seeds += [subject._seed("data"), subject._seed("noise")]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("decay_from", "expected"), [(1.0, [1, 1, 1, 1]), (0.5, [1, 1, 1, 0.5]), (0.0, [1, 0.75, 0.5, 0.25])]
)
def test_the_rate_is_constant_or_falls(decay_from, expected):
    subject, rates = trainer(RESIDUAL_TINY, decay_from=decay_from, learning_rate=1e-3), []
    subject.optimizers["generator"].register_step_post_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    for _ in range(4):
        subject.train_step(*pair())
    assert rates == pytest.approx([1e-3 * factor for factor in expected])


def test_the_warm_up_has_a_rate_that_falls_too():
    subject, rates = trainer(warm_up=10, steps=14, decay_from=0.5, learning_rate=1e-3), []
    for subject.step in range(14):
        subject._set_rate()
        rates.append(1e3 * subject.optimizers["generator"].param_groups[0]["lr"])
    assert rates == pytest.approx([6] * 8 + [4, 2] + [1, 1, 1, 0.5])
    without = trainer(RESIDUAL_TINY, warm_up=10, learning_rate=1e-3)
    without.train_step(*pair())
    assert without.optimizers["generator"].param_groups[0]["lr"] == 1e-3, "a recipe without H has no warm-up"


def test_discriminators_have_a_rate_of_their_own():
    subject = trainer(discriminator_rate=4.0, learning_rate=1e-3)
    subject.train_step(*pair())
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in subject.optimizers.items()}
    judges = {"discriminator_makeup": 4e-3, "discriminator_plain": 4e-3}
    assert rates == pytest.approx({"generator": 1e-3, "regularizer": 1e-3, **judges})


def test_a_configuration_is_checked():
    with pytest.raises(ValueError, match="there is no recipe 'papers'"):
        replace(TINY, recipe="papers")
    with pytest.raises(ValueError, match=r"recognizers is \(\); expected the names"):
        TrainConfig()


def test_the_papers_sizes_are_the_defaults():
    config = TrainConfig(recognizers=("ir152",))
    assert (config.size, config.width, config.bottlenecks, config.regularizer_blocks) == (256, 64, 6, 4)
    assert (config.batch, config.steps, config.views, config.learning_rate) == (1, 5 * 2719, 5, 2e-4)


# --- checkpoints --------------------------------------------------------------------------------------------------


def run(config: TrainConfig, **options) -> Trainer:
    return train(trainer(config), SOURCES, REFERENCES, progress=iter, **options)


def flat(value, name: str = "") -> dict:
    """Leaves of nested dictionaries and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else None
    if items is None:
        return {name: value}
    return {key: leaf for part, inner in items for key, leaf in flat(inner, f"{name}/{part}").items()}


def assert_same_state(one: Trainer, other: Trainer) -> None:
    """Bit-equal weights, optimizer states and history; only the clock may differ."""
    assert one.step == other.step
    for get in (lambda t: t.networks.state_dict(), lambda t: {n: o.state_dict() for n, o in t.optimizers.items()}):
        found, expected = flat(dict(get(one))), flat(dict(get(other)))
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            same = torch.equal(found[key], value) if isinstance(value, Tensor) else found[key] == value
            assert same, f"{key} differs"
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in t.history] for t in (one, other)]
    assert rows[0] == rows[1] and len(rows[0]) == one.step


@pytest.mark.parametrize("config", [TINY, RESIDUAL_TINY, ANY_TINY], ids=lambda config: config.recipe)
def test_resuming_goes_on_as_if_nothing_had_happened(config, tmp_path):
    straight = run(config)
    checkpoint = tmp_path / "deep" / "run.pt"
    first = run(replace(config, steps=2), checkpoint=checkpoint)
    assert first.step == 2
    torch.manual_seed(1234)  # another process would stand elsewhere
    resumed = run(config, resume_from=checkpoint)
    assert_same_state(resumed, straight)
    assert resumed.seconds > first.seconds


def test_the_same_seed_gives_the_same_run_and_another_does_not():
    config = replace(RESIDUAL_TINY, steps=2)
    assert_same_state(run(config), run(config))
    one, other = run(config), run(replace(config, seed=4))
    assert one.history[0]["adversarial"] != other.history[0]["adversarial"]


def test_resuming_needs_no_networks_in_the_same_state(tmp_path):
    """Everything that is restored comes from the file: the trainer that resumes has trained on something else."""
    checkpoint = tmp_path / "run.pt"
    run(replace(RESIDUAL_TINY, steps=2), checkpoint=checkpoint)
    astray = trainer(RESIDUAL_TINY)
    for _ in range(3):
        astray.train_step(*pair())
    train(astray, SOURCES, REFERENCES, progress=iter, resume_from=checkpoint)
    assert_same_state(astray, run(RESIDUAL_TINY))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 4}, "seed 3 there, 4 here"),
        ({"width": 8}, "width 4 there, 8 here"),
        ({"bound": 0.5, "tint": 0.5}, "bound 0.25 there, 0.5 here, tint 1.0 there, 0.5 here"),
        ({"recognizers": ("tiny_a",)}, r"recognizers \['tiny_a', 'tiny_b'\] there, \['tiny_a'\] here"),
        ({"recipe": "corrected"}, "recipe 'residual' there, 'corrected' here"),
        ({"transfer": "makeup"}, "transfer 'colours' there, 'makeup' here"),
    ],
)
def test_another_configuration_is_refused(tmp_path, change, said):
    checkpoint = tmp_path / "run.pt"
    run(replace(RESIDUAL_TINY, steps=1), checkpoint=checkpoint)
    other = trainer(RESIDUAL_TINY, **change)
    before = weights_of(other.networks)
    with pytest.raises(ValueError, match=f"belongs to another run: {said}$"):
        other.resume(checkpoint)
    assert other.step == 0 and not other.history
    assert all(torch.equal(value, before[key]) for key, value in weights_of(other.networks).items())


def other_weights() -> list[Recognizer]:
    first, second = tiny_recognizers()
    return [first, Recognizer(second.spec, second.network, "ffffffffffffffff")]


@pytest.mark.parametrize(
    ("config", "change", "said"),
    [
        (RESIDUAL_TINY, {"target": face_set(1, 77)}, "target 'sha256 .{12}' there, 'sha256 .{12}' here"),
        (ANY_TINY, {"target": POOL.rows(np.arange(5))}, "target 'sha256 .{12}' there, 'sha256 .{12}' here"),
        (RESIDUAL_TINY, {"judges": other_weights()}, "weights of tiny_b 'sha256 random' there, 'sha256 f{12}' here"),
        (TINY, {"distance": "LPIPS"}, "perceptual distance 'tiny' there, 'LPIPS' here"),
        (TINY, {"distance": ""}, "perceptual distance 'tiny' there, 'none' here"),
        (RESIDUAL_TINY, {"sources": face_set(5, 50)}, "sources 'sha256 .{12}' there, 'sha256 .{12}' here"),
        (RESIDUAL_TINY, {"references": face_set(3, 50)}, "references 'sha256 .{12}' there, 'sha256 .{12}' here"),
    ],
)
def test_a_run_that_is_made_from_something_else_is_refused(tmp_path, config, change, said):
    checkpoint, config = tmp_path / "run.pt", replace(config, steps=1)
    first = run(config, checkpoint=checkpoint)
    own = {"target": POOL if first.recipe.any_target else TARGETS, "judges": tiny_recognizers(), "distance": "tiny"}
    own |= {"sources": SOURCES, "references": REFERENCES, **change}
    distance = FeatureDistance(tiny_recognizers(7)[0].features, own["distance"]) if own["distance"] else None
    other = Trainer(config, own["target"].batch(), own["judges"], distance)
    with pytest.raises(ValueError, match=f"run.pt belongs to another run: {said}$"):
        train(other, own["sources"], own["references"], resume_from=checkpoint, progress=iter)
    assert other.step == 0


def test_a_distance_that_the_recipe_does_not_look_at_may_be_another(tmp_path):
    checkpoint = tmp_path / "run.pt"
    run(replace(RESIDUAL_TINY, steps=1), checkpoint=checkpoint)
    Trainer(RESIDUAL_TINY, TARGETS.batch(), tiny_recognizers()).resume(checkpoint)


def test_a_checkpoint_of_an_older_version_is_resumed_under_a_warning(tmp_path):
    checkpoint = tmp_path / "run.pt"
    run(replace(RESIDUAL_TINY, steps=1), checkpoint=checkpoint)
    state = torch.load(checkpoint, weights_only=True)
    del state["origin"]
    torch.save(state, checkpoint)
    with pytest.warns(UserWarning, match="run.pt is of an older version and does not say its target"):
        assert run(RESIDUAL_TINY, resume_from=checkpoint).step == 4


def test_a_run_may_go_on_for_longer(tmp_path):
    checkpoint = tmp_path / "run.pt"
    run(replace(RESIDUAL_TINY, steps=1), checkpoint=checkpoint)
    assert run(replace(RESIDUAL_TINY, steps=3), resume_from=checkpoint).step == 3


def test_nothing_is_resumed_unasked(tmp_path):
    checkpoint = tmp_path / "run.pt"
    config = replace(RESIDUAL_TINY, steps=2)
    run(replace(config, steps=1), checkpoint=checkpoint)
    assert_same_state(run(config, checkpoint=checkpoint), run(config))


def stopping(error: type[BaseException], after: int) -> Callable:
    def progress(steps):
        for count, step in enumerate(steps):
            if count == after:
                raise error
            yield step

    return progress


def test_a_run_of_so_many_minutes_ends_at_a_step_and_goes_on_later(tmp_path):
    config, checkpoint = replace(RESIDUAL_TINY, steps=3), tmp_path / "run.pt"
    cut = run(config, checkpoint=checkpoint, minutes=0)
    assert cut.step == 1
    whole, further = run(config, minutes=60), run(config, resume_from=checkpoint)
    assert whole.step == further.step == 3
    assert all(map(torch.equal, whole.networks.parameters(), further.networks.parameters()))


def test_an_interrupted_run_leaves_a_checkpoint_to_go_on_from(tmp_path):
    checkpoint, subject = tmp_path / "run.pt", trainer(RESIDUAL_TINY)
    with pytest.raises(KeyboardInterrupt):
        train(subject, SOURCES, REFERENCES, checkpoint=checkpoint, progress=stopping(KeyboardInterrupt, 3))
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]
    resumed = trainer(RESIDUAL_TINY)
    resumed.resume(checkpoint)
    assert resumed.step == 3
    train(resumed, SOURCES, REFERENCES, progress=iter)
    assert_same_state(resumed, run(RESIDUAL_TINY))


def ctrl_c_in_step(subject: Trainer, step: int, times: int = 1) -> None:
    """Let the signal arrive after the first update of that step."""
    update, left = subject.update, [signal.SIGINT] * times

    def interrupted(name: str, loss: Tensor) -> None:
        update(name, loss)
        while left and subject.step == step:
            signal.raise_signal(left.pop())

    subject.update = interrupted


@pytest.mark.parametrize("config", [TINY, RESIDUAL_TINY], ids=lambda config: config.recipe)
def test_an_interrupt_waits_for_the_end_of_its_step(config, tmp_path):
    """For the recipe `corrected` the signal comes after the first of four updates."""
    checkpoint, subject = tmp_path / "run.pt", trainer(config)
    ctrl_c_in_step(subject, 2)
    with pytest.raises(KeyboardInterrupt):
        train(subject, SOURCES, REFERENCES, checkpoint=checkpoint, progress=iter)
    assert subject.step == 3 and len(subject.history) == 3
    assert_same_state(run(config, resume_from=checkpoint), run(config))


def test_a_second_interrupt_ends_the_step_at_once_and_saves_no_half_of_it(tmp_path):
    checkpoint, subject, handler = tmp_path / "run.pt", trainer(TINY), signal.getsignal(signal.SIGINT)
    ctrl_c_in_step(subject, 3, times=2)
    with pytest.raises(KeyboardInterrupt):
        train(subject, SOURCES, REFERENCES, checkpoint=checkpoint, every=2, progress=iter)
    assert subject.step == 3 and signal.getsignal(signal.SIGINT) is handler
    assert torch.load(checkpoint, weights_only=True)["step"] == 2
    assert_same_state(run(TINY, resume_from=checkpoint), run(TINY))


def test_an_interrupt_does_not_hide_that_a_step_failed(monkeypatch):
    subject = trainer(RESIDUAL_TINY)

    def step(*_: FaceBatch) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        return {"makeup": float("nan")}

    monkeypatch.setattr(subject, "train_step", step)
    with pytest.raises(TrainingError, match="a loss is not finite"):
        train(subject, SOURCES, REFERENCES, progress=iter)


def test_training_goes_on_in_a_thread_and_where_interrupts_are_ignored():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run, replace(RESIDUAL_TINY, steps=1)).result().step == 1
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        subject = trainer(RESIDUAL_TINY)
        ctrl_c_in_step(subject, 2)
        assert train(subject, SOURCES, REFERENCES, progress=iter).step == 4
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, handler)


def test_a_checkpoint_is_saved_every_so_many_steps(tmp_path, monkeypatch):
    saved, subject = [], trainer(replace(RESIDUAL_TINY, steps=5))
    monkeypatch.setattr(subject, "save", lambda path: saved.append((path, subject.step)))
    train(subject, SOURCES, REFERENCES, checkpoint=tmp_path / "run.pt", every=2, progress=iter)
    assert saved == [(tmp_path / "run.pt", step) for step in (2, 4, 5)]


def test_a_checkpoint_is_saved_every_few_minutes_by_the_clock(tmp_path, monkeypatch):
    saved, subject = [], trainer(replace(RESIDUAL_TINY, steps=3))
    monkeypatch.setattr(subject, "save", lambda path: saved.append(subject.step))
    monkeypatch.setattr(trainer_module, "SECONDS", 0.0)
    train(subject, SOURCES, REFERENCES, checkpoint=tmp_path / "run.pt", progress=iter)
    assert saved == [1, 2, 3, 3]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:115] err == 0. DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_little_memory_names_the_settings_and_the_last_good_state(error, tmp_path, monkeypatch):
    checkpoint, subject = tmp_path / "run.pt", trainer(RESIDUAL_TINY)
    real = subject.train_step

    def step(*sides):
        if subject.step == 2:
            raise error
        return real(*sides)

    monkeypatch.setattr(subject, "train_step", step)
    with pytest.raises(TrainingError, match=r"step 2: batch 1 at size 32 needs .*the last good state is .*run"):
        train(subject, SOURCES, REFERENCES, checkpoint=checkpoint, every=1, progress=iter)
    assert torch.load(checkpoint, weights_only=True)["step"] == 2


def test_a_full_disk_is_one_sentence_with_the_file_and_the_last_checkpoint_stays(tmp_path):
    """The system stops the writing at 20 kB, less than a checkpoint has."""
    checkpoint, subject = tmp_path / "run.pt", trainer(RESIDUAL_TINY)
    subject.save(checkpoint)
    whole, limits = checkpoint.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    assert len(whole) > 20_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"run\.pt"):
            subject.save(checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoint.read_bytes() == whole and [file.name for file in tmp_path.iterdir()] == ["run.pt"]


def test_a_request_to_end_waits_for_the_end_of_its_step(tmp_path):
    """SIGTERM, where a program has a handler for it, as the commands have."""
    checkpoint, subject = tmp_path / "run.pt", trainer(TINY)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        update = subject.update
        subject.update = lambda *given: (update(*given), subject.step == 1 and signal.raise_signal(signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            train(subject, SOURCES, REFERENCES, checkpoint=checkpoint, progress=iter)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_run_that_breaks_down_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    checkpoint, subject = tmp_path / "run.pt", trainer(RESIDUAL_TINY)
    real = subject.train_step

    def step(*sides):
        terms = real(*sides)
        return {**terms, "makeup": float("nan")} if subject.step == 3 else terms

    monkeypatch.setattr(subject, "train_step", step)
    with pytest.raises(TrainingError, match=r"step 3: a loss is not finite: .*'makeup': nan.*learning_rate.*run\.pt$"):
        train(subject, SOURCES, REFERENCES, checkpoint=checkpoint, every=2, progress=iter)
    again = trainer(RESIDUAL_TINY)
    again.resume(checkpoint)
    assert again.step == 2


def test_a_half_written_checkpoint_never_takes_the_place_of_a_whole_one(tmp_path, monkeypatch):
    checkpoint, subject = tmp_path / "run.pt", trainer(RESIDUAL_TINY)
    subject.save(checkpoint)
    whole = checkpoint.read_bytes()

    def full_disk(state, path):
        Path(path).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    subject.step = 7
    with pytest.raises(OSError, match="no space"):
        subject.save(checkpoint)
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]
    assert checkpoint.read_bytes() == whole


def test_two_processes_save_under_temporary_names_of_their_own(tmp_path, monkeypatch):
    subject, seen = trainer(RESIDUAL_TINY), []
    monkeypatch.setattr(torch, "save", lambda state, path: seen.append(path) or Path(path).touch())
    for process in (1, 2):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        subject.save(tmp_path / "run.pt")
    assert len(set(seen)) == 2


def test_a_training_command_without_values_for_its_recipe_is_refused():
    """Every training that is started from a preset is planned so: the notebooks and presets here are the real ones."""
    for values in (["recipe=any_target"], ["recipe=residual,any_target"]):
        with pytest.raises(PresetError, match=r"^03_train has no value for the recipe 'any_target' in `steps` "):
            launcher.planned("open-small", values)


def test_a_checkpoint_holds_data_alone(tmp_path):
    """It loads without running code, and knows its configuration."""
    checkpoint = tmp_path / "run.pt"
    run(replace(RESIDUAL_TINY, steps=1), checkpoint=checkpoint)
    state = torch.load(checkpoint, weights_only=True)
    assert TrainConfig(**json.loads(state["config"])) == replace(RESIDUAL_TINY, steps=1)


# --- export -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, RESIDUAL_TINY, ANY_TINY], ids=lambda config: config.recipe)
def test_an_exported_generator_draws_the_same(config, tmp_path):
    subject = run(replace(config, steps=1, bound=0.3))
    path = export(subject, tmp_path / "deep" / "generator.safetensors", target="someone")
    assert [file.name for file in path.parent.iterdir()] == ["generator.safetensors"]
    loaded, facts = load_generator(path)
    assert (facts["recipe"], facts["size"], facts["steps"], facts["target"]) == (config.recipe, SIZE, 1, "someone")
    written = TrainConfig(**facts["config"])
    assert written == subject.config
    assert (loaded.transfer, loaded.hint_channels) == (written.transfer, subject.networks["generator"].hint_channels)
    # The memory format decides in which order a convolution adds.
    rebuilt = build_generator(written).to(memory_format=torch.channels_last)
    rebuilt.load_state_dict(loaded.state_dict())
    x, y = pair(2)
    sides = (x.image, y.image, x.masks, y.masks, x.landmarks, y.landmarks)
    with torch.no_grad():
        expected = subject.networks["generator"](*sides)
        for generator in (loaded, rebuilt):
            torch.testing.assert_close(generator(*sides), expected, atol=1e-6, rtol=0)


def test_a_configuration_comes_back_from_json():
    written = json.loads(json.dumps(asdict(TINY)))
    assert isinstance(written["recognizers"], list)
    assert TrainConfig(**written) == TINY and hash(TrainConfig(**written)) == hash(TINY)
    with pytest.raises(ValueError, match="recognizers is 'tiny_a'"):
        replace(TINY, recognizers="tiny_a")


# --- beginning with what was trained before -----------------------------------------------------------------------


def test_the_warm_up_teaches_g_and_h_to_give_a_face_back_and_the_discriminators_to_see_it():
    subject = trainer(warm_up=60, steps=61, learning_rate=1e-3, discriminator_rate=2.0)
    first, *_, last = (subject.train_step(*pair()) for _ in range(60))
    assert set(first) == {"total", "generator_back", "regularizer_back", "discriminator_makeup", "discriminator_plain"}
    for name in ("total", "generator_back", "regularizer_back", "discriminator_makeup"):
        assert last[name] < 0.7 * first[name], name
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in subject.optimizers.items()}
    assert rates["generator"] < 0.1 * 6e-3, "it ended slowly"
    assert rates["discriminator_plain"] == pytest.approx(rates["generator"] / 3), "2 times the rate, not 6"
    assert set(subject.train_step(*pair())) == PAPER_TERMS
    adam = subject.optimizers["generator"]
    assert adam.param_groups[0]["lr"] <= 1e-3
    assert all(known["step"] == 1 for known in adam.state.values()), "the gradients of the warm-up are forgotten"


@pytest.mark.parametrize("config", [TINY, RESIDUAL_TINY], ids=lambda config: config.recipe)
def test_a_training_begins_with_the_networks_of_another(tmp_path, config):
    first = train(trainer(config, steps=2), SOURCES, REFERENCES)
    file = save_networks(first, tmp_path / "networks.safetensors", {"world": "drawn"})
    second = trainer(config, seed=9, start=str(file))
    begin_with(second, file)
    assert configuration(file)["recognizers"] == list(NAMES)
    for one, other in zip(first.networks.state_dict().values(), second.networks.state_dict().values(), strict=True):
        torch.testing.assert_close(other, one.half().float())
    assert second.step == 0
    whole = {"recognizers": [*NAMES, "drawn_ir"]}  # those of both trainings
    assert configuration(save_networks(second, tmp_path / "n.safetensors", whole))["recognizers"] == [
        *NAMES,
        "drawn_ir",
    ]
    _, told = load_generator(export(second, tmp_path / "g.safetensors", **whole))
    assert told["recognizers"] == [*NAMES, "drawn_ir"]
    for told in (save_networks(second, tmp_path / "n.safetensors", {}), export(second, tmp_path / "g.safetensors")):
        assert str(tmp_path).encode() not in told.read_bytes()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.unlink(), "there is no such file; expected networks.safetensors of a training"),
        (lambda file: file.write_bytes(b"no tensors"), "does not hold the networks of a training"),
    ],
)
def test_a_beginning_that_is_missing_or_damaged_is_named(tmp_path, spoil, said):
    file = save_networks(trainer(), tmp_path / "networks.safetensors", {})
    spoil(file)
    with pytest.raises(ValueError, match=said):
        begin_with(trainer(), file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"width": 6}, "of other networks: width 4 there, 6 here"), ({"recipe": "residual"}, "of the recipe corrected")],
)
def test_a_beginning_with_other_networks_is_refused(tmp_path, changes, said):
    file = save_networks(trainer(), tmp_path / "networks.safetensors", {})
    with pytest.raises(ValueError, match=said):
        begin_with(trainer(**changes), file)


def test_h_of_a_training_is_read_from_its_networks(tmp_path):
    subject = trainer(seed=5)
    network, size = regularizer(save_networks(subject, tmp_path / "networks.safetensors", {}))
    picture = SOURCES.batch([0]).image
    assert size == TINY.size
    torch.testing.assert_close(network(picture), subject.networks["regularizer"](picture), atol=5e-3, rtol=0)
    assert not any(weight.requires_grad for weight in network.parameters())
    with pytest.raises(ValueError, match="recipe residual, which has no H"):
        regularizer(save_networks(trainer(RESIDUAL_TINY), tmp_path / "residual.safetensors", {}))


def begun(recipe, start, preset="procedural"):
    """A training of a preset that begins with networks that come along, its judges and its split."""
    [given] = launcher.planned(preset, [f"recipe={recipe}"])
    names, judges = recognizers.partition(given["split"], given["held_out"], recognizers.zoo(given["zoo"]))
    networks, target = [recognizers.load(name) for name in names], datasets.drawn_pair(given["size"])[:1]
    subject = Trainer(assembly.configured(given, names), target, networks, perceptual())
    begin_with(subject, file_of(start, recipe))
    return subject, judges, given["split"]


@pytest.mark.parametrize("recipe", ["published", "corrected", "residual"])
def test_networks_that_come_along_fit_the_default_run_and_no_judge_that_helped_to_train_them(recipe):
    subject, judges, split = begun(recipe, "trained")
    facts = configuration(file_of("trained", recipe))
    assert facts["recipe"] == recipe and facts["steps"] >= 500  # residual: after 1000 with less colour
    assembly.check_start(subject.config, judges, split)
    with pytest.raises(ValueError, match=r"networks that a judge helped to train.*Set start"):
        assembly.check_start(subject.config, ["drawn_mobile"], split)


@pytest.mark.mirror
@pytest.mark.parametrize("recipe", ["published", "corrected"])
def test_networks_trained_on_photographs_fit_their_preset_and_know_drawn_faces_still(mirror, recipe):
    subject, judges, split = begun(recipe, "photos", "open-small")
    assert subject.config.start == "photos" and set(judges) == {"edgeface_xs", "edgeface_xxs"}
    assembly.check_start(subject.config, judges, split)
    taught = ["mobilefacenet_foamliu", "mobilefacenet_xiaoccer", "drawn_ir", "drawn_irse", "drawn_mobile"]
    assert assembly.taught_by(subject.config) == taught
    assert assembly.taught_by(replace(subject.config, start="")) == taught[:2]
    for judge in ("mobilefacenet_foamliu", "drawn_ir"):  # the latter took part in what these began with
        with pytest.raises(ValueError, match="networks that a judge helped to train"):
            assembly.check_start(subject.config, [judge], split)
    face = datasets.drawn_pair(subject.config.size)[0:1]
    with torch.no_grad():
        drawn = subject.generate(face, face)
    assert float(losses.ssim(drawn, face.image).mean()) > 0.7


@pytest.mark.parametrize("recipe", ["published", "corrected"])
def test_the_networks_that_the_ablation_begins_with_give_faces_back(recipe):
    subject, _, _ = begun(recipe, "warmed")
    face = datasets.drawn_pair(80)[0:1]
    with torch.no_grad():
        drawn = subject.generate(face, face)
    assert float(losses.ssim(drawn, face.image).mean()) > 0.9
    assert configuration(file_of("warmed", recipe))["warm_up"] == 11700
