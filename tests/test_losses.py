"""Losses: against the golden tensors, against plain loops and scikit-image, and at their limits."""

import hashlib
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from amtgan_lib import losses
from amtgan_lib.losses import FeatureDistance, InputDiversity, LossWeights
from benchmarks import published

SIZE = 64
REGIONS = ("lip", "skin", "eyes")


def random_images(n: int = 2, seed: int = 0, size: int = SIZE) -> torch.Tensor:
    """Smooth random colours in (-1,1), different in every image."""
    coarse = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 1.8 - 0.9
    return nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(-0.99, 0.99)


def box_mask(n: int = 2, top: int = 20, left: int = 10, height: int = 24, width: int = 30, size: int = SIZE):
    mask = torch.zeros(n, 1, size, size)
    mask[..., top : top + height, left : left + width] = 1
    return mask


class OperationCount(TorchDispatchMode):
    """Counts the tensor operations that run inside its `with` block."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.fixture(params=["a", "b"])
def case(golden, request):
    arrays = np.load(golden / f"case_{request.param}.npz")
    pictures = (torch.tensor(arrays[k])[None] for k in ("source", "reference", "source_masks", "reference_masks"))
    return (*pictures, arrays)


class TestHistogramLoss:
    @pytest.mark.parametrize("region", range(3), ids=REGIONS)
    def test_golden_values(self, case, region):
        source, reference, masks, reference_masks, arrays = case
        loss = losses.histogram_loss(source, reference, masks[:, region, None], reference_masks[:, region, None])
        assert loss.item() == pytest.approx(arrays["hist_intended"][region], rel=1e-5)

    def test_golden_comparison_notices_a_disturbed_input(self, case):
        source, reference, masks, reference_masks, arrays = case
        loss = losses.histogram_loss(source + 0.004, reference, masks[:, :1], reference_masks[:, :1])
        assert loss.item() != pytest.approx(arrays["hist_intended"][0], rel=1e-3)

    def test_golden_lip_gradient(self, case):
        source, reference, masks, reference_masks, arrays = case
        source.requires_grad_()
        losses.histogram_loss(source, reference, masks[:, :1], reference_masks[:, :1]).backward()
        assert np.abs(arrays["hist_lip_grad"]).max() > 0
        np.testing.assert_allclose(source.grad.numpy(), arrays["hist_lip_grad"], rtol=1e-4, atol=1e-9)

    @pytest.mark.parametrize("scale", [1.0, 1.5], ids=["inside the range", "saturated, with black and white pixels"])
    def test_equals_the_plain_loop(self, scale):
        image, reference = scale * random_images(1, 1), scale * random_images(1, 2)
        own, other = box_mask(1), box_mask(1, 30, 20, 30, 40)
        image.requires_grad_()
        fast, plain = (
            match(image, reference, own, other) for match in (losses.histogram_loss, published.histogram_loss)
        )
        assert fast.item() == pytest.approx(plain.item(), rel=1e-5)
        slopes = [torch.autograd.grad(loss, image)[0] for loss in (fast, plain)]
        assert slopes[1].abs().max() > 0
        torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-9)
        assert fast.item() > 0.1

    def test_published_rules_at_black_white_and_ties(self):
        """White stays white although the reference has none; F(i) equal to the share of black maps to level 1."""
        image = torch.tensor([50.0, 50, 255, 255]).expand(1, 3, 1, 4) / 127.5 - 1
        reference = torch.tensor([0.0, 0, 200, 200]).expand(1, 3, 1, 4) / 127.5 - 1
        mask = torch.ones(1, 1, 1, 4)
        target = losses.histogram_match(image, reference, mask, mask)
        assert target[0, 0, 0].tolist() == [1, 1, 255, 255]
        assert losses.histogram_loss(image, reference, mask, mask) == published.histogram_loss(
            image, reference, mask, mask
        )

    def test_batch_equals_singles(self):
        image, reference = random_images(3, 1), random_images(3, 2)
        own, other = box_mask(3), box_mask(3, 5, 5, 50, 20)
        own[1, :, 25:] = 0
        batch = losses.histogram_match(image, reference, own, other)
        for i in range(3):
            one = slice(i, i + 1)
            single = losses.histogram_match(image[one], reference[one], own[one], other[one])
            assert torch.equal(batch[one], single)

    def test_reference_may_have_another_size(self):
        image, reference = random_images(1, 1), random_images(1, 2, size=48)
        mask = box_mask(1, 5, 5, 20, 20, size=48)
        assert losses.histogram_loss(image, reference, box_mask(1), mask) > 0

    def test_the_match_takes_on_the_reference_colours(self):
        image, reference, mask = random_images(2, 1), random_images(2, 2), box_mask()
        target = losses.histogram_match(image, reference, mask, mask) / 127.5 - 1
        before = losses.histogram_distance(image, reference, mask, mask)
        after = losses.histogram_distance(target, reference, mask, mask)
        assert (after < 0.05 * before).all() and (before > 5).all()

    def test_target_is_detached_and_black_outside(self):
        image, mask = random_images(2, 1).requires_grad_(), box_mask()
        target = losses.histogram_match(image, random_images(2, 2), mask, mask)
        assert not target.requires_grad
        assert (target * (1 - mask) == 0).all() and (target * mask).max() > 0

    def test_identical_images_cost_almost_nothing(self):
        eight_bit = (random_images() * 127.5 + 127.5).round() / 127.5 - 1
        mask = box_mask()
        # Truncation, as published, costs at most one level inside the mask.
        assert losses.histogram_loss(eight_bit, eight_bit, mask, mask) < mask.mean()

    @pytest.mark.parametrize("empty", ["image", "reference", "both"])
    def test_empty_masks_give_zero_and_no_gradient(self, empty):
        image = random_images(1, 1).requires_grad_()
        full = box_mask(1)
        own = full * (empty == "reference")
        other = full * (empty == "image")
        for match in (None, random_images(1, 5)):
            loss = losses.histogram_loss(image, random_images(1, 2), own, other, match=match)
            (gradient,) = torch.autograd.grad(loss, image)
            assert loss == 0 and (gradient == 0).all()

    def test_an_empty_mask_leaves_the_rest_of_the_batch_alone(self):
        image, reference, own = random_images(2, 1), random_images(2, 2), box_mask()
        other = box_mask()
        other[1] = 0
        both = losses.histogram_loss(image, reference, own, other)
        first = losses.histogram_loss(image[:1], reference[:1], own[:1], other[:1])
        assert both.item() == pytest.approx(first.item() / 2, rel=1e-5)

    def test_match_maps_the_colours_of_another_image(self):
        output, source, reference, mask = random_images(1, 1), random_images(1, 3), random_images(1, 2), box_mask(1)
        target = losses.histogram_match(source, reference, mask, mask)
        expected = ((output + 1) * 127.5 * mask - target).abs().mean()
        loss = losses.histogram_loss(output, reference, mask, mask, match=source)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        assert loss.item() != pytest.approx(losses.histogram_loss(output, reference, mask, mask).item(), rel=0.01)

    def test_wrong_mask_shapes_are_refused(self):
        image, mask = random_images(1), box_mask(1)
        for wrong in (mask[None], mask[0], mask.expand(-1, 3, -1, -1), mask[..., :32]):
            with pytest.raises(ValueError, match=r"image_mask has shape .* expected \(1, 1, 64, 64\)"):
                losses.histogram_loss(image, image, wrong, mask)
        with pytest.raises(ValueError, match="match has shape"):
            losses.histogram_loss(image, image, mask, mask, match=image[..., :32])
        with pytest.raises(ValueError, match="same N"):
            losses.histogram_loss(image, random_images(2), mask, box_mask(2))

    def test_half_precision_inputs_are_computed_in_float32(self):
        image, reference, mask = random_images(1, 1), random_images(1, 2), box_mask(1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            same = losses.histogram_loss(image, reference, mask, mask)
            rounded = losses.histogram_loss(image.bfloat16(), reference.bfloat16(), mask, mask)
        assert same.dtype == rounded.dtype == torch.float32
        assert torch.equal(same, losses.histogram_loss(image, reference, mask, mask))
        half = image.bfloat16().float(), reference.bfloat16().float()
        assert torch.equal(rounded, losses.histogram_loss(*half, mask, mask))

    def test_never_waits_for_the_device(self):
        """A meta tensor has no values: any `.item()`, branch on a value or data-dependent shape would raise."""
        image, mask = random_images().to("meta"), box_mask().to("meta")
        assert losses.histogram_loss(image, image, mask, mask).shape == ()
        assert losses.histogram_loss_as_shipped(image, image, mask, mask).shape == ()

    def test_a_diverged_image_gives_nan_and_no_index_error(self):
        image, mask = random_images(1), box_mask(1)
        assert losses.histogram_loss(image * torch.nan, image, mask, mask).isnan()

    @pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float64])
    def test_masks_of_any_type(self, dtype):
        image, reference, mask = random_images(1, 1), random_images(1, 2), box_mask(1)
        typed = losses.histogram_loss(image, reference, mask.to(dtype), mask.to(dtype))
        assert torch.equal(typed, losses.histogram_loss(image, reference, mask, mask))

    def test_work_does_not_loop_over_pixels_or_pairs(self):
        """Tensor operations are counted, not seconds: the count may not depend on the size or on N."""
        counts = set()
        for n, size in ((1, 32), (1, 128), (3, 64)):
            image, reference, mask = random_images(n, 1, size), random_images(n, 2, size), box_mask(n, 4, 4, size=size)
            with OperationCount() as operations:
                losses.histogram_loss(image, reference, mask, mask)
            counts.add(operations.count)
        assert len(counts) == 1 and counts.pop() < 400


class TestAsShipped:
    def test_golden_is_zero_where_the_intended_loss_is_not(self, case):
        source, reference, masks, reference_masks, arrays = case
        for region in range(3):
            pair = source, reference, masks[:, region, None], reference_masks[:, region, None]
            assert losses.histogram_loss_as_shipped(*pair).item() == arrays["hist_as_shipped"][region]
            assert losses.histogram_loss(*pair) > 0.1

    def test_not_zero_once_the_mask_reaches_the_first_row(self):
        image, reference = random_images(2, 1), random_images(2, 2)
        mask = box_mask(2, 0, 0, 40, 50)
        assert losses.histogram_loss_as_shipped(image, reference, mask, mask) > 0.01

    def test_matches_the_misread_pixels_and_no_others(self):
        """The indices as the loop really reads them, taken from a 5-D nonzero, pixel by pixel."""
        image, reference = random_images(1, 1), random_images(1, 2)
        own, other = box_mask(1, 0, 3, 40, 50), box_mask(1, 0, 0, 30, 20)
        rows, columns = own.unsqueeze(0).nonzero()[:, 2:4].T
        other_rows, other_columns = other.unsqueeze(0).nonzero()[:, 2:4].T
        assert (rows == 0).all() and columns.max() == 39
        levels, reference_levels = ((x + 1) / 2 * 255 * m for x, m in ((image, own), (reference, other)))
        target = levels[0].clone().numpy()
        for channel in range(3):
            pixels = levels[0, channel, rows, columns]
            wanted = reference_levels[0, channel, other_rows, other_columns]
            target[channel, rows, columns] = published.matched(pixels, wanted)
        expected = np.abs(levels[0].numpy() - target).mean()
        loss = losses.histogram_loss_as_shipped(image, reference, own, other)
        assert expected > 0.01 and loss.item() == pytest.approx(expected, rel=1e-5)

    def test_empty_masks_and_oblong_images(self):
        image, empty = random_images(1).requires_grad_(), torch.zeros(1, 1, SIZE, SIZE)
        loss = losses.histogram_loss_as_shipped(image, image.detach(), empty, empty)
        loss.backward()
        assert loss == 0 and (image.grad == 0).all()
        with pytest.raises(ValueError, match="square"):
            losses.histogram_loss_as_shipped(image[..., :32], image, empty[..., :32], empty)


class TestMakeupLoss:
    masks = torch.cat([box_mask(2, 40, 20, 10, 20), box_mask(2), box_mask(2, 8, 8, 10, 40)], dim=1)

    def test_is_the_weighted_sum(self):
        image, reference = random_images(2, 1), random_images(2, 2)
        parts = [losses.histogram_loss(image, reference, m, m).item() for m in self.masks.split(1, dim=1)]
        total = losses.makeup_loss(image, reference, self.masks, self.masks, LossWeights().regions)
        assert total.item() == pytest.approx(parts[0] + 0.1 * parts[1] + parts[2], rel=1e-5)

    def test_golden(self, case):
        source, reference, masks, reference_masks, arrays = case
        loss = losses.makeup_loss(source, reference, masks, reference_masks)
        assert loss.item() == pytest.approx(np.dot(arrays["hist_intended"], [1, 0.1, 1]), rel=1e-5)

    def test_weight_zero_means_gradient_zero(self):
        image = random_images(2, 1).requires_grad_()
        losses.makeup_loss(image, random_images(2, 2), self.masks, self.masks, (0, 0, 1)).backward()
        eyes = self.masks[:, 2:].expand_as(image) > 0
        assert (image.grad[~eyes] == 0).all() and (image.grad[eyes] != 0).any()

    def test_other_region_losses_fit_in(self):
        pair = random_images(2, 1), random_images(2, 2), self.masks, self.masks
        assert losses.makeup_loss(*pair, region_loss=losses.histogram_loss_as_shipped) == 0
        assert losses.makeup_loss(*pair, region_loss=partial(losses.histogram_loss, match=pair[1])) > 0

    def test_wrong_number_of_regions_is_refused(self):
        image = random_images(2)
        with pytest.raises(ValueError, match=r"reference_masks has shape \(2, 2, 64, 64\)"):
            losses.makeup_loss(image, image, self.masks, self.masks[:, :2])


class TestHistogramDistance:
    def test_a_shift_of_ten_levels_measures_ten(self):
        image = (random_images(2) * 100 + 120).round().clamp(0, 240) / 127.5 - 1
        shifted = image.clone()
        shifted[1] += 10 / 127.5
        distance = losses.histogram_distance(image, shifted, box_mask(), box_mask())
        assert distance.tolist() == pytest.approx([0, 10], abs=1e-3)

    def test_equals_the_difference_of_sorted_colours(self):
        image, reference, mask = random_images(1, 1), random_images(1, 2), box_mask(1)
        inside = mask.expand_as(image) > 0
        levels = [((x[inside].view(3, -1) + 1) * 127.5).round().sort(dim=1).values for x in (image, reference)]
        expected = (levels[0] - levels[1]).abs().mean()
        assert losses.histogram_distance(image, reference, mask, mask).item() == pytest.approx(
            expected.item(), rel=1e-4
        )

    def test_empty_region_is_nan(self):
        image, own, other = random_images(2), box_mask(), box_mask()
        own[0] = 0
        distance = losses.histogram_distance(image, image, own, other)
        assert distance[0].isnan() and distance[1] == 0


class TestSimpleLosses:
    def test_lsgan_optima_and_scale(self):
        ones, zeros = torch.ones(2, 1, 5, 5), torch.zeros(2, 1, 5, 5)
        assert losses.lsgan_discriminator_loss(ones, zeros) == 0
        assert losses.lsgan_discriminator_loss(zeros, ones) == 1
        assert losses.lsgan_discriminator_loss(zeros, zeros) == 0.5
        assert losses.lsgan_generator_loss(ones) == 0 and losses.lsgan_generator_loss(zeros) == 1
        assert losses.lsgan_generator_loss(zeros.bfloat16()).dtype == torch.float32

    def test_cycle_and_identity(self):
        image = random_images()
        assert losses.cycle_loss(image, image) == 0
        assert losses.cycle_loss(image + 0.25, image).item() == pytest.approx(0.25)
        assert losses.identity_loss(image + 0.25, image).item() == pytest.approx(0.25)
        constant = lambda a, b: torch.tensor(2.0)  # noqa: E731
        assert losses.identity_loss(image + 0.25, image, constant).item() == pytest.approx(2.25)

    def test_weights_are_the_published_ones(self):
        weights = LossWeights()
        assert (weights.gan, weights.cycle, weights.makeup, weights.identity, weights.adversarial) == (10, 10, 2, 5, 5)
        assert weights.regions == (1, 0.1, 1)
        with pytest.raises(AttributeError):
            weights.gan = 1


class TestSSIM:
    @pytest.mark.parametrize("window", [7, 11])
    def test_equals_scikit_image(self, window):
        metrics = pytest.importorskip("skimage.metrics")
        a = random_images(2, 1)
        b = (a + 0.2 * torch.randn(a.shape, generator=torch.Generator().manual_seed(3))).clamp(-1, 1)
        ours = losses.ssim(a, b, window)
        for i in range(2):
            x, y = ((t[i].permute(1, 2, 0).double().numpy() + 1) / 2 for t in (a, b))
            theirs = metrics.structural_similarity(x, y, channel_axis=2, data_range=1.0, win_size=window)
            assert ours[i].item() == pytest.approx(theirs, abs=1e-4)
        assert (ours < 0.95).all()

    def test_identical_images_measure_one(self):
        image = random_images()
        assert losses.ssim(image, image).tolist() == pytest.approx([1, 1], abs=1e-6)
        assert (losses.ssim(image, random_images(seed=9)) < 0.9).all()
        assert (losses.ssim(image, -image) < 0).all()

    def test_gradient_raises_the_similarity(self):
        a, b = random_images(1, 1), random_images(1, 2).requires_grad_()
        before = losses.ssim(a, b)
        (gradient,) = torch.autograd.grad((1 - before).sum(), b)
        assert losses.ssim(a, b - 1e-2 * gradient / gradient.abs().max()) > before

    def test_wrong_shapes_are_refused(self):
        image = random_images()
        with pytest.raises(ValueError, match="at least 7 px"):
            losses.ssim(image[..., :6], image[..., :6])
        with pytest.raises(ValueError, match="expected, got"):
            losses.ssim(image, image[:1])


class TinyRecogniser(nn.Module):
    """Two stages of features, and an embedding, from fixed random weights."""

    def __init__(self, width: int = 8):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.second = nn.Conv2d(3, width, 3, stride=2), nn.Conv2d(width, width, 3, stride=2)
            self.norm = nn.BatchNorm2d(width)

    def forward(self, images):
        first = self.first(images).relu()
        return [first, self.norm(self.second(first)).relu()]

    def embed(self, images, points=None):
        return nn.functional.normalize(self(images)[1].mean(dim=(2, 3)) - 0.3, dim=1)


class TestPerceptual:
    def test_feature_distance_limits(self):
        distance = FeatureDistance(TinyRecogniser(), "tiny")
        a, b = random_images(2, 1), random_images(2, 2)
        assert distance(a, a) == 0
        assert 0 < distance(a, b) < 4
        assert distance(a, b).item() == pytest.approx(distance(b, a).item(), rel=1e-6)

    def test_feature_distance_ignores_the_length_of_features(self):
        a, b = random_images(1, 1), random_images(1, 2)
        scaled = FeatureDistance(lambda x: [2.0 * f for f in (x, x * x)], "twice")
        plain = FeatureDistance(lambda x: [x, x * x], "once")
        assert scaled(a, b).item() == pytest.approx(plain(a, b).item(), rel=1e-3)

    def test_batch_is_the_mean_of_singles(self):
        distance = FeatureDistance(TinyRecogniser(), "tiny")
        a, b = random_images(3, 1), random_images(3, 2)
        singles = [distance(a[i : i + 1], b[i : i + 1]).item() for i in range(3)]
        assert distance(a, b).item() == pytest.approx(np.mean(singles), rel=1e-5)

    def test_gradient_is_finite_even_from_dead_features(self):
        distance = FeatureDistance(lambda images: [images], "every channel 0 in a grey image")
        image = torch.zeros(1, 3, 32, 32, requires_grad=True)
        distance(image, random_images(1, size=32)).backward()
        assert image.grad.isfinite().all() and image.grad.abs().max() > 0

    def test_stays_frozen_and_in_evaluation_mode(self):
        network = TinyRecogniser().train()
        distance = nn.Sequential(FeatureDistance(network, "tiny")).train()
        assert not network.norm.training and not distance[0].training
        assert not any(p.requires_grad for p in distance.parameters())

    def test_the_name_tells_which_distance_it_is(self, tmp_path, monkeypatch):
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        chosen = losses.perceptual(TinyRecogniser(), "mobilefacenet_foamliu")
        assert isinstance(chosen, FeatureDistance) and chosen.name == "feature distance (mobilefacenet_foamliu)"

    def test_lpips_refuses_a_missing_or_wrong_trunk(self, tmp_path, monkeypatch):
        with pytest.raises(FileNotFoundError, match="nothing at"):
            losses.lpips_alex(tmp_path / "absent.pth")
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        wrong = tmp_path / "checkpoints" / losses.distances.ALEXNET_TRUNK
        wrong.parent.mkdir()
        wrong.write_bytes(b"not AlexNet")
        with pytest.raises(ValueError, match="expected 7be5be79"):
            losses.perceptual(TinyRecogniser(), "tiny")

    def test_lpips_holds_exactly_the_weights_of_the_file(self, tmp_path, monkeypatch):
        """A stand-in trunk of AlexNet's shapes, so that loading is tested where the real file is absent."""
        lpips = pytest.importorskip("lpips")
        stand_in = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        trunk = {"features." + k.split(".", 1)[1]: v for k, v in stand_in.net.state_dict().items()}
        path = tmp_path / "trunk.pth"
        torch.save(trunk, path)
        monkeypatch.setattr(
            "amtgan_lib.losses.distances.ALEXNET_SHA256_PREFIX", hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        )
        distance = losses.lpips_alex(path)
        a, b = random_images(2, 1), random_images(2, 2)
        assert distance.name == "LPIPS (alex)"
        assert distance(a, a) == 0
        assert distance(a, b).item() == pytest.approx(stand_in.eval()(a, b).mean().item(), rel=1e-6)


