"""What blends a painted area with its picture: terms of Adv-Makeup (Yin et al., IJCAI 2021, arXiv 2105.03162)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def gradient_loss(image: Tensor, clean: Tensor) -> Tensor:
    """Mean squared difference of the Laplacians of two images (N,C,H,W), a scalar: the guide of Poisson blending.

    The Laplacian of a pixel is 4 times itself less its four neighbours, inside the image only. 0 where an image differs
    by a constant colour, or by any that changes evenly.
    """
    kernel = image.new_tensor([[0, -1, 0], [-1, 4, -1], [0, -1, 0]]).expand(image.shape[1], 1, 3, 3)
    first, second = (F.conv2d(each, kernel, groups=image.shape[1]) for each in (image, clean))
    return F.mse_loss(first, second)


def style_loss(features: Tensor, clean: Tensor) -> Tensor:
    """Mean squared difference of the Gram matrices of feature maps (N,C,h,w), over the clean ones' mean square.

    A scalar, 0 for equal maps, and the same for maps of any scale.
    """
    first, second = (gram(each.float()) for each in (features, clean))
    return F.mse_loss(first, second) / second.square().mean().clamp_min(torch.finfo(second.dtype).tiny)


def gram(features: Tensor) -> Tensor:
    """Products of channels, mean over positions: (N,C,h,w) -> (N,C,C)."""
    return torch.einsum("nchw,ndhw->ncd", features, features) / features[0, 0].numel()


def total_variation(image: Tensor) -> Tensor:
    """Mean absolute difference of neighbours across plus that of neighbours down, (N,C,H,W) -> scalar."""
    return image.diff(dim=-1).abs().mean() + image.diff(dim=-2).abs().mean()
