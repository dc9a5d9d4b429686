"""Stand-ins for what takes seconds in earnest: tiny recognisers, faces and photographs made by hand, tiny trainings,
notebooks without kernels.

Also weights by the rule of the golden tensors, which every test of a published network needs.
"""

import copy
import json
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from amtgan_lib import faces, images, paths, recipes, recognizers
from amtgan_lib.datasets import FaceBatch, FaceSet
from amtgan_lib.images import to_tensor
from amtgan_lib.losses import FeatureDistance
from amtgan_lib.methods import natural
from amtgan_lib.pipeline.parameters import Notebook
from amtgan_lib.pipeline.runs import STEP_VARIABLE
from amtgan_lib.recognizers import Recognizer
from amtgan_lib.recognizers.alignment import template
from amtgan_lib.recognizers.staged import StagedNetwork
from amtgan_lib.recognizers.training import CROP, DrawnFaces
from amtgan_lib.training import TrainConfig, Trainer

SIZE, DIMENSIONS = 32, 16  # of tiny pictures, of tiny recognisers' embeddings
NAMES = ("tiny_a", "tiny_b")


# ---------------------------------------------------------------- recognisers


class TinyNetwork(StagedNetwork):
    """A face network of two stages for 24 pixels; its batch norm would move if it ever left eval mode."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.Tanh())
        self.second = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Tanh())
        self.linear = nn.Linear(8 * 36, DIMENSIONS, bias=False)

    def maps(self, images: Tensor) -> list[Tensor]:
        first = self.first(images)
        return [first, self.second(first)]

    def head(self, last: Tensor) -> Tensor:
        return self.linear(last.flatten(1))


def tiny_recognizers(*names: str, seed: int = 0) -> list[Recognizer]:
    """Real recognisers around tiny networks with random weights."""
    row = replace(recognizers.spec(recognizers.OPEN[0]), input_size=24, embedding=DIMENSIONS, columns=None)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return [Recognizer(replace(row, name=name), TinyNetwork(), "random") for name in names or NAMES]


@dataclass
class ColourRecognizer:
    """Takes colours for a face's identity: of ``grid`` x ``grid`` parts of what it is shown; notes what that was."""

    name: str = "colours"
    grid: int = 1
    shown: list[tuple[Tensor, Tensor | None]] = field(default_factory=list)

    def embed(self, images: Tensor, points: Tensor | None = None) -> Tensor:
        self.shown.append((images, points))
        return F.normalize(F.adaptive_avg_pool2d(images, self.grid).flatten(1) + 0.1)

    __call__ = embed


@dataclass
class NoseRecognizer:
    """Takes the colour at the nose of an aligned face for its identity."""

    name: str = "stand-in"
    weights_sha256: str = "f00d"

    def embed(self, images: Tensor, points: Tensor | None = None) -> Tensor:
        assert images.shape[1] == 3 and images.abs().max() <= 1
        # The real alignment: points that are no face make it fail.
        seen = images if points is None else recognizers.align(images, points, 32)
        middle = seen.shape[-1] // 2
        return F.normalize((seen[:, :, middle, middle].clamp(-1, 1) + 1) / 2, dim=1)


class Projection:
    """A recogniser that looks at some directions in the space of small pictures."""

    def __init__(self, name: str):
        seed = len(name) + ord(name[0])
        self.matrix = torch.randn(3 * 8 * 8, 12, generator=torch.Generator().manual_seed(seed))
        self.name, self.shown = name, 0

    def embed(self, images: Tensor, points: Tensor) -> Tensor:
        self.shown += 1
        return F.normalize(F.avg_pool2d(images, 4).flatten(1) @ self.matrix)

    __call__ = embed


# ---------------------------------------------------------------- faces and photographs


