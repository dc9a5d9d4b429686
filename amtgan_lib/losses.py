"""The training losses of AMT-GAN and the image measures built from the same parts, as pure tensor functions.

Images are float RGB (N,3,H,W) in [-1,1]; values outside, which the regularizer may produce, are clamped where a colour
level is needed. Networks are handed in as callables, so nothing of this library is imported here.
Sources: AMT-GAN (CVPR 2022, arXiv 2203.03121) and its published code; histogram loss from BeautyGAN and PSGAN.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 256
ALEXNET_TRUNK = "alexnet-owt-7be5be79.pth"  # torchvision's file name; it carries the first 8 hex digits of the sha256
ALEXNET_SHA256_PREFIX = "7be5be79"

Embed = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms; the defaults are the released configuration's. Each term sums both directions / 2."""

    gan: float = 10.0  # least squares
    cycle: float = 10.0  # L1 on [-1,1], through H
    makeup: float = 2.0  # multiplies the three regions, whose loss is in levels (0-255)
    lip: float = 1.0
    skin: float = 0.1  # the skin has some 16 times the pixels of the lips, and the loss is a mean over the whole image
    eyes: float = 1.0
    identity: float = 5.0  # L1 + perceptual
    # The released code halves each direction and then takes their *mean*, so that there 5 acts as 2.5 would here.
    adversarial: float = 5.0
    # Ours, for the residual recipe: dodging, and closeness (L1 + 1 - SSIM) to the colours it starts from.
    dodging: float = 0.0
    similarity: float = 0.0

    @property
    def regions(self) -> tuple[float, float, float]:
        """Lip, skin, eyes: the order of the mask channels."""
        return self.lip, self.skin, self.eyes


# ---- makeup: histogram matching -------------------------------------------------------------------------------------


def histogram_match(
    image: Tensor, reference: Tensor, image_mask: Tensor, reference_mask: Tensor, exact: bool = False
) -> Tensor:
    """Colours of the masked `image`, mapped per channel onto the colour histogram of the masked `reference`.

    Shape: images (N,3,H,W) in [-1,1], masks (N,1,H,W) in {0,1}; the reference may have another size.
    Returns (N,3,H,W) float32 levels in [0,255], detached, 0 outside the mask. Where the reference mask is empty there
    is nothing to match and the image's own levels come back.

    `exact=False` follows the published code to its accidents (256 bins of truncated levels, see `_published_table`);
    `exact=True` is textbook histogram specification in integer arithmetic, on rounded levels (truncated ones make the
    target half a level too dark).
    """
    _check_regions(image, reference, image_mask, reference_mask)
    inside, reference_inside = image_mask > 0.5, reference_mask > 0.5
    return _matched(_to_levels(image) * inside, _to_levels(reference), inside, reference_inside, exact)


def histogram_loss(
    image: Tensor,
    reference: Tensor,
    image_mask: Tensor,
    reference_mask: Tensor,
    match: Tensor | None = None,
    exact: bool = False,
) -> Tensor:
    """Makeup loss of one region: L1 between the masked image and its histogram-matched, detached target.

    Shape: images (N,3,H,W) in [-1,1], masks (N,1,H,W) in {0,1}. Returns a scalar in colour levels (0-255), the mean
    over all 3xHxW values, not only the masked ones, as published. An empty mask on either side: loss and gradient 0.

    `match` is the image whose colours are mapped: by default the image itself (published AMT-GAN), or the source photo
    (BeautyGAN, whose L2 AMT-GAN replaces by L1). `exact` as in `histogram_match`.
    """
    _check_regions(image, reference, image_mask, reference_mask)
    if match is not None and match.shape != image.shape:
        raise ValueError(f"match has shape {tuple(match.shape)}, expected that of the image, {tuple(image.shape)}")
    reference_inside = reference_mask > 0.5
    inside = (image_mask > 0.5) & _any_pixel(reference_inside)
    levels = _to_levels(image) * inside
    start = levels if match is None else _to_levels(match) * inside
    return F.l1_loss(levels, _matched(start, _to_levels(reference), inside, reference_inside, exact))


