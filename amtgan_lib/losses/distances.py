"""Distances of pictures: LPIPS where its trunk is at hand, else one on a frozen recogniser's features, named as such.

And of sets of points: the maximum mean discrepancy.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from amtgan_lib.files import read_tensors, sha256_of

ALEXNET_TRUNK = "alexnet-owt-7be5be79.pth"  # torchvision's file name; it carries the first 8 hex digits of the sha256
ALEXNET_SHA256_PREFIX = "7be5be79"
BANDWIDTHS = tuple(10.0**power for power in range(-6, 7))


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
    digest = sha256_of(path)
    if not digest.startswith(ALEXNET_SHA256_PREFIX):
        raise ValueError(
            f"{path} has sha256 {digest[:8]}..., expected {ALEXNET_SHA256_PREFIX}...: not AlexNet's weights"
        )
    import lpips  # slow to import, and needed only here

    # With pnet_rand=False the constructor would fetch a trunk; filled strictly, this one holds the checked file only.
    network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    trunk = read_tensors(path)
    slots = {key: "features." + key.split(".", 1)[1] for key in network.net.state_dict()}
    network.net.load_state_dict({key: trunk[source] for key, source in slots.items()}, strict=True)
    return Perceptual(network, "LPIPS (alex)")


def perceptual(feature_fn: Callable[[Tensor], Sequence[Tensor]], name: str) -> Perceptual:
    """LPIPS where its trunk lies in torch's cache, else the feature distance of the recogniser called `name`."""
    if _alexnet_cache().is_file():
        return lpips_alex()
    return FeatureDistance(feature_fn, f"feature distance ({name})")


def mmd(a: Tensor, b: Tensor, bandwidths: Sequence[float] = BANDWIDTHS) -> Tensor:
    """Squared maximum mean discrepancy (Gretton et al., JMLR 2012) of two sets of points, 0 for equal sets.

    Shape: (...,n,D) and (...,m,D) -> (...), in [0, 2 len(bandwidths)]. The biased estimate
    mean k(a,a') + mean k(b,b') - 2 mean k(a,b), where k is the sum over bandwidths of exp(-distance^2 / (2 bandwidth)).
    """

    def similarity(x: Tensor, y: Tensor) -> Tensor:
        squares = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
        return sum(torch.exp(-squares / (2 * width)) for width in bandwidths).mean((-2, -1))

    return similarity(a, a) + similarity(b, b) - 2 * similarity(a, b)


def _unit(features: Tensor) -> Tensor:
    # The constant bounds the gradient at a position where every channel is 0.
    features = features.float()
    return features * (features.square().sum(dim=1, keepdim=True) + 1e-8).rsqrt()


def _alexnet_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET_TRUNK
