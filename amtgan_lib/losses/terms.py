"""Weights of all loss terms, and the small terms: least-squares GAN, cycle, identity, structural similarity."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


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
    visible: float = 0.0  # mean square of the S-CIELAB difference to them
    # Adv-Makeup's, which blend its eye shadow with the face.
    gradient: float = 0.0
    style: float = 0.0
    variation: float = 0.0

    @property
    def regions(self) -> tuple[float, float, float]:
        """Lip, skin, eyes: the order of the mask channels."""
        return self.lip, self.skin, self.eyes


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