class TestInputDiversity:
    def test_probability_zero_is_the_identity(self):
        images, points = random_images(), torch.rand(2, 5, 2) * SIZE
        viewed, moved = InputDiversity(noise_probability=0, resize_probability=0)(images, points)
        assert torch.equal(viewed, images) and torch.equal(moved, points)
        assert InputDiversity(0, 0, 0)(images)[1] is None

    def test_points_follow_a_drawn_dot(self):
        always = InputDiversity(noise_probability=0, resize_probability=1, low=0.6)
        y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        grid, seen = torch.stack([y, x], dim=-1).float(), set()
        for seed in range(5):
            point = torch.tensor([[[20.0, 41.0]]])
            dot = torch.exp(-((grid - point[0, 0]) ** 2).sum(-1) / 18).expand(1, 3, -1, -1)
            viewed, moved = always(dot, point, torch.Generator().manual_seed(seed))
            mass = viewed[0, 0] / viewed[0, 0].sum()
            centre = (mass[..., None] * grid).sum(dim=(0, 1))
            assert viewed.shape == dot.shape
            assert moved[0, 0].tolist() == pytest.approx(centre.tolist(), abs=0.05)
            seen.add(tuple(moved.flatten().tolist()))
        assert len(seen) == 5

    def test_sizes_and_padding_are_the_published_ones(self):
        images, heights = torch.ones(1, 3, 256, 256), []
        for seed in range(40):
            viewed, _ = InputDiversity(0, resize_probability=1)(images, None, torch.Generator().manual_seed(seed))
            heights.append(int((viewed[0, 0].sum(dim=1) > 0).sum()))
            assert set(viewed.unique().round(decimals=4).tolist()) == {0.0, 1.0}
        assert 230 <= min(heights) < 240 and 248 < max(heights) < 256

    def test_noise_is_bounded_by_its_scale(self):
        noise = InputDiversity(noise_probability=1, resize_probability=0)
        views = [noise(torch.zeros(1, 3, 64, 64), None, torch.Generator().manual_seed(s))[0].std() for s in range(20)]
        assert min(views) < 0.1 and 0.2 < max(views) < 0.33

    def test_a_generator_repeats_the_views(self):
        first, again, other = (InputDiversity(1, 0.1, 1)(random_images(), None, torch.Generator().manual_seed(s))[0]
                               for s in (1, 1, 2))  # fmt: skip
        assert torch.equal(first, again) and not torch.equal(first, other)

    def test_happens_half_of_the_time(self):
        generator, images = torch.Generator().manual_seed(0), random_images(1, size=16)
        changed = sum(not torch.equal(InputDiversity(0)(images, None, generator)[0], images) for _ in range(400))
        assert 160 < changed < 240

    def test_gradient_reaches_the_image(self):
        image = random_images().requires_grad_()
        InputDiversity(1, 0.1, 1)(image)[0].sum().backward()
        assert (image.grad != 0).any()

    def test_a_size_that_is_no_shrinking_is_refused(self):
        with pytest.raises(ValueError, match="low"):
            InputDiversity(low=1.0)