def histogram_loss_as_shipped(image: Tensor, reference: Tensor, image_mask: Tensor, reference_mask: Tensor) -> Tensor:
    """Makeup loss as the released training loop really computes it: 0 unless a mask reaches the first image row.

    The loop hands over 4-D masks, the loss adds an axis and reads index columns 2 and 3 as row and column; those hold
    the constant 0 and the row. So it matches the pixels (0, r), once for every masked pixel of row r, and everything
    outside the mask is black on both sides (also seen in PSGAN: wtjiang98/PSGAN#29). Shapes and unit as
    `histogram_loss`; H must equal W, as there.
    """
    _check_regions(image, reference, image_mask, reference_mask)
    if image.shape[-1] != image.shape[-2] or reference.shape[-1] != reference.shape[-2]:
        raise ValueError(f"square images expected, got {tuple(image.shape)} and {tuple(reference.shape)}")
    inside, reference_inside = image_mask > 0.5, reference_mask > 0.5
    levels, reference_levels = _to_levels(image) * inside, _to_levels(reference) * reference_inside
    target = _matched(levels, reference_levels, _misread_index(inside), _misread_index(reference_inside), exact=False)
    return F.l1_loss(levels, target)


def makeup_loss(
    image: Tensor,
    reference: Tensor,
    image_masks: Tensor,
    reference_masks: Tensor,
    weights: Sequence[float] = (1.0, 0.1, 1.0),
    region_loss: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = histogram_loss,
) -> Tensor:
    """Weighted sum of the region losses for lip, skin and eyes.

    Shape: images (N,3,H,W) in [-1,1], masks (N,3,H,W) in {0,1}. `region_loss` may be `histogram_loss_as_shipped`, or a
    partial of `histogram_loss`.
    """
    regions = len(weights)
    for name, masks in (("image_masks", image_masks), ("reference_masks", reference_masks)):
        if masks.ndim != 4 or masks.shape[1] != regions:
            raise ValueError(
                f"{name} has shape {tuple(masks.shape)}, expected (N,{regions},H,W): one channel per weight"
            )
    pairs = zip(weights, image_masks.split(1, dim=1), reference_masks.split(1, dim=1))
    return sum(weight * region_loss(image, reference, own, other) for weight, own, other in pairs)


@torch.no_grad()
def histogram_distance(image: Tensor, reference: Tensor, image_mask: Tensor, reference_mask: Tensor) -> Tensor:
    """How far the masked colours of two images lie apart: 1-Wasserstein distance per channel, mean over RGB.

    W1 = integral |F_a - F_b|, here the sum over 256 levels. Shapes as `histogram_loss`. Returns (N,) in levels (0-255);
    nan where a mask is empty: an unmeasured region must not look like a perfect one.
    """
    _check_regions(image, reference, image_mask, reference_mask)
    cdfs = []
    for picture, mask in ((image, image_mask), (reference, reference_mask)):
        counts = _histogram(_bins(_to_levels(picture), exact=True), mask > 0.5)
        cdfs.append(counts.cumsum(-1) / counts.sum(-1, keepdim=True))
    return (cdfs[0] - cdfs[1]).abs().sum(-1).mean(-1)


def _to_levels(image: Tensor) -> Tensor:
    """[-1,1] of any float type to float32 levels in [0,255]; bfloat16 could not tell the upper levels apart."""
    return ((image.float() + 1) / 2).clamp(0, 1) * 255


def _bins(levels: Tensor, exact: bool) -> Tensor:
    """Bin of every level: truncated as published, or rounded. The clamp keeps a nan from indexing out of bounds."""
    return (levels.detach().round() if exact else levels.detach()).long().clamp(0, LEVELS - 1)


