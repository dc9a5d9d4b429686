"""H, the regularization module of AMT-GAN (section 3.3): residual-in-residual dense blocks (ESRGAN, ECCVW 2018)."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from amtgan_lib.models.initialization import initialize

RESIDUAL_SCALE = 0.2
SLOPE = 0.2
DENSE_CONVS = 5
DENSE_BLOCKS = 3
# A module called through this keeps its inputs alone and is run again on the way back: for what draws nothing at random
recomputed = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)


class DenseBlock(nn.Module):
    """Five 3x3 convolutions, each fed with everything before it; the result is added at a fifth of its size."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        outputs = [growth] * (DENSE_CONVS - 1) + [width]
        self.convs = nn.ModuleList(
            nn.Conv2d(width + index * growth, channels, 3, padding=1) for index, channels in enumerate(outputs)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N,width,H,W) -> (N,width,H,W)."""
        gathered = [features]
        for conv in self.convs[:-1]:
            gathered.append(F.leaky_relu_(conv(torch.cat(gathered, dim=1)), SLOPE))
        return features + RESIDUAL_SCALE * self.convs[-1](torch.cat(gathered, dim=1))


class ResidualInResidual(nn.Sequential):
    """Three dense blocks in a row; their result is added at a fifth of its size."""

    def __init__(self, width: int, growth: int):
        super().__init__(*(DenseBlock(width, growth) for _ in range(DENSE_BLOCKS)))

    def forward(self, features: Tensor, checkpointing: bool = False) -> Tensor:
        """(N,width,H,W) -> (N,width,H,W); ``checkpointing`` as of the ``Regularizer``."""
        inner = features
        for block in self:
            inner = recomputed(block, inner) if checkpointing else block(inner)
        return features + RESIDUAL_SCALE * inner


class Regularizer(nn.Module):
    """Rebuild a natural image from a protected one; used in training only, G is judged on its output too.

    The output is linear: no activation and no skip from the image. ``Regularizer()`` is the published network. With
    ``checkpointing`` set, training keeps what goes into each dense block and computes the rest again on the way back:
    the same gradients in a fraction of the memory (12 GB were not enough: AMT-GAN#17).
    """

    checkpointing = False

    def __init__(self, blocks: int = 4, width: int = 64, growth: int = 32):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.trunk = nn.Sequential(*(ResidualInResidual(width, growth) for _ in range(blocks)))
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        initialize(self)

    def forward(self, image: Tensor) -> Tensor:
        """(N,3,H,W) in [-1,1] -> (N,3,H,W), unbounded."""
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"image has shape {tuple(image.shape)}; expected (N,3,H,W)")
        features = self.first(image)
        for block in self.trunk:
            features = block(features, self.checkpointing and torch.is_grad_enabled())
        return self.last(features)
