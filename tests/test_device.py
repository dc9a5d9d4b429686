"""The networks, losses and steps on the device that AMTGAN_TEST_DEVICE names ("cuda"; by default the CPU).

On a GPU they are held to the published numbers and to what a CPU computes, at 1e-3 without TF32.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fakes import (
    ANY_TINY,
    POOL,
    RESIDUAL_TINY,
    TARGETS,
    TINY,
    assert_close,
    batch,
    by_rule,
    faces_at_a_zoom,
    gradients,
    pair,
    ruled_recognizer,
    tiny_recognizers,
)

from amtgan_lib import recipes, recognizers
from amtgan_lib.losses import FeatureDistance
from amtgan_lib.models import load_published
from amtgan_lib.recognizers.alignment import align
from amtgan_lib.training import TrainConfig, Trainer

DEVICE = os.environ.get("AMTGAN_TEST_DEVICE", "cpu")
# A CPU is like itself: without a GPU one case shows that the comparison runs.
slow_on_a_cpu = [pytest.mark.slow] if DEVICE == "cpu" else []


@pytest.fixture(autouse=True)
def without_tf32():
    """TF32 has 10 bits of mantissa: what is compared here has more. Products of matrices do not use it by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def largest(found: torch.Tensor, expected: torch.Tensor) -> float:
    return (found.float().cpu() - expected).abs().max().item()


@pytest.mark.slow  # on a CPU what tests/test_models.py asks, and in bfloat16, which many CPUs emulate
@pytest.mark.parametrize("case", ["a", "b"])
def test_generator_and_regularizer_give_the_published_numbers(published, cases, case):
    generator, regularizer = (
        load_published(kind, published[kind]).to(DEVICE, memory_format=torch.channels_last)
        for kind in ("generator", "regularizer")
    )
    inputs = [side.to(DEVICE) for side in batch(cases[case])]
    with torch.no_grad():
        drawn = generator(*inputs)
        assert largest(drawn, cases[case]["transfer"]) < 1e-3
        assert largest(regularizer(cases[case]["transfer"].to(DEVICE)), cases[case]["purified"]) < 1e-3
        with torch.autocast(DEVICE, torch.bfloat16):
            narrow = generator(*inputs)
    levels = 127.5 * (narrow.float().cpu() - cases[case]["transfer"]).abs().mean().item()
    assert levels < 2, f"bfloat16 is {levels:.2f} levels off on average"  # weights by the rule, not trained ones


@pytest.mark.slow  # on a CPU what tests/test_recognizers.py asks
@pytest.mark.parametrize("name", recognizers.PUBLISHED)
def test_published_recognisers_give_the_published_numbers(name, golden):
    tensors = np.load(golden / "recognizers.npz")
    images = F.interpolate(torch.from_numpy(tensors["images"]), recognizers.spec(name).input_size, mode="bilinear")
    with torch.no_grad():
        found = by_rule(recognizers.build(name)).to(DEVICE)(images.to(DEVICE))
    expected = torch.from_numpy(tensors[name])
    assert largest(found, expected) < 1e-3 * expected.abs().max()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=slow_on_a_cpu) for name in (*recognizers.OPEN, *recognizers.DRAWN[:-1])]
    + [recognizers.DRAWN[-1]],
)
def test_recognisers_see_what_they_see_on_a_cpu(name):
    """Alignment and network, with a gradient; the points stay on the CPU."""
    images, points = faces_at_a_zoom()
    found = []
    for device in ("cpu", DEVICE):
        recognizer = ruled_recognizer(name).to(device)
        seen = images.to(device).requires_grad_()
        embedding = recognizer.embed(seen, points)
        found.append((embedding.detach().cpu(), torch.autograd.grad(embedding[:, 0].sum(), seen)[0].cpu()))
        assert largest(align(images.to(device), points), align(images, points)) < 1e-4
    for own, expected in zip(found[1], found[0], strict=True):
        assert largest(own, expected) < 2e-3 * expected.abs().max()


def on(device: str, config: TrainConfig) -> Trainer:
    networks = tiny_recognizers()
    targets = POOL if recipes.recipe(config.recipe).any_target else TARGETS
    distance = FeatureDistance(networks[0].features, "tiny")
    return Trainer(replace(config, device=device), targets.batch(), networks, distance)


@pytest.mark.parametrize("checkpointing", [False, pytest.param(True, marks=slow_on_a_cpu)])
@pytest.mark.parametrize(
    "config",
    [RESIDUAL_TINY]
    + [pytest.param(each, marks=slow_on_a_cpu) for each in (TINY, replace(TINY, recipe="published"), ANY_TINY)],
    ids=lambda config: config.recipe,
)
def test_a_step_is_that_of_a_cpu(config, checkpointing, monkeypatch):
    """Losses and every network's gradient. The noise of a GPU is another, so the views have none."""
    monkeypatch.setattr("amtgan_lib.losses.InputDiversity._normal_like", lambda self, rows, generator: 0 * rows)
    here = on("cpu", replace(config, seed=4))
    there = on(DEVICE, replace(config, seed=4, checkpointing=checkpointing))
    expected, found = here.train_step(*pair(2)), there.train_step(*pair(2))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    for name, network in here.networks.items():
        assert_close([gradient.cpu() for gradient in gradients(there.networks[name])], gradients(network), 1e-3)


def test_a_step_in_bfloat16_is_near():
    here, there = on("cpu", TINY), on(DEVICE, replace(TINY, precision="bfloat16"))
    expected, found = here.train_step(*pair(2)), there.train_step(*pair(2))
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=0.05, abs=0.05), name


@pytest.mark.skipif(DEVICE == "cpu", reason="a CPU is never waited for: AMTGAN_TEST_DEVICE=cuda")
@pytest.mark.parametrize("config", [TINY, RESIDUAL_TINY, ANY_TINY], ids=lambda config: config.recipe)
def test_a_step_never_waits(config):
    subject = on(DEVICE, config)
    for _ in range(2):  # looks at the range once, and fills caches
        subject.train_step(*pair(2))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            subject.launch(*pair(2))
    finally:
        torch.cuda.set_sync_debug_mode("default")
