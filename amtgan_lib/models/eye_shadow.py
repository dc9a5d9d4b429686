"""The generator of Adv-Makeup (Yin et al., IJCAI 2021, arXiv 2105.03162) at our size: it paints around the eyes."""

import torch.nn.functional as F
from torch import Tensor, nn

from amtgan_lib.images import blur
from amtgan_lib.models.generator import MANet
from amtgan_lib.models.initialization import initialize
from amtgan_lib.models.morphing import STRIDE

# Rows and columns of the eye area, as shares of the sides of a crop in which faces have their usual place.
ROWS, COLUMNS = (0.3, 0.6), (0.2, 0.8)
SOFTNESS = 0.04  # of the painted region's border, as a share of the crop's side


class EyeShadow(nn.Module):
    """Paint the skin around the eyes of a face; no makeup reference is looked at.

    Args:
        width: channels of the first convolution.
        bottlenecks: residual blocks.
        bound: largest change of a pixel, in units of the [-1,1] range.
    """

    def __init__(self, width: int = 32, bottlenecks: int = 2, *, bound: float = 1.0):
        super().__init__()
        self.built = {"network": "eye shadow", "width": width, "bottlenecks": bottlenecks, "bound": bound}
        self.bound = bound
        self.manet = MANet(width, bottlenecks, hint_channels=0)
        initialize(self)

    def quiet_start(self) -> None:
        """Begin with next to no change; not with none, or the layers before would get no gradient."""
        nn.init.normal_(self.manet.last.weight, std=1e-5)

    def forward(self, source: Tensor, reference: Tensor, source_masks: Tensor, *unused: object) -> Tensor:
        """The face (N,3,H,W) in [-1,1], painted where ``source_masks`` (N,3,H,W) have skin around the eyes.

        Arguments as ``Generator.forward``, of which ``reference`` and all after the masks are not looked at.
        """
        rows, columns = area = eye_area(*source.shape[-2:])
        around = source_masks[:, 2:3]
        spread = SOFTNESS * source.shape[-1]
        # Half at a straight border before it is stretched, and then nothing: no edge, and corners that are round.
        region = (2 * blur(around, spread, max(round(2 * spread), 1)) - 1).clamp(min=0) * around
        drawn = self.manet.decode(self.manet.encode(source[..., *area], None), 0.0, 0.0)
        change = self.bound * drawn.float().tanh() * region[..., *area]
        margins = (columns.start, source.shape[-1] - columns.stop, rows.start, source.shape[-2] - rows.stop)
        return (source + F.pad(change, margins)).clamp(-1, 1)


def eye_area(height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the eye area of a crop, in multiples of 4 pixels."""
    spans = ((ROWS, height), (COLUMNS, width))
    rows, columns = (slice(*(STRIDE * round(share * side / STRIDE) for share in shares)) for shares, side in spans)
    return rows, columns
