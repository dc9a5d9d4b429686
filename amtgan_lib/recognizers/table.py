"""The one table of recognisers: every fact about a network that is not its layers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from types import MappingProxyType
from typing import Any

from torch import nn

from amtgan_lib.errors import did_you_mean
from amtgan_lib.recognizers import dlib_resnet
from amtgan_lib.recognizers.edgeface import EdgeFace, dequantised
from amtgan_lib.recognizers.inception_resnet import InceptionResnetV1
from amtgan_lib.recognizers.iresnet import distilled_ir, ir152, irse50, small_ir, small_irse
from amtgan_lib.recognizers.mobilefacenet import FoamliuMobileFaceNet, MobileFace, XiaoccerMobileFaceNet
from amtgan_lib.recognizers.plain import PlainNetwork

Triple = tuple[float, float, float]
HALF: Triple = (0.5, 0.5, 0.5)
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
SPLITS = ("family", "leave one out")
FARS = (0.1, 0.01, 0.001)
"""Usual false accept rates: a recogniser takes one stranger in 10, 100 or 1000 for the owner."""
LAX, USUAL = FARS[:2]


def _without_classifier(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Drop the layer of 8631 classes, which some copies of the FaceNet checkpoint carry and no embedding uses."""
    return {name: value for name, value in state.items() if not name.startswith("logits.")}


@dataclass(frozen=True)
class Calibration:
    """What thresholds were measured on: impostor pairs of some people, none of whom is in the test, at a commit."""

    people: int
    dataset: str
    pairs: int
    commit: str

    def __str__(self) -> str:
        return f"{self.pairs} pairs of {self.people} other people ({self.dataset})"


@dataclass(frozen=True)
class RecognizerSpec:
    """One row of the table.

    `mean` and `std` are in [0,1] units, as the sources give them; `columns` are the columns (first, end) that the
    network sees of the input_size x input_size picture; `weights` names the file, `entries` finds the state dict in
    it; `thresholds` are cosines per false accept rate, measured on `calibration`; those of a shipped network stand in
    its file, since training makes both; `likeness` is the median cosine of two photos of a person, from notebook 2 (205
    training people of CelebA-HQ, 117 drawn ones of the default run), 1 where nobody measured it. `published` files come
    from the authors' archive, `shipped` ones with this package, all others are fetched; `drawn` ones know drawn faces
    only. `teachers` are those it was distilled from: what fools the one was learnt from the others. A `judge_only` one
    comes with a package of its own and has no gradient: it can neither train nor give hints; by its own rule two faces
    are of one person whose vectors, not normalised, lie nearer than `distance` to each other.
    """

    name: str
    family: str
    input_size: int
    embedding: int
    licence: str
    builder: Callable[[], nn.Module]
    weights: str
    published: bool = False
    drawn: bool = False
    shipped: bool = False
    judge_only: bool = False
    distance: float | None = None
    teachers: tuple[str, ...] = ()
    mean: Triple = HALF
    std: Triple = HALF
    columns: tuple[int, int] | None = None
    entries: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda state: state
    thresholds: Mapping[float, float] = field(default_factory=dict)
    likeness: float = 1.0
    calibration: Calibration | None = None


def _at_fars(*cosines: float) -> Mapping[float, float]:
    return MappingProxyType(dict(zip(FARS, cosines, strict=True)))


def _published(name: str, thresholds: Triple, **facts: Any) -> RecognizerSpec:
    """Return a row of the authors' archive: images stay in [-1,1]; thresholds from its code."""
    about = {"embedding": 512, "licence": "not stated (AMT-GAN authors' archive)", "weights": f"{name}.pth"}
    return RecognizerSpec(name, published=True, thresholds=_at_fars(*thresholds), **about, **facts)


def _open(name: str, thresholds: Triple, likeness: float, **facts: Any) -> RecognizerSpec:
    """Return a row of the open zoo, whose weights come without thresholds: these were measured by notebook 2."""
    calibration = Calibration(205, "CelebA-HQ, training people", 41820, "f122cec77a")
    about = {"input_size": 112, "weights": name, "thresholds": _at_fars(*thresholds), "calibration": calibration}
    return RecognizerSpec(name, likeness=likeness, **about, **facts)


def _edgeface(name: str, body: str, thresholds: Triple, likeness: float) -> RecognizerSpec:
    facts = {"family": "edgeface", "embedding": 512, "licence": "BSD-3-Clause", "entries": dequantised}
    return _open(name, thresholds, likeness, builder=partial(EdgeFace, body), **facts)


