"""The residual networks of the ArcFace paper (arXiv 1801.07698): IR-152 and IR-SE-50 as published, and small ones."""

import math
from functools import partial
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import nn

from amtgan_lib.recognizers.staged import StagedNetwork, run

Four = tuple[int, int, int, int]


class SqueezeExcite(nn.Module):
    """Channel attention (arXiv 1709.01507) with a reduction of 16 and no biases; `width` is 16 or more."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Conv2d(width, width // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(width // 16, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,h,w) -> (N,C,h,w)."""
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class ImprovedResidual(nn.Module):
    """BN, conv 3x3, PReLU, conv 3x3 with the stride, BN and maybe SE, added to a shortcut."""

    def __init__(self, width: int, out: int, stride: int, squeeze: bool):
        super().__init__()
        if width == out:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, out, 3, 1, 1, bias=False),
            nn.PReLU(out),
            nn.Conv2d(out, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            *([SqueezeExcite(out)] if squeeze else []),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,h,w) -> (N,C',h/stride,w/stride)."""
        return self.res_layer(x) + self.shortcut_layer(x)


def _body(stem: int, widths: Four, blocks: Four, squeeze: bool) -> list[ImprovedResidual]:
    body, width = [], stem
    for out, repeats in zip(widths, blocks, strict=True):
        for index in range(repeats):
            body.append(ImprovedResidual(width, out, 2 if index == 0 else 1, squeeze))
            width = out
    return body


class IResNet(StagedNetwork):
    """Four stages of `blocks` residual blocks with `widths` channels.

    Shape: (N,3,input_size,input_size) -> (N,embedding); `unit` says whether the embeddings are normalised. The
    defaults are the published sizes. The stem divides the map's side by its stride and each stage halves it.
    """

    def __init__(
        self,
        blocks: Four,
        squeeze: bool,
        unit: bool,
        *,
        stem: int = 64,
        stem_stride: int = 1,
        widths: Four = (64, 128, 256, 512),
        embedding: int = 512,
        input_size: int = 112,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.stage_ends = tuple(accumulate(blocks))
        self.unit = unit
        convolution = nn.Conv2d(3, stem, 3, stem_stride, 1, bias=False)
        self.input_layer = nn.Sequential(convolution, nn.BatchNorm2d(stem), nn.PReLU(stem))
        self.body = nn.Sequential(*_body(stem, widths, blocks, squeeze))
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(widths[-1] * math.ceil(input_size / (16 * stem_stride)) ** 2, embedding),
            nn.BatchNorm1d(embedding),
        )

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See StagedNetwork; 4 maps."""
        return run(self.input_layer(images), self.body, self.stage_ends)

    def head(self, last: torch.Tensor) -> torch.Tensor:
        """See StagedNetwork."""
        embedding = self.output_layer(last)
        return F.normalize(embedding) if self.unit else embedding


# Builders of the networks without weights.
ir152 = partial(IResNet, (3, 8, 36, 3), squeeze=False, unit=False)
irse50 = partial(IResNet, (3, 4, 14, 3), squeeze=True, unit=True)
# A stage strides after its first convolution: without a stride in the stem the small IR would cost four times as much.
_small = partial(IResNet, stem=24, stem_stride=2, widths=(24, 48, 80, 128), embedding=128, input_size=64, dropout=0.0)
small_ir = partial(_small, (2, 3, 4, 1), squeeze=False, unit=False)
small_irse = partial(_small, (2, 2, 2, 1), squeeze=True, unit=True)
distilled_ir = partial(small_ir, stem=32, widths=(32, 64, 112, 160), embedding=256, input_size=96)