def _histogram(bins: Tensor, weights: Tensor) -> Tensor:
    """Bins (N,3,H,W) counted `weights` (N,1,H,W) times: (N,3,256); integers, so that no order of addition matters."""
    counts = torch.zeros(*bins.shape[:2], LEVELS, dtype=torch.int64, device=bins.device)
    return counts.scatter_add_(2, bins.flatten(2), weights.long().expand_as(bins).flatten(2))


def _exact_table(counts: Tensor, reference_counts: Tensor) -> Tensor:
    """Transfer table (N,3,256): the first level j with F_ref(j) >= F(i). Cross-multiplied counts need no division."""
    own = counts.cumsum(-1) * reference_counts.sum(-1, keepdim=True)
    return torch.searchsorted(reference_counts.cumsum(-1) * counts.sum(-1, keepdim=True), own)


def _published_table(counts: Tensor, reference_counts: Tensor) -> Tensor:
    """Transfer table (N,3,256) of the published code: the first j >= 1 with F_ref(j-1) <= F(i) <= F_ref(j), else i.

    The published code adds the frequencies one after the other in float32. The last digit of those sums decides whether
    the brightest bin finds a j at all, which is worth half a percent of the lip loss, so the order of addition is kept:
    255 additions of all rows at once (torch.cumsum adds in another order and precision).
    """
    both = torch.stack([counts, reference_counts]).float()
    frequencies = both / both.sum(-1, keepdim=True).clamp(min=1)
    own, other = torch.stack(list(accumulate(frequencies.unbind(-1), torch.add)), dim=-1)
    found = torch.searchsorted(other, own).clamp(min=1)
    level = torch.arange(LEVELS, device=counts.device).expand_as(found)
    unmapped = (found == LEVELS) | (own < other[..., :1]) | (level == 0) | (level == LEVELS - 1)
    return torch.where(unmapped, level, found)


@torch.no_grad()
def _matched(levels: Tensor, reference: Tensor, weights: Tensor, reference_weights: Tensor, exact: bool) -> Tensor:
    """Levels (N,3,H,W) with every pixel of non-zero weight replaced by its entry in the transfer table."""
    bins = _bins(levels, exact)
    counts, reference_counts = _histogram(bins, weights), _histogram(_bins(reference, exact), reference_weights)
    table = (_exact_table if exact else _published_table)(counts, reference_counts)
    mapped = table.gather(2, bins.flatten(2)).view_as(bins).to(levels.dtype)
    return torch.where((weights > 0) & _any_pixel(reference_weights), mapped, levels)


def _misread_index(inside: Tensor) -> Tensor:
    """Mask (N,1,H,H) to how often the released code visits every pixel: (0, r) once per masked pixel of row r."""
    visits = torch.zeros_like(inside, dtype=torch.int64)
    visits[:, :, 0, :] = inside.sum(dim=-1)
    return visits


def _any_pixel(mask: Tensor) -> Tensor:
    return (mask > 0).flatten(1).any(dim=1).view(-1, 1, 1, 1)


def _check_regions(image: Tensor, reference: Tensor, image_mask: Tensor, reference_mask: Tensor) -> None:
    for name, picture, mask in (("image", image, image_mask), ("reference", reference, reference_mask)):
        if picture.ndim != 4 or picture.shape[1] != 3 or picture.shape[0] != image.shape[0]:
            raise ValueError(
                f"{name} has shape {tuple(picture.shape)}, expected (N,3,H,W) with the same N for both images"
            )
        expected = (picture.shape[0], 1, *picture.shape[2:])
        if tuple(mask.shape) != expected:
            raise ValueError(
                f"{name}_mask has shape {tuple(mask.shape)}, expected {expected}: one mask channel per image, "
                "no missing and no extra axis (an extra one is how the released code lost its makeup loss)"
            )


# ---- GAN, cycle, identity -------------------------------------------------------------------------------------------


def lsgan_discriminator_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """0.5 * (mean (D(real) - 1)^2 + mean D(fake)^2), for score maps of any shape."""
    return 0.5 * ((real_scores.float() - 1).square().mean() + fake_scores.float().square().mean())