def _drawn(name: str, **facts: Any) -> RecognizerSpec:
    """Return a row of the drawn world: a small network that this project trains on drawn faces and ships."""
    about = {"embedding": 128, "licence": "MIT (trained by this project on drawn faces)"}
    return RecognizerSpec(name, weights=f"{name}.safetensors", drawn=True, shipped=True, **about, **facts)


def _distilled(name: str, builder: Callable[[], nn.Module], **facts: Any) -> RecognizerSpec:
    """Return a row of our own for photographs: a small student of open recognisers."""
    licence = "research use (trained by this project, on CelebA-HQ and MT photographs among others)"
    about = {"input_size": 96, "embedding": 256, "licence": licence, "builder": builder}
    return RecognizerSpec(name, weights=f"{name}.safetensors", shipped=True, **about, **facts)


_MOBILE_FACE_NETS = ("mobilefacenet_foamliu", "mobilefacenet_xiaoccer")
_TEACHERS = (*_MOBILE_FACE_NETS, "edgeface_xs", "edgeface_xxs")

_ROWS = (
    # IR-152 and IR-SE-50 share everything but depth and the attention, so they are one family.
    _published("ir152", (0.094632, 0.166788, 0.227922), family="iresnet", input_size=112, builder=ir152),
    _published("irse50", (0.144840, 0.241045, 0.312703), family="iresnet", input_size=112, builder=irse50),
    _published(
        "mobile_face", (0.183635, 0.301611, 0.380878), family="mobilefacenet", input_size=112, builder=MobileFace
    ),
    _published(
        "facenet",
        (0.256587, 0.409131, 0.591191),
        family="inception_resnet",
        input_size=160,
        builder=InceptionResnetV1,
        entries=_without_classifier,
    ),
    _open(
        "mobilefacenet_foamliu",
        (0.15536217391490936, 0.2729507386684418, 0.36740925908088684),
        0.644,
        family="mobilefacenet",
        embedding=128,
        licence="Apache-2.0",
        builder=FoamliuMobileFaceNet,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    _open(
        "mobilefacenet_xiaoccer",
        (0.1414661705493927, 0.2745039761066437, 0.3847878873348236),
        0.629,
        family="mobilefacenet",
        embedding=128,
        licence="not stated",
        builder=XiaoccerMobileFaceNet,
        mean=(127.5 / 255,) * 3,
        std=(128 / 255,) * 3,
        columns=(8, 104),
        entries=itemgetter("net_state_dict"),
    ),
    _edgeface("edgeface_xs", "edgenext_x_small", (0.1155783087015152, 0.2093384712934494, 0.2872413396835327), 0.592),
    _edgeface(
        "edgeface_xxs", "edgenext_xx_small", (0.13291528820991516, 0.23225262761116028, 0.31483495235443115), 0.581
    ),
    # Kin to its teachers whatever its own layers are: what fools it was learnt from them.
    _distilled("distilled", distilled_ir, family="mobilefacenet", likeness=0.586, teachers=_MOBILE_FACE_NETS),
    _distilled("distilled_plain", PlainNetwork, family="distilled", likeness=0.572, teachers=_TEACHERS),
    _distilled(
        "distilled_resnet",
        partial(PlainNetwork, residual=True),
        family="distilled",
        likeness=0.577,
        teachers=_TEACHERS,
    ),
    RecognizerSpec(
        "dlib",
        family="dlib_resnet",
        input_size=dlib_resnet.CHIP,
        embedding=128,
        licence="CC0-1.0 (weights), Boost (dlib)",
        builder=dlib_resnet.DlibNetwork,
        weights=dlib_resnet.NETWORK,
        judge_only=True,
        distance=dlib_resnet.OWN_LIMIT,
        thresholds=_at_fars(0.8848223686218262, 0.9131357073783875, 0.9314630627632141),
        likeness=0.957,
        calibration=Calibration(205, "CelebA-HQ, training people", 41820, "a324725a48"),
    ),
    _drawn("drawn_ir", family="iresnet", input_size=64, likeness=0.870, builder=small_ir),
    _drawn("drawn_irse", family="iresnet", input_size=64, likeness=0.881, builder=small_irse),
    _drawn(
        "drawn_mobile",
        family="mobilefacenet",
        input_size=64,
        likeness=0.840,
        builder=partial(MobileFace, width=0.625, depths=(2, 3, 2), embedding=128, input_size=64),
    ),
    _drawn(
        "drawn_inception",
        family="inception_resnet",
        input_size=80,
        likeness=0.813,
        builder=partial(InceptionResnetV1, width=0.25, repeats=(2, 4, 2), embedding=128),
    ),
)

SPECS: Mapping[str, RecognizerSpec] = MappingProxyType({row.name: row for row in _ROWS})
NAMES = tuple(SPECS)
PUBLISHED = tuple(row.name for row in _ROWS if row.published)
DRAWN = tuple(row.name for row in _ROWS if row.drawn)
OPEN = tuple(row.name for row in _ROWS if not (row.published or row.shipped or row.judge_only))
JUDGES = tuple(row.name for row in _ROWS if row.judge_only)
OWN = ("distilled_plain", "distilled_resnet", "distilled")
"""Whose hints come along: students of all four open recognisers, and of the MobileFaceNets alone."""
_ZOOS = MappingProxyType({"open": OPEN, "open and own": (*OPEN, "distilled"), "drawn": DRAWN, "published": PUBLISHED})


def spec(name: str) -> RecognizerSpec:
    """Return the row of `name`. Raises ValueError that names the nearest one, or all."""
    if name not in SPECS:
        raise ValueError(f"there is no recogniser {name!r}: {did_you_mean(name, NAMES, 'there are')}")
    return SPECS[name]


def zoo(name: str) -> tuple[str, ...]:
    """Return the names of the set "open", "open and own", "drawn" or "published"; ValueError for any other word.

    "open and own" adds the student of the MobileFaceNets alone, of whom the EdgeFaces can be held out. The open ones
    include dlib's where it is installed; `partition` lets it judge only.
    """
    if name not in _ZOOS:
        raise ValueError(f"zoo must be one of {', '.join(map(repr, _ZOOS))}, got {name!r}")
    return (*_ZOOS[name], *(("dlib",) if name.startswith("open") and dlib_resnet.installed() else ()))


def refuse_judges(names: Iterable[str]) -> None:
    """Raise ValueError where one of the recognisers that are to train or to give hints can only judge."""
    if judges := [name for name in names if name in JUDGES]:
        raise ValueError(f"{judges[0]} only judges: it has no gradient, so it can neither train nor give hints")


def refuse_overlap(train_names: Iterable[str], judge_names: Iterable[str], split: str = "family") -> None:
    """Refuse recognisers that both train and judge, and any that train and can only judge.

    Under "family" no judge may be of a family that trains; under "leave one out", the protocol of the paper, no
    judge may itself train, nor its teacher or student. Raises ValueError that names the overlap, and for unknown names.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, got {split!r}")
    train, judges = [spec(name) for name in train_names], [spec(name) for name in judge_names]
    refuse_judges(row.name for row in train)
    guilty = [row for row in judges if any(related(row.name, other.name, split) for other in train)]
    if guilty:
        judged = ", ".join(f"{row.name} (family {row.family})" for row in guilty)
        trained = ", ".join(f"{row.name} (family {row.family})" for row in train)
        raise ValueError(f"{judged} cannot judge under the {split!r} split, because training uses {trained}.")


def related(one: str, other: str, split: str = "family") -> bool:
    """Whether two names are of networks that may not stand on both sides of a split."""
    return kin(one, other) or (split == "family" and spec(one).family == spec(other).family)


def kin(one: str, other: str) -> bool:
    """Whether two names are of one recogniser, or of a teacher and the network distilled from it."""
    return one == other or one in spec(other).teachers or other in spec(one).teachers


def partition(split: str, held_out: str, names: Iterable[str] = OPEN) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (those that train, those held out as judges) of ``names``.

    Under "family" ``held_out`` is a family: the honest split, since relatives share what fools them. Under "leave one
    out", the protocol of the paper, it is one name; its teachers or students take no part then. One that can only
    judge is a judge under both. Raises ValueError where nothing is left on a side.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, got {split!r}")
    names = tuple(names)
    held = [row for row in map(spec, names) if held_out == (row.family if split == "family" else row.name)]
    judges = tuple(name for name in names if spec(name) in held or spec(name).judge_only)
    train = tuple(name for name in names if not any(related(name, judge, split) for judge in judges))
    if not held or not train:
        choices = sorted({spec(name).family for name in names}) if split == "family" else names
        raise ValueError(f"held_out is {held_out!r}; under the split {split!r} choose one of {', '.join(choices)}")
    refuse_overlap(train, judges, split)
    return train, judges
