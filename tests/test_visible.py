"""S-CIELAB: what the eye resolves counts, what it does not counts less."""

import math

import pytest
import torch

from amtgan_lib import losses
from amtgan_lib.losses import colour_difference

GREY = torch.full((1, 3, 96, 96), 0.2)
RED_GREEN = (1.0, -0.3, 0.1)  # about equally bright
SKIN = torch.tensor([0.6, 0.2, 0.0]).view(1, 3, 1, 1).expand(2, 3, 96, 96)


def wave(period: float, colour=(1.0, 1.0, 1.0), levels: float = 8.0) -> torch.Tensor:
    """Stripes across the grey picture, so many pixels apart, of a colour that is added and taken away."""
    stripes = torch.sin(2 * math.pi * (torch.arange(96) + 0.5) / period).sign() * levels / 127.5
    return GREY + stripes * torch.tensor(colour).view(3, 1, 1)


def test_equal_pictures_do_not_differ_and_have_no_gradient():
    image = SKIN.clone().requires_grad_()
    difference = colour_difference(image, SKIN)
    assert difference.shape == (2, 1, 96, 96) and float(difference.detach().abs().max()) == 0
    difference.mean().backward()
    assert float(image.grad.abs().max()) == 0


def test_even_areas_have_the_difference_of_cielab():
    """Without anything to blur S-CIELAB is CIELAB: values of skimage for the two colours."""
    skimage = pytest.importorskip("skimage.color")
    other = SKIN + torch.tensor([0.1, -0.05, 0.02]).view(1, 3, 1, 1)
    lab = [skimage.rgb2lab(((each[0, :, 0, 0] + 1) / 2).numpy()) for each in (SKIN, other)]
    expected = float(((lab[0] - lab[1]) ** 2).sum() ** 0.5)
    assert colour_difference(SKIN, other).mean().item() == pytest.approx(expected, rel=0.01)


def test_it_is_symmetric_and_grows_with_the_change():
    small, large = wave(8, levels=4), wave(8, levels=12)
    assert torch.allclose(colour_difference(GREY, large), colour_difference(large, GREY), atol=1e-5)
    assert colour_difference(GREY, large).mean() > 2.5 * colour_difference(GREY, small).mean() > 0


def test_fine_colour_is_seen_less_than_fine_brightness_and_than_patches_of_colour():
    fine, patches = (colour_difference(GREY, wave(period, RED_GREEN)).mean() for period in (2, 32))
    assert fine < 0.25 * patches
    assert fine < 0.4 * colour_difference(GREY, wave(2)).mean()


def test_from_farther_away_grain_disappears_and_an_even_change_does_not():
    grain, even = wave(2), GREY + 8 / 127.5
    near, far = (colour_difference(GREY, grain, degrees).mean() for degrees in (12.0, 1.5))
    assert far < 0.25 * near
    near, far = (colour_difference(GREY, even, degrees).mean() for degrees in (12.0, 1.5))
    assert far == pytest.approx(float(near), rel=1e-3)


def test_patches_of_colour_are_seen_where_ssim_finds_grain_worse():
    """Why it is here."""
    patches, grain = wave(48, RED_GREEN), wave(2, levels=3)
    assert losses.ssim(GREY, patches).item() > losses.ssim(GREY, grain).item()
    assert colour_difference(GREY, patches).mean() > 1.5 * colour_difference(GREY, grain).mean()


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_gradients_are_finite_at_black_and_white(value):
    image = torch.full((1, 3, 32, 32), value).requires_grad_()
    colour_difference(image, torch.zeros(1, 3, 32, 32)).mean().backward()
    assert image.grad.isfinite().all()


def test_a_descent_on_it_removes_a_change():
    change = torch.nn.Parameter(0.1 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    optimizer = torch.optim.Adam([change], 0.01)
    first = None
    for _ in range(20):
        loss = colour_difference(GREY[..., :32, :32] + change, GREY[..., :32, :32]).mean()
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.6 * first


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"of one shape expected, got \(1, 3, 96, 96\) and \(1, 3, 32, 32\)"):
        colour_difference(GREY, GREY[..., :32, :32])