class TestAdversarial:
    images = random_images(2, 1)
    recogniser = TinyRecogniser().eval()

    def own(self):
        return self.recogniser.embed(self.images).detach()

    def loss(self, anchors, embed=None, **settings):
        embed = embed or [self.recogniser.embed]
        return losses.adversarial_loss(self.images, anchors, embed, **{"views": 1, "diversity": None, **settings})

    def test_limits(self):
        assert self.loss([self.own()]).item() == pytest.approx(0, abs=1e-6)
        assert self.loss([-self.own()]).item() == pytest.approx(2, abs=1e-6)

    def test_one_target_for_all_or_one_each(self):
        target = self.own()[1]
        assert torch.equal(self.loss([target]), self.loss([target.expand(2, -1)]))

    def test_is_the_mean_over_recognisers(self):
        value = self.loss([self.own(), -self.own()], [self.recogniser.embed] * 2)
        assert value.item() == pytest.approx(1, abs=1e-6)

    def test_is_the_mean_over_views(self):
        """The views of one generator, drawn again by hand."""
        target, generator = self.own()[0], torch.Generator().manual_seed(4)
        always = InputDiversity(1, 0.3, 1)
        singles = [self.loss([target], diversity=always, generator=generator).item() for _ in range(3)]
        whole = self.loss([target], views=3, diversity=always, generator=torch.Generator().manual_seed(4))
        assert whole.item() == pytest.approx(np.mean(singles), rel=1e-5)
        assert len(set(singles)) == 3

    def test_recognisers_receive_the_moved_points(self):
        received, points = [], torch.full((2, 5, 2), 30.0)

        def embed(images, moved):
            received.append(moved)
            return self.recogniser.embed(images)

        diversity = InputDiversity(0, resize_probability=1)
        self.loss([self.own()], [embed], views=2, diversity=diversity, points=points)
        (views,) = received
        assert views.shape == (4, 5, 2)  # both views of both images at once
        assert not any(torch.equal(one, other) for one, other in ((views[:2], points), (views[:2], views[2:])))
        self.loss([self.own()], [embed], points=points)
        assert torch.equal(received[1], points)

    def test_gradient_moves_towards_the_target(self):
        image, target = self.images[:1].clone().requires_grad_(), self.own()[1]
        arguments = dict(embeddings_of_target=[target], embed=[self.recogniser.embed], views=1, diversity=None)
        before = losses.adversarial_loss(image, **arguments)
        (gradient,) = torch.autograd.grad(before, image)
        assert losses.adversarial_loss(image - 0.01 * gradient.sign(), **arguments) < before

    def test_autocast_keeps_the_cosine_in_float32(self):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = self.loss([self.own()])
        assert value.dtype == torch.float32 and value < 0.01

    def test_mismatched_arguments_are_refused(self):
        for anchors, settings in (([], {}), ([self.own()] * 2, {}), ([self.own()], {"views": 0})):
            with pytest.raises(ValueError, match="one embedding per recogniser"):
                self.loss(anchors, **settings)
        with pytest.raises(RuntimeError, match="expand"):
            self.loss([self.own()[:, :5]])

    def test_dodging_stops_at_the_margin(self):
        arguments = dict(embed=[self.recogniser.embed], views=1, diversity=None)

        def dodge(own, **margin):
            return losses.attack_losses(self.images, [self.own()], own, **arguments, **margin)[1]

        assert dodge([self.own()]).item() == pytest.approx(1, abs=1e-6)
        assert dodge([self.own()], margin=0.3).item() == pytest.approx(0.7, abs=1e-6)
        assert dodge([-self.own()]) == 0
