"""How plainly a change is seen: S-CIELAB (Zhang and Wandell, SID 1996), colour difference after the eye's own blur.

SSIM compares the structure of brightness and hardly notices coloured blotches; CIELAB's difference, taken pixel by
pixel, notices grain that no eye resolves. S-CIELAB first blurs brightness and the two colour contrasts as the eye does
at a given distance, then takes CIELAB's difference: about 1 is just noticeable.
"""

import functools
import math

import torch
from torch import Tensor

# Linear sRGB (IEC 61966-2-1) to XYZ, and its white.
_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
# XYZ to brightness, red against green, blue against yellow (Poirson and Wandell 1993, as S-CIELAB uses them).
_OPPONENT = ((0.279, 0.720, -0.107), (-0.449, 0.290, -0.077), (0.086, -0.590, 0.501))
# Per opponent channel Gaussians (weight, spread in degrees of visual angle) whose sum is the eye's blur; the weights
# are divided by their sum, so that an even area stays as it is.
_BLURS = (
    ((0.921, 0.0283), (0.105, 0.133), (-0.108, 4.336)),
    ((0.531, 0.0392), (0.330, 0.494)),
    ((0.488, 0.0536), (0.371, 0.386)),
)
# A face crop across 6 degrees: 6 cm at 60 cm, a portrait in a feed on a laptop.
DEGREES = 6.0


def colour_difference(a: Tensor, b: Tensor, degrees: float = DEGREES) -> Tensor:
    """S-CIELAB difference per pixel, (N,1,H,W), of two batches (N,3,H,W) in [-1,1] seen ``degrees`` wide.

    About 1 is just noticeable, 5 is plain. Differentiable, with a gradient of 0 where nothing differs. Raises
    ValueError for shapes that differ.
    """
    if a.shape != b.shape or a.ndim != 4 or a.shape[1] != 3:
        raise ValueError(f"two images (N,3,H,W) of one shape expected, got {tuple(a.shape)} and {tuple(b.shape)}")
    return seen_difference(*(seen_colours(image, degrees) for image in (a, b)))


def seen_difference(first: Tensor, second: Tensor) -> Tensor:
    """``colour_difference`` of two batches of ``seen_colours``, so that a clean image is looked at only once."""
    return ((first - second).square().sum(1, keepdim=True) + 1e-6).sqrt() - 1e-3


def seen_colours(image: Tensor, degrees: float = DEGREES) -> Tensor:
    """CIELAB (N,3,H,W) of a batch (N,3,H,W) in [-1,1] after the eye's blur, seen ``degrees`` wide.

    Lightness is 0 to 100, a and b are about -100 to 100. Differentiable.
    """
    return _lab(_as_seen(image.float(), image.shape[-1] / degrees))


def _as_seen(image: Tensor, per_degree: float) -> Tensor:
    """XYZ (N,3,H,W) after the eye's blur."""
    values = ((image + 1) / 2).clamp(0, 1)
    # The gradient of the unused branch must be finite, so the power never sees a 0.
    linear = torch.where(values > 0.04045, ((values.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4, values / 12.92)
    opponent = _sent(torch.tensor(_OPPONENT) @ torch.tensor(_XYZ), image)
    channels = torch.einsum("ij,njhw->nihw", opponent, linear)
    blurred = [_blur(channels[:, i : i + 1], blurs, per_degree) for i, blurs in enumerate(_BLURS)]
    back = _sent(torch.linalg.inv(torch.tensor(_OPPONENT)), image)
    return torch.einsum("ij,njhw->nihw", back, torch.cat(blurred, dim=1))


def _sent(constant: Tensor, image: Tensor) -> Tensor:
    """A few numbers from the CPU to where the image is, without waiting for the work there."""
    return constant.to(image.device, non_blocking=True)


def _blur(channel: Tensor, blurs: tuple[tuple[float, float], ...], per_degree: float) -> Tensor:
    total = sum(weight for weight, _ in blurs)
    return sum(weight / total * _gaussian(channel, spread * per_degree) for weight, spread in blurs)


def _gaussian(channel: Tensor, spread: float) -> Tensor:
    """A Gaussian blur of ``spread`` pixels, mirrored at the border; one about as wide as the picture is its mean."""
    height, width = channel.shape[-2:]
    if math.ceil(3 * spread) >= min(height, width):
        return channel.mean(dim=(2, 3), keepdim=True).expand_as(channel)
    return _sent(_blurring(height, spread), channel) @ channel @ _sent(_blurring(width, spread).T, channel)


@functools.lru_cache(maxsize=64)
def _blurring(length: int, spread: float) -> Tensor:
    """The blur of a row as a matrix (length, length): at these sizes faster than convolving, above all backwards."""
    half = math.ceil(3 * spread)
    offsets = torch.arange(-half, half + 1)
    kernel = torch.exp(-offsets.square() / (2 * spread**2))
    places = (torch.arange(length)[:, None] + offsets) % (2 * length - 2)
    mirrored = length - 1 - (places - (length - 1)).abs()
    matrix = torch.zeros(length, length)
    return matrix.scatter_add_(1, mirrored, (kernel / kernel.sum()).expand(length, -1))


def _lab(xyz: Tensor) -> Tensor:
    """CIELAB of XYZ (N,3,H,W), white at (1,1,1) of linear sRGB."""
    white = _sent(torch.tensor(_XYZ).sum(1), xyz).view(1, 3, 1, 1)
    ratio = xyz / white
    knee = (6 / 29) ** 3
    f = torch.where(ratio > knee, ratio.clamp_min(knee) ** (1 / 3), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)