def lsgan_generator_loss(fake_scores: Tensor) -> Tensor:
    """Mean (D(fake) - 1)^2. The factor 0.5 over the two directions belongs to the caller, as for every paired term."""
    return (fake_scores.float() - 1).square().mean()


def cycle_loss(reconstruction: Tensor, image: Tensor) -> Tensor:
    """L1 between two images (N,3,H,W); the caller has run the cycle, through H where it is regularized."""
    return F.l1_loss(reconstruction.float(), image.float())


def identity_loss(
    reconstruction: Tensor, image: Tensor, perceptual: Callable[[Tensor, Tensor], Tensor] | None = None
) -> Tensor:
    """L1 + perceptual distance between G(x,x) and x, both (N,3,H,W) in [-1,1]."""
    loss = F.l1_loss(reconstruction.float(), image.float())
    return loss if perceptual is None else loss + perceptual(reconstruction, image)


def ssim(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """Structural similarity (Wang et al. 2004) with a uniform window, per image: (N,) in [-1,1], 1 for equal images.

    Shape: (N,C,H,W) in [-1,1]. Equals skimage.metrics.structural_similarity(channel_axis=...) of the same pictures in
    8 bit, which the paper's protocol uses: sample covariance, windows inside the image only, mean over channels. SSIM
    compares mean levels too, so it is taken in [0,1]: around 0 its first factor would mean nothing.
    """
    if a.shape != b.shape or a.ndim != 4 or min(a.shape[2:]) < window:
        raise ValueError(
            f"two (N,C,H,W) images of at least {window} px expected, got {tuple(a.shape)}, {tuple(b.shape)}"
        )
    a, b = (a.float() + 1) / 2, (b.float() + 1) / 2
    mean_a, mean_b, mean_aa, mean_bb, mean_ab = (F.avg_pool2d(x, window, stride=1) for x in (a, b, a * a, b * b, a * b))
    unbiased = window**2 / (window**2 - 1)
    var_a, var_b = unbiased * (mean_aa - mean_a**2), unbiased * (mean_bb - mean_b**2)
    covariance = unbiased * (mean_ab - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (luminance * (2 * covariance + c2) / (var_a + var_b + c2)).mean(dim=(1, 2, 3))


# ---- perceptual distance --------------------------------------------------------------------------------------------


class Perceptual(nn.Module):
    """A frozen distance (a, b) -> scalar between images (N,3,H,W) in [-1,1]; `name` says which one it really is."""

    def __init__(self, network: Callable, name: str):
        super().__init__()
        self.network, self.name = network, name
        if isinstance(network, nn.Module):
            network.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Perceptual":
        """Stays in evaluation mode, whatever the module around it does."""
        return super().train(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean over the batch of the network's own distance."""
        return self.network(a, b).mean()


class FeatureDistance(Perceptual):
    """Squared distance of unit-length feature vectors, averaged over positions, then over stages.

    `network(images)` returns a list of feature maps (N,C,h,w) of a frozen recogniser. It is LPIPS (Zhang et al. 2018)
    without the learned channel weights, on a face network: its numbers are not comparable with LPIPS.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Images (N,3,H,W) in [-1,1] -> scalar in [0,4]."""
        pairs = zip(self.network(a), self.network(b))
        return torch.stack([(_unit(x) - _unit(y)).square().sum(dim=1).mean() for x, y in pairs]).mean()


def lpips_alex(trunk_path: str | Path | None = None) -> Perceptual:
    """LPIPS with the AlexNet trunk, from torchvision's weight file (default: torch's own cache); nothing is downloaded.

    Raises FileNotFoundError without the file and ValueError for a file that is not it: LPIPS on a random trunk gives
    plausible numbers that mean nothing.
    """
    path = Path(trunk_path) if trunk_path else _alexnet_cache()
    if not path.is_file():
        raise FileNotFoundError(f"LPIPS needs torchvision's {ALEXNET_TRUNK}; nothing at {path}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(ALEXNET_SHA256_PREFIX):
        raise ValueError(
            f"{path} has sha256 {digest[:8]}..., expected {ALEXNET_SHA256_PREFIX}...: not AlexNet's weights"
        )
    import lpips  # slow to import, and needed only here

    # With pnet_rand=False the constructor would fetch a trunk; filled strictly, this one holds the checked file only.
    network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    trunk = torch.load(path, map_location="cpu", weights_only=True)
    slots = {key: "features." + key.split(".", 1)[1] for key in network.net.state_dict()}
    network.net.load_state_dict({key: trunk[source] for key, source in slots.items()}, strict=True)
    return Perceptual(network, "LPIPS (alex)")


def perceptual(feature_fn: Callable[[Tensor], Sequence[Tensor]], name: str) -> Perceptual:
    """LPIPS where its trunk lies in torch's cache, else the feature distance of the recogniser called `name`."""
    if _alexnet_cache().is_file():
        return lpips_alex()
    return FeatureDistance(feature_fn, f"feature distance ({name})")


def _unit(features: Tensor) -> Tensor:
    # The constant bounds the gradient at a position where every channel is 0.
    features = features.float()
    return features * (features.square().sum(dim=1, keepdim=True) + 1e-8).rsqrt()


def _alexnet_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET_TRUNK


# ---- adversarial ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InputDiversity:
    """T of the paper: random noise, then a random shrink, zero-padded back at a random place.

    Every call draws once for its whole batch (the published batch is 1). Defaults are those of the released code: noise
    u * sqrt(0.1) * N(0,1) with u ~ U[0,1), and a size of [230,256) of 256 pixels. The other three are ours, off by
    default, and only for aligned faces: what differs between two detectors, two cameras and two mirrors.
    """

    noise_probability: float = 0.5
    noise_scale: float = math.sqrt(0.1)
    resize_probability: float = 0.5
    low: float = 0.9
    flip_probability: float = 0.0
    exposure: float = 0.0  # contrast and brightness each move by up to half of this, in [-1,1] units
    jitter: float = 0.0  # standard deviation of the five points, as a share of the image's side

    def __post_init__(self):
        if not 0 < self.low < 1:
            raise ValueError(f"low is the smallest relative size, expected in (0,1), got {self.low}")

    def __call__(
        self, images: Tensor, points: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Images (N,3,H,W) and points (N,P,2) as pixel (y, x), or None -> the same, points moved with the pixels.

        A CPU generator gives the same views on every device and needs no wait for the device.
        """
        if _uniform(generator) < self.noise_probability:
            images = images + _uniform(generator) * self.noise_scale * _normal_like(images, generator)
        if _uniform(generator) < self.resize_probability:
            images, points = self._shrink(images, points, generator)
        if self.exposure:
            gain, shift = (self.exposure * (_uniform(generator) - 0.5) for _ in range(2))
            images = images * (1 + gain) + shift
        if self.flip_probability and _uniform(generator) < self.flip_probability:
            images, points = _mirrored(images, points)
        if self.jitter and points is not None:
            points = points + self.jitter * images.shape[-1] * _normal_like(points, generator)
        return images, points

    def _shrink(
        self, images: Tensor, points: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor | None]:
        height, width = images.shape[-2:]
        new_height = _integer(int(self.low * height), height, generator)
        new_width = width * new_height // height
        top, left = _integer(0, height - new_height, generator), _integer(0, width - new_width, generator)
        small = F.interpolate(images, size=(new_height, new_width), mode="bilinear", align_corners=False)
        padded = F.pad(small, (left, width - new_width - left, top, height - new_height - top))
        if points is None:
            return padded, None
        # Pixel centres are integers: the image's corner, not its first pixel, is the fixed point of the resize.
        y = (points[..., 0] + 0.5) * (new_height / height) - 0.5 + top
        x = (points[..., 1] + 0.5) * (new_width / width) - 0.5 + left
        return padded, torch.stack([y, x], dim=-1)


def _mirrored(images: Tensor, points: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Left and right exchanged; the five points are named as seen in the picture, so they change places."""
    if points is None:
        return images.flip(-1), None
    moved = torch.stack([points[..., 0], images.shape[-1] - 1 - points[..., 1]], dim=-1)
    return images.flip(-1), moved[:, [1, 0, 2, 4, 3]]


def adversarial_loss(
    images: Tensor,
    embeddings_of_target: Sequence[Tensor],
    embed: Sequence[Embed],
    views: int = 5,
    diversity: InputDiversity | None = InputDiversity(),
    points: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Impersonation: mean over random views and recognisers of 1 - cos(f(T(x)), f(z)), a scalar in [0,2].

    Shape: images (N,3,H,W) in [-1,1]; one (D,) or (N,D) target embedding and one callable (images, points) -> (N,D) per
    recogniser. The target is embedded once by the caller; the released loop does it again for every view.
    For H, give the source's own embeddings with `views=1, diversity=None`: the identity is to come back.
    """
    (cosines,) = _view_cosines(images, [embeddings_of_target], embed, views, diversity, points, generator)
    return (1 - cosines).mean()


def attack_losses(
    images: Tensor,
    embeddings_of_target: Sequence[Tensor],
    embeddings_of_own: Sequence[Tensor],
    embed: Sequence[Embed],
    views: int = 5,
    diversity: InputDiversity | None = InputDiversity(),
    points: Tensor | None = None,
    generator: torch.Generator | None = None,
    margin: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Impersonation as `adversarial_loss`, and dodging, which the paper leaves out, from the same views.

    Dodging is the mean of relu(cos(f(T(x)), f(own)) - margin): once the person is `margin` away there is nothing to
    gain, so the loss stops pulling. Returns both scalars; the images are embedded once for both.
    """
    anchors = [embeddings_of_target, embeddings_of_own]
    to_target, to_own = _view_cosines(images, anchors, embed, views, diversity, points, generator)
    return (1 - to_target).mean(), F.relu(to_own - margin).mean()


def _view_cosines(
    images: Tensor,
    anchors: Sequence[Sequence[Tensor]],
    embed: Sequence[Embed],
    views: int,
    diversity: InputDiversity | None,
    points: Tensor | None,
    generator: torch.Generator | None,
) -> list[Tensor]:
    """Per set of anchors the cosines (views * recognisers, N) of the viewed images with every recogniser's anchor."""
    if any(len(each) != len(embed) for each in anchors) or not embed or views < 1:
        counts = [len(each) for each in anchors]
        raise ValueError(f"one embedding per recogniser and a view expected, got {counts}, {len(embed)}, {views}")
    rows: list[list[Tensor]] = [[] for _ in anchors]
    for _ in range(views):
        viewed, moved = (images, points) if diversity is None else diversity(images, points, generator)
        for position, network in enumerate(embed):
            # Every recogniser sees the same view. `expand` refuses embeddings of another network's size.
            embedding = network(viewed, moved).float()
            for row, each in zip(rows, anchors):
                row.append(F.cosine_similarity(embedding, each[position].float().expand_as(embedding), dim=-1))
    return [torch.stack(row) for row in rows]


def _draw_on(generator: torch.Generator | None) -> torch.device:
    return torch.device("cpu") if generator is None else generator.device


def _uniform(generator: torch.Generator | None) -> float:
    return torch.rand((), generator=generator, device=_draw_on(generator)).item()


def _integer(low: int, high: int, generator: torch.Generator | None) -> int:
    return int(torch.randint(low, high, (), generator=generator, device=_draw_on(generator)).item())


def _normal_like(images: Tensor, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        return torch.randn_like(images)
    return torch.randn(images.shape, generator=generator, device=generator.device).to(images)
