"""Which moves of a face are unkind: those that age it, spoil its expression, enlarge its nose or tear its skin."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib.faces.parts import RIDGE

STRAIN = 0.62  # how much skin may be stretched or squeezed: beyond it noses break, and foreheads look smeared
# Pairs of vertices of the mesh that, if they come closer or move apart, age a face or spoil its expression; how much.
SHRINKING = (
    (1, ((107, 336), (55, 285))),  # brows that come together
    (4, ((107, 133), (336, 362), (66, 159), (296, 386))),  # or down, which looks angry
    (3, ((55, 133), (285, 362))),  # and so do their lower edges
    (2, ((107, 70), (336, 300), (55, 46), (285, 276))),  # brows that become short
    (1, ((159, 145), (386, 374))),  # eyes that close
    (1, ((61, 152), (291, 152), (61, 291))),  # corners of the mouth that drop, or come together
    (1, ((4, 2), (4, 98), (4, 327))),  # a tip of the nose that goes down into it
)
GROWING = (
    (3, ((107, 133), (336, 362), (107, 336))),  # inner ends of brows that rise, or move apart
    (2, ((55, 133), (285, 362))),  # and so do their lower edges
    (1, ((55, 285), (55, 107), (285, 336))),  # brows that become thick there
    (1, ((105, 159), (334, 386))),  # brows raised in surprise
    (1, ((159, 145), (386, 374))),  # eyes that stare
    (2, ((13, 14),)),  # a mouth that opens farther, whose teeth grow
    (1, ((129, 358), (64, 294), (48, 278), (198, 420), (236, 456))),  # a broader nose: its wings,
    (1, ((196, 419), (122, 351), (45, 275), (44, 274))),  # its bridge and its tip
    (1, ((168, 1), (168, 2), (1, 0), (2, 0))),  # a nose that is longer, or turns up
)
_COUNTED = [(-weight, pair) for weight, pairs in SHRINKING for pair in pairs]
_COUNTED += [(weight, pair) for weight, pairs in GROWING for pair in pairs]
PAIRS = torch.tensor([pair for _, pair in _COUNTED]).T
# How much each counts, with the sign of the change that does.
COUNTED = torch.tensor([float(weight) for weight, _ in _COUNTED])


class Manners:
    """What a face of this mesh (478,2), in a crop of ``size`` px, should keep."""

    def __init__(self, mesh: Tensor, size: int):
        self.mesh, self.size = mesh, size
        self.eye, self.lengths = (mesh[468] - mesh[473]).norm(), _lengths(mesh)

    def unkind(self, flow: Tensor) -> Tensor:
        """Squares of eye distances by which lengths have shrunk or grown that should not, and a nose was bent aside."""
        y, x = self.mesh.round().long().clamp(0, self.size - 1).T
        # What a pixel fetches from its right moves to the left.
        places = self.mesh - flow[0][:, y, x].T.flip(1)
        grown = (_lengths(places) - self.lengths) / self.eye
        aside = (places - self.mesh)[list(RIDGE), 1] / self.eye
        unkind = F.relu(grown * COUNTED.sign()).square() @ COUNTED.abs()
        return unkind + (aside - aside.mean()).square().sum()


def _lengths(places: Tensor) -> Tensor:
    """Distances (P,) of the PAIRS among places (478,2)."""
    return (places[PAIRS[0]] - places[PAIRS[1]]).norm(dim=1)


def strain(flow: Tensor) -> Tensor:
    """(N,S-1,S-1): the square of how much a flow (N,2,S,S) stretches, squeezes and shears, in units of STRAIN."""
    right, down = flow.diff(dim=-1)[..., 1:, :], flow.diff(dim=-2)[..., 1:]
    return (right.square() + down.square()).sum(1) / STRAIN**2