def smooth(count: int, size: int = SIZE, seed: int = 0, cells: int = 4, reach: float = 1.0) -> Tensor:
    """Random smooth colours (N,3,S,S) in [-reach, reach], cut off at -1 and 1."""
    coarse = torch.rand(count, 3, cells, cells, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(coarse * reach, (size, size), mode="bilinear").clamp(-1, 1)


def points_near_template(count: int, size: int = SIZE, seed: int = 0) -> Tensor:
    """Five points (N,5,2), each up to a pixel from where a recogniser wants them."""
    return template(size).float() + torch.rand(count, 5, 2, generator=torch.Generator().manual_seed(seed))


def faces_at_a_zoom(count: int = 4, side: int = 128, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Smooth random pictures (N,3,S,S) and plausible points (N,5,2), at a different zoom each."""
    zoom = torch.linspace(0.6, 1.9, count)[:, None, None]
    points = (template().float() - 64) * zoom * side / 160 + side / 2
    noise = torch.rand(count, 5, 2, generator=torch.Generator().manual_seed(seed))
    return smooth(count, side, seed, cells=9), points + noise


def crop_points(size: int) -> Tensor:
    """The five points (5,2) of a face as crops are cut."""
    return torch.from_numpy(faces.CROP_TEMPLATE[:, ::-1] * (size - 1)).float()


def face_crop(image: Tensor, matrix: np.ndarray | None = None, box: Sequence[float] = (), name: str = "photo"):
    """A face whose lips, skin and eyes are rectangles where a face has them; by default it is the whole photo."""
    size = image.shape[-1]
    masks = torch.zeros(3, 64, 64)
    masks[1, 10:56, 10:54] = 1
    for region, rows, columns in ((0, slice(44, 52), slice(22, 42)), (2, slice(22, 32), slice(14, 50))):
        masks[1, rows, columns], masks[region, rows, columns] = 0, 1
    masks = F.interpolate(masks[None], (size, size))[0]
    grid = torch.cartesian_prod(torch.linspace(12, 52, 4), torch.linspace(10, 54, 17)) * size / 64
    matrix = np.eye(3)[:2] if matrix is None else matrix
    return faces.FaceCrop(image, grid.round(), crop_points(size), masks, matrix, tuple(box) or (0, 0, size, size), name)


def photo_crop(photo, left: float = 0, top: float = 0, scale: float = 1, size: int = SIZE):
    """A face cut out of an open photo without rotation: ``scale`` photo pixels a crop pixel."""
    span = round(size * scale)
    cut = Image.fromarray(photo.rgb[top : top + span, left : left + span]).resize((size, size))
    box = (left + 10 * span / 64, top + 10 * span / 64, left + 54 * span / 64, top + 54 * span / 64)
    crop = face_crop(to_tensor(cut), np.array([[scale, 0, left], [0, scale, top]], float), box, photo.name)
    return replace(crop, photo_size=photo.size)


def portrait(row: int, side: int = 320) -> Image.Image:
    """A drawn person of the gallery, from the picture that the package holds: drawing one takes seconds."""
    from amtgan_lib.demos import session

    with Image.open(session.people((row,))[0].large()) as picture:
        return picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def shrunk(file: Path, side: int = 675) -> Image.Image:
    """A square photograph at a size that is searched for faces in one piece."""
    with Image.open(file) as photo:
        return photo.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def plain(colours: Sequence[Sequence[float]], side: int = SIZE) -> np.ndarray:
    """Pictures (N,S,S,3) of one colour each, in 0 to 1."""
    return (np.ones((1, side, side, 1)) * np.array(colours, float)[:, None, None] * 255).round().astype(np.uint8)


def plain_set(colours: dict[str, Sequence[float]], side: int = SIZE) -> FaceSet:
    """Two photos of every person: the source in its colour, the other one at half the brightness."""
    rows, pictures = [], []
    for person, colour in colours.items():
        for part, brightness in (("source", 1.0), ("other", 0.5)):
            asset = f"{person.replace('/', '-')}-{part}.png"
            rows.append({"set": person.split("/")[0], "person": person, "part": part, "split": "test", "asset": asset})
            pictures.append(np.array(colour) * brightness)
    manifest = pd.DataFrame(rows).assign(parse_asset="", parse_order="")
    n = len(rows)
    points = crop_points(side).numpy()[None].repeat(n, 0)
    return FaceSet(manifest, plain(pictures, side), np.ones((n, 3, side, side), bool), np.zeros((n, 68, 2)), points)


def face_set(count: int, seed: int, size: int = SIZE) -> FaceSet:
    """Random smooth colours with lip, skin and eye rectangles at places that differ a little."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=draw) * 200 + 25
    images = F.interpolate(coarse, (size, size), mode="bilinear").round().to(torch.uint8).permute(0, 2, 3, 1)
    masks = np.zeros((count, 3, size, size), bool)
    for index in range(count):
        left = 7 + int(torch.randint(0, 3, (), generator=draw))
        masks[index, 1, 5:29, left - 3 : left + 18] = True
        for region, rows, columns in ((2, (10, 14), (0, 5)), (2, (10, 14), (9, 14)), (0, (21, 25), (3, 11))):
            inside = (slice(*rows), slice(left + columns[0], left + columns[1]))
            masks[index, 1][inside], masks[index, region][inside] = False, True
    landmarks = (torch.rand(count, 68, 2, generator=draw) * 20 + 6).round()
    points = template(size).float() + torch.rand(count, 5, 2, generator=draw)
    manifest = pd.DataFrame({"person": [f"set{seed}/{index}" for index in range(count)]})
    return FaceSet(manifest, images.numpy(), masks, landmarks.numpy(), points.numpy())


def coloured_people(people: int, photos: int, seed: int, **_) -> DrawnFaces:
    """In place of ``recognizers.training.draw_faces``: smooth colours for a person, to which each photo adds some."""
    own = smooth(people, CROP, seed).repeat_interleave(photos, 0)
    pictures = images.to_uint8(0.5 * own + 0.4 * smooth(people * photos, CROP, seed + 1000))
    return DrawnFaces(pictures, np.repeat(np.arange(people), photos))


# ---------------------------------------------------------------- methods


class Brush:
    """A method that brightens a face, by ``amount`` and as much again at random, and counts how often it was asked."""

    def __init__(self, amount: float = 0.2, chance: float = 0.0):
        self.amount, self.chance, self.calls = amount, chance, 0

    def __call__(self, crop: faces.FaceCrop, reference: faces.FaceCrop | None) -> Tensor:
        self.calls += 1
        noise = torch.randn(crop.image.shape, generator=torch.Generator().manual_seed(self.calls))
        return crop.image + self.amount + self.chance * noise


def few_steps(kit, steps: int = 2):
    """A studio's kit whose search ends early: its looks are plainly seen, and need not hide anybody."""
    search = natural.Search(steps=steps, rate=0.8)
    return replace(kit, method=natural.method(kit.method.guide, search))


# ---------------------------------------------------------------- trainings

TINY = TrainConfig(
    recipe="corrected",
    recognizers=NAMES,
    size=SIZE,
    width=4,
    bottlenecks=2,
    regularizer_blocks=1,
    regularizer_width=4,
    discriminator_width=4,
    batch=1,
    steps=4,
    views=2,
    seed=3,
    precision="float32",
)
RESIDUAL_TINY = replace(TINY, recipe="residual")
ANY_TINY = replace(TINY, recipe="any_target", transfer="makeup")
SOURCES, REFERENCES, TARGETS, POOL = face_set(5, 1), face_set(3, 2), face_set(1, 3), face_set(6, 4)


def perceptual() -> FeatureDistance:
    return FeatureDistance(tiny_recognizers(seed=7)[0].features, "tiny")


def trainer(config: TrainConfig = TINY, **changes) -> Trainer:
    config = replace(config, **changes)
    targets = POOL if recipes.recipe(config.recipe).any_target else TARGETS
    return Trainer(config, targets.batch(), tiny_recognizers(), perceptual())


def pair(count: int = 1) -> tuple[FaceBatch, FaceBatch]:
    return SOURCES.batch(range(count)), REFERENCES.batch(range(count))


def gradients(network: nn.Module) -> list[Tensor]:
    """Gradients of the last step, zeros where there was none."""
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in network.parameters()]


def assert_close(found: list[Tensor], expected: list[Tensor], tolerance: float = 1e-4) -> None:
    """Every tensor to `tolerance` of the largest entry of all: cancelled gradients are only noise."""
    scale = max(tensor.abs().max().item() for tensor in expected)
    assert scale > 0
    worst = max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True))
    assert worst <= tolerance * scale, f"worst difference {worst:.2e} beside a largest entry of {scale:.2e}"


