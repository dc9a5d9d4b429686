"""A recogniser with weights: whole photo or aligned face in, unit vectors out."""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from amtgan_lib import assets, paths
from amtgan_lib.files import read_tensors, sha256_of
from amtgan_lib.recognizers import dlib_resnet
from amtgan_lib.recognizers.alignment import align
from amtgan_lib.recognizers.shipped import read_shipped
from amtgan_lib.recognizers.table import JUDGES, OPEN, OWN, RecognizerSpec, refuse_judges, spec

# Noise added by the input transforms leaves [-1,1] by a few units; an image in 0..255 leaves it by far more.
LARGEST_VALUE = 8.0


class Recognizer(nn.Module):
    """A frozen network with its preprocessing and thresholds.

    Always in eval mode and without parameter gradients, and differentiable in its images. `network` is any module
    with the methods of `StagedNetwork`.
    """

    def __init__(
        self,
        row: RecognizerSpec,
        network: nn.Module,
        weights_sha256: str,
        thresholds: Mapping[float, float] | None = None,
    ):
        super().__init__()
        self.spec = row
        self.name, self.family, self.licence = row.name, row.family, row.licence
        self.input_size = row.input_size
        self.weights_sha256 = weights_sha256
        self.thresholds = dict(row.thresholds if thresholds is None else thresholds)
        # As the kernels for small convolutions want it: up to 1.4 times as fast, forwards and backwards.
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)
        # From [-1,1] straight to the network's own range: ((x + 1)/2 - mean)/std as one exact-at-0.5 affine map.
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (row.mean, row.std))
        self.register_buffer("gain", 0.5 / std, persistent=False)
        self.register_buffer("offset", (0.5 - mean) / std, persistent=False)
        self.looked_on_device = False
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever `mode` says: a judge whose batch statistics move is another judge."""
        return super().train(False)

    @property
    def own_photo(self) -> dict[float, float]:
        """Thresholds for a changed face and the very photo that it was made from, where no other is at hand.

        Others are less alike, and so a change hides from them sooner: a change that leaves a cosine to its own photo
        leaves about that share of the cosine to another one (trial: median ratio 0.93 to 0.99 for seven recognisers,
        0.78 for one, 48 training people). These are passed where a typical other photo is expected to match; at most
        they lie in the middle between the threshold and 1.
        """
        return {far: min(cosine / self.spec.likeness, (cosine + 1) / 2) for far, cosine in self.thresholds.items()}

    def with_thresholds(self, thresholds: Mapping[float, float]) -> Self:
        """Return this recogniser (the same network, not a copy) with {false accept rate: cosine}."""
        return type(self)(self.spec, self.network, self.weights_sha256, thresholds).to(self.gain.device)

    def embed(self, images: torch.Tensor, points: torch.Tensor | None = None) -> torch.Tensor:
        """Return unit vectors (N,D), float32.

        Shape: images (N,3,H,W) in [-1,1]; points (N,5,2) as (y, x) pixels: left and right eye centre as seen in the
        picture, nose tip, left and right mouth corner. With points the faces are aligned (see `align`). Without, the
        published quirk: the whole image, bilinear without antialias, straight to the input size (AMT-GAN issue #6).
        Points may stay on the CPU when the images are elsewhere, and are best left there.

        Raises ValueError for other shapes, dtypes and ranges. The range of images on a device, which looking at them
        would wait for, is checked in the first call only.
        """
        return F.normalize(self.network(self._prepare(images, points)).float())

    def forward(self, images: torch.Tensor, points: torch.Tensor | None = None) -> torch.Tensor:
        """Return `embed(images, points)`."""
        return self.embed(images, points)

    def features(self, images: torch.Tensor, points: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Return the map of each of the network's 4 stages, for a perceptual distance; arguments as `embed`."""
        return self.network.maps(self._prepare(images, points))

    def _check(self, images: torch.Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(f"images must be float (N,3,H,W) in [-1,1], got {images.dtype} {tuple(images.shape)}")
        if images.device.type == "cpu" or not self.looked_on_device:
            largest = images.detach().abs().amax().item() if images.numel() else 0.0
            if not largest <= LARGEST_VALUE:  # `not <=` also catches NaN
                raise ValueError(f"images must be in [-1,1], got a largest absolute value of {largest:g}")
            self.looked_on_device = images.device.type != "cpu"

    def _prepare(self, images: torch.Tensor, points: torch.Tensor | None) -> torch.Tensor:
        self._check(images)
        faces = _squeezed(images, self.input_size) if points is None else align(images, points, self.input_size)
        if self.spec.columns:
            first, end = self.spec.columns
            faces = faces[..., first:end]
        scaled = faces.float() * self.gain + self.offset
        return scaled.contiguous(memory_format=torch.channels_last)


class Judge(Recognizer):
    """A recogniser that can only judge: its network aligns by itself and has no gradient (dlib's)."""

    def embed(self, images: torch.Tensor, points: torch.Tensor | None = None) -> torch.Tensor:
        """Return `descriptors` as unit vectors (N,D), to be compared by cosine as those of all others."""
        return F.normalize(self.descriptors(images, points))

    def descriptors(self, images: torch.Tensor, points: torch.Tensor | None = None) -> torch.Tensor:
        """Return what the network's own rule compares by distance: (N,D), float32; arguments as `embed`.

        Raises ValueError as `Recognizer.embed`, and where a gradient is asked for.
        """
        if images.requires_grad and torch.is_grad_enabled():
            refuse_judges([self.name])
        self._check(images)
        return self.network(_squeezed(images, self.input_size) if points is None else images, points)

    def features(self, images: torch.Tensor, points: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Refused: a perceptual distance is there to be trained on."""
        refuse_judges([self.name])


@torch.no_grad()
def embed_many(
    recognizer: Recognizer, images: torch.Tensor, points: torch.Tensor | None = None, batch: int = 32
) -> torch.Tensor:
    """Return `recognizer.embed(images, points)` without gradients, `batch` faces at a time."""
    rows = [slice(start, start + batch) for start in range(0, len(images), batch)]
    return torch.cat([recognizer.embed(images[at], None if points is None else points[at]) for at in rows])


def _squeezed(images: torch.Tensor, size: int) -> torch.Tensor:
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=False)


def build(name: str) -> nn.Module:
    """Return the untrained network of `name` in eval mode, keys as published; ValueError for an unknown name."""
    return spec(name).builder().eval()


def load(name: str, device: str | torch.device = "cpu", *, weights: str | Path | None = None) -> Recognizer:
    """Return the recogniser `name` with its weights, on `device`.

    Open weights are fetched by pinned hash; the published four are read from the authors' imported archive; the drawn
    four and the distilled ones come with the package, or from the file `weights` of your own training; dlib's come
    with the extra `dlib`.

    Raises ValueError for an unknown name and for `weights` that are not of this recogniser, RuntimeError where an entry
    of the file is missing or superfluous, FileNotFoundError where there is no file.
    """
    row = spec(name)
    if row.shipped:
        file = paths.WEIGHTS / row.weights if weights is None else weights
        shipped = load_shipped(file, device)
        if shipped.name != name:
            raise ValueError(f"{file} holds {shipped.name}, not {name}")
        return shipped
    if weights is not None:
        raise ValueError(f"weights can be chosen for a recogniser of this project only, and {name} is none")
    if row.judge_only:
        return Judge(row, build(name), sha256_of(dlib_resnet.file(row.weights))).to(device)
    path = Path(assets.published_weights(row.weights) if row.published else assets.fetch(row.weights))
    network = build(name)
    network.load_state_dict(row.entries(read_tensors(path)), strict=True)
    return Recognizer(row, folded(network), sha256_of(path)).to(device)


def folded(network: nn.Module) -> nn.Module:
    """The network with each batch norm that follows a convolution made part of it: in eval mode both are one map.

    MobileFaceNets are 1.5 times as fast for it, forwards and backwards; embeddings differ by rounding (7e-7 seen).
    """
    for chain in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for (first, layer), (second, norm) in itertools.pairwise(list(chain.named_children())):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(chain, first, fuse_conv_bn_eval(layer, norm))
                setattr(chain, second, nn.Identity())
    return network


def at_hand(names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names`, in their order, whose weights lie on this machine: `load` needs nothing from elsewhere."""
    return tuple(name for name in names if _file_at_hand(spec(name)))


def judges_at_hand() -> tuple[str, ...]:
    """Whom to ask about a photograph: dlib's and the open ones, if they are here, else our own students.

    Students tell strangers apart poorly, and go by what no look changes: beside better ones they are not asked.
    """
    return at_hand((*JUDGES, *OPEN)) or at_hand(OWN)


def _file_at_hand(row: RecognizerSpec) -> bool:
    if row.shipped:
        return (paths.WEIGHTS / row.weights).is_file()
    if row.judge_only:
        return dlib_resnet.installed()
    if row.published:
        return row.weights in assets.published()
    return assets.local(assets.get(row.weights)) is not None


def load_shipped(path: str | Path, device: str | torch.device = "cpu") -> Recognizer:
    """Return the recogniser in a file of `save_shipped`, with its thresholds, on `device`; raises as `read_shipped`."""
    row, network, facts = read_shipped(path)
    thresholds = {float(far): float(cosine) for far, cosine in facts.get("thresholds", {}).items()}
    return Recognizer(row, folded(network), sha256_of(path), thresholds).to(device)
