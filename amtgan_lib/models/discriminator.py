"""D: a PatchGAN with spectral normalisation, one for photos with makeup and one for photos without."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from amtgan_lib.models.initialization import initialize

SLOPE = 0.01


class Discriminator(nn.Module):
    """Score every patch of an image: real (1) or generated (0), least-squares scale. The default is published.

    Args:
        width: channels after the first convolution, doubled by each following one.
        layers: number of stride-2 convolutions; two of stride 1 follow.
    """

    def __init__(self, width: int = 64, layers: int = 3):
        super().__init__()
        widths = [width * 2**index for index in range(layers + 1)]
        strides = [2] * layers + [1]
        self.convs = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, 4, stride=stride, padding=1))
            for before, after, stride in zip([3, *widths[:-1]], widths, strides, strict=True)
        )
        self.last = spectral_norm(nn.Conv2d(widths[-1], 1, 4, padding=1, bias=False))
        initialize(self)

    def forward(self, image: Tensor) -> Tensor:
        """(N,3,H,W) in [-1,1] -> (N,1,h,w), unbounded; 256 px give 30 x 30 scores."""
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"image has shape {tuple(image.shape)}; expected (N,3,H,W)")
        features = image
        for conv in self.convs:
            features = F.leaky_relu_(conv(features), SLOPE)
        return self.last(features)