# ---------------------------------------------------------------- notebooks


def execute_here(notebook: Notebook, parameters: dict, output: Path, log: Path, step: str) -> None:
    """In place of ``pipeline.engine.execute``: the cells in this process, which has imported what each kernel would.

    What a cell shows is formatted and its figures are drawn, as a kernel does; CellFailed if a cell stops.
    """
    import papermill
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    names = {"kernel_name": "python3", "language": "python"}
    escaped = str(output).replace("{", "{{").replace("}", "}}")
    node = papermill.execute_notebook(copy.deepcopy(notebook.node), escaped, parameters, prepare_only=True, **names)
    log.touch()
    InteractiveShell.clear_instance()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(STEP_VARIABLE, step)
            patch.chdir(paths.NOTEBOOKS)
            patch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # where a shell puts its own
            # No history: it would be written into the home of whoever runs the tests.
            shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
            for cell in node.cells:
                if cell.cell_type == "code":
                    _run_cell(shell, cell.source)
    finally:
        InteractiveShell.clear_instance()


def _run_cell(shell, source: str) -> None:
    import matplotlib.pyplot as plt

    from amtgan_lib.pipeline.engine import CellFailed

    try:
        shell.run_cell(source).raise_error()
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
    except Exception as error:
        raise CellFailed(f"{source}: {error}") from error
    finally:
        plt.close("all")


# ---------------------------------------------------------------- weights by a rule


def ruled(name: str, shape: Sequence[int]) -> Tensor:
    """One entry of a state dict, seeded by its own name: the rule that the golden tensors were made with."""
    values = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(tuple(shape))
    if len(shape) >= 2:
        values /= np.sqrt(np.prod(shape[1:]))
    elif name.endswith("running_var"):
        values = 1 + 0.1 * np.abs(values)
    else:
        values = 1 + 0.1 * values if name.endswith("weight") else 0.1 * values
    return torch.from_numpy(values.astype(np.float32))


def by_rule(network: nn.Module) -> nn.Module:
    """Set all weights of a network by the rule."""
    state = network.state_dict()
    network.load_state_dict(
        {name: ruled(name, value.shape) if value.is_floating_point() else value for name, value in state.items()}
    )
    return network


def ruled_recognizer(name: str) -> Recognizer:
    """A recogniser without a checkpoint: weights by the rule, which keeps the signal's size through the layers."""
    return Recognizer(recognizers.spec(name), by_rule(recognizers.build(name)), "rule")


# ---------------------------------------------------------------- the golden tensors

KINDS = {"generator": "G", "regularizer": "H", "discriminator": "D"}
SIDES = ("source", "reference", "source_masks", "reference_masks", "source_landmarks_yx", "reference_landmarks_yx")


def state_dicts(golden: Path) -> dict[str, dict[str, Tensor]]:
    tables = json.loads((golden / "amtgan_state_dicts.json").read_text())
    return {kind: {n: ruled(n, s) for n, s in tables[letter].items()} for kind, letter in KINDS.items()}


def golden_cases(golden: Path) -> dict[str, dict[str, Tensor]]:
    files = {case: np.load(golden / f"case_{case}.npz") for case in "ab"}
    return {case: {key: torch.from_numpy(file[key]) for key in file.files} for case, file in files.items()}


def batch(case: dict[str, Tensor], *, swapped: bool = False) -> list[Tensor]:
    names = [SIDES[index] for index in (1, 0, 3, 2, 5, 4)] if swapped else SIDES
    return [case[name][None].float() for name in names]
