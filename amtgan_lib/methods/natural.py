"""The recipe ``natural``: for each photo, the look that recognisers know least, among those that a face can wear.

No network draws. The few hundred numbers of a :class:`~amtgan_lib.models.rendering.Look` are found by Adam, from the
gradients of the recognisers at hand, each step through another random view of the face.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib.compute import crew
from amtgan_lib.faces import FaceCrop, FaceError
from amtgan_lib.faces.parts import face_regions
from amtgan_lib.losses import EVERYDAY, seen_colours, seen_difference
from amtgan_lib.methods.generator import Guide
from amtgan_lib.methods.kindness import Manners, strain
from amtgan_lib.methods.method import NOBODY, Method, MethodError
from amtgan_lib.models.face_regions import Regions
from amtgan_lib.models.rendering import BARE, LIDS, LIPS, PARTS, Look, Worn, applied, mixture, paint
from amtgan_lib.recognizers import LAX, Known, Recognizer

NAME = "natural"
SIZE = 256
# Looks are searched for in a smaller crop, where a step takes two thirds of the time and a recogniser sees as much of
# the face; colours are compared at a size where a step has the time for it.
SEARCHED, COMPARED = 160, 64


@dataclass(frozen=True)
class Search:
    """How a look is found: Adam's steps and the rate of the first, which falls to SLOWEST of it; what its loss weighs.

    more: how often half as many steps follow, each time with recognition weighed MORE times as much, where one of the
    recognisers still knows the face; away: the cosine to the owner, mirrored or not, as the mean over the known photos;
    towards: 1 - the cosine to nobody, towards_if_known: where photos of this person are known, towards_a_person: to
    somebody; visible: the mean square of S-CIELAB; rough: of differences between neighbours of the lattice; strained:
    the mean fourth power of strain, in units of STRAIN; unkind: squares of what SHRINKING, GROWING and RIDGE say, in
    eye distances; makeup: of the way from the reference's colours. reach: how far a face may move, times REACH.
    """

    steps: int = 30
    more: int = 3
    rate: float = 0.25
    away: float = 1.0
    towards: float = 0.5
    towards_if_known: float = 0.1
    towards_a_person: float = 2.0
    visible: float = 0.0055
    rough: float = 0.45
    strained: float = 3.0
    unkind: float = 25.0
    makeup: float = 0.15
    reach: float = 1.0
    seed: int = 0


QUICK = Search(steps=16, more=2)
# Farther moves need more kindness: at 25, some noses grew grotesque. Of 32 training people, networks that gave no hints
# knew as few at 75; of 95 test people they knew 5 to 8 in a hundred more.
STRONGER = Search(more=4, reach=1.6, unkind=75.0)
# A face counts as known above the threshold of a lax false accept rate. That is stricter than where faces are judged,
# since a recogniser that gave no hints lets go of a face later than those that did.
MORE = 3.2
# Where recognition comes to weigh more, these do, too, by such a power: torn skin or a scowl is no way out.
HARDER = {"strained": 0.75, "unkind": 0.5}
EVENNESS = 0.3  # of recognisers' weights, in cosines: the smaller, the more counts the one that knows a face best
SLOWEST = 0.3  # share of the rate of Adam's first step that is left at the last one
AGAIN = 10  # steps of the first round, if a search begins with the look of the frame before


def method(guide: Guide, search: Search = Search()) -> Method:
    """The method that searches for a look towards a guide's target; without a makeup reference a face stays bare."""

    def wear(crop: FaceCrop, reference: FaceCrop, begin: Look | None = None) -> Worn:
        again = replace(search, steps=min(AGAIN, search.steps), rate=search.rate / 2)
        makeup = None if reference is crop else reference
        return worn(crop, guide, makeup, search if begin is None else again, begin)

    def draw(crop: FaceCrop, reference: FaceCrop) -> Tensor:
        return wear(crop, reference).on(crop.image)

    def knowing(known: Known) -> Method:
        return method(replace(guide, known=known), search)

    def dressed(crop: FaceCrop, look: Look) -> Worn:
        return Worn(_regions(crop, search), look)

    about = {"target": guide.target.name, "recognizers": tuple(each.name for each in guide.recognizers)}
    about |= {"wear": wear, "knowing": knowing, "dressed": dressed, "identity": lambda: _identity(guide, search)}
    return Method(NAME, draw, SIZE, guide=guide, **about)


def _identity(guide: Guide, search: Search) -> str:
    """All that a look depends on but the faces, as a digest."""
    networks = [[each.name, each.weights_sha256] for each in guide.recognizers]
    digest = hashlib.sha256(json.dumps([NAME, SIZE, asdict(search), guide.target.name, networks]).encode())
    known = [guide.known.images, guide.known.points] if guide.known else []
    for tensor in (*guide.target.of(guide.recognizers), *known):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _regions(crop: FaceCrop, search: Search) -> Regions:
    found = face_regions(crop.image, crop.mesh)
    return replace(found, moving=search.reach * found.moving)


def worn(
    crop: FaceCrop,
    guide: Guide,
    reference: FaceCrop | None = None,
    search: Search = Search(),
    begin: Look | None = None,
) -> Worn:
    """The look that moves a face from its owner to the guide's target, bare or in the makeup of a ``reference``.

    begin: a look to start from, such as that of the frame before. FaceError for a crop without its mesh,
    MethodError where the recognisers' answers are not finite.
    """
    if crop.mesh is None or (reference is not None and reference.mesh is None):
        raise FaceError(f"{crop.name}: this face was not found by its mesh, so no look fits it")
    regions = _regions(crop, search)
    plain = Look.plain(regions, BARE if reference is None else PARTS)
    colours = {} if reference is None else reference_colours(crop, regions, reference)
    start = Look(**{**plain.worn(), **colours, **(begin.worn() if begin else {})})
    numbers = {part: value.clone().requires_grad_(True) for part, value in start.worn().items()}
    with crew(len(guide.recognizers)) as share:
        loss = Loss(crop.smaller(SEARCHED), regions.smaller(SEARCHED), guide, search, colours, share)
        _improve(numbers, loss)
    return Worn(regions, Look(**{part: value.detach() for part, value in numbers.items()}))


def _improve(numbers: dict[str, Tensor], loss: Loss) -> None:
    """Search on from these numbers of a look, in place, as the loss's own search says."""
    search = loss.search
    draw = torch.Generator().manual_seed(search.seed)
    adam = Adam(search.rate, list(numbers.values()))
    for part in range(1 + search.more):
        steps = search.steps // (2 if part else 1)
        for at in range(steps):
            adam.rate = search.rate * (1 - (1 - SLOWEST) * at / steps)
            with torch.enable_grad():
                cost = loss(Look(**numbers), draw)
            gradients = torch.autograd.grad(cost, adam.numbers)
            if not all(bool(torch.isfinite(each).all()) for each in gradients):  # torch crashes on such a look
                raise MethodError(f"{loss.name}: the recognisers gave hints with values that are not finite")
            adam.step(gradients)
        if part == search.more or not loss.still_known(Look(**numbers)):
            break
        loss.weight *= MORE


class Adam:
    """Kingma and Ba's Adam (ICLR 2015). That of ``torch.optim`` takes longer to import than a first photo may take."""

    def __init__(self, rate: float, numbers: Sequence[Tensor], betas: tuple[float, float] = (0.9, 0.99)):
        self.rate, self.numbers, self.betas, self.steps = rate, numbers, betas, 0
        self.moments = [(torch.zeros_like(each), torch.zeros_like(each)) for each in numbers]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move the numbers against their gradients."""
        self.steps += 1
        fades = [1 - beta**self.steps for beta in self.betas]
        for number, gradient, (mean, square) in zip(self.numbers, gradients, self.moments, strict=True):
            mean.lerp_(gradient, 1 - self.betas[0])
            square.lerp_(gradient.square(), 1 - self.betas[1])
            number.sub_(self.rate * mean / fades[0] / ((square / fades[1]).sqrt() + 1e-8))


class Loss:
    """What a look of one face costs: how well it is recognised, and how plainly and unkindly it is seen."""

    def __init__(
        self,
        crop: FaceCrop,
        regions: Regions,
        guide: Guide,
        search: Search,
        colours: Mapping[str, Tensor],
        share: Callable[..., Iterable] = map,
    ):
        self.name, self.share = crop.name, share
        self.regions, self.search, self.colours = regions, search, colours
        self.image, self.points = crop.image[None], crop.points[None]
        self.manners = Manners(crop.mesh, crop.size)
        self.recognizers: Sequence[Recognizer] = guide.recognizers
        self.spared: list[int] = []  # recognisers that a step is yet to leave out
        self.weight = 1.0  # of recognition, against all that is seen
        self.targets = guide.target.of(guide.recognizers)
        clean = Known(crop.image[None], crop.points[None])
        self.clean = [clean.embedded(each)[0, 0] for each in self.recognizers]
        known = guide.known and guide.known.showing(self.clean, self.recognizers)
        self.owners = [(known or clean).embedded(each) for each in self.recognizers]
        nobody = search.towards_if_known if known else search.towards
        self.towards = nobody if guide.target.name == NOBODY else search.towards_a_person
        self.seen = self.colours_of(self.image)

    def __call__(self, look: Look, draw: torch.Generator) -> Tensor:
        """The cost, a scalar, in a view that the generator draws."""
        fields = paint(self.regions, look)
        drawn = applied(self.image, fields)
        weigh = self.search
        asked = self.turn(draw)
        cost = self.weight * self.known(*EVERYDAY(drawn, self.points, draw), asked)
        cost = cost + weigh.visible * seen_difference(self.colours_of(drawn), self.seen).square().mean()
        if look.shape is not None:
            bends = look.shape.diff(dim=-1).square().mean() + look.shape.diff(dim=-2).square().mean()
            unkind = self.weight ** HARDER["unkind"] * weigh.unkind * self.manners.unkind(fields.flow)
            strained = self.weight ** HARDER["strained"] * weigh.strained * strain(fields.flow).square().mean()
            cost = cost + weigh.rough * bends + unkind + strained
        for part, colour in self.colours.items():
            cost = cost + weigh.makeup * (look.worn()[part] - colour).square().mean()
        return cost

    def turn(self, draw: torch.Generator) -> list[int]:
        """Which recognisers a step asks: of three or more all but one, which all are in turn."""
        everyone = list(range(len(self.recognizers)))
        if len(everyone) < 3:
            return everyone
        self.spared = self.spared or torch.randperm(len(everyone), generator=draw).tolist()
        everyone.remove(self.spared.pop())
        return everyone

    def colours_of(self, image: Tensor) -> Tensor:
        """The colours of an image as they are seen, at a size of COMPARED or little more."""
        return seen_colours(F.avg_pool2d(image, max(image.shape[-1] // COMPARED, 1)))

    def known(self, view: Tensor, points: Tensor, asked: Sequence[int]) -> Tensor:
        """How well the recognisers ``asked`` know the owner and miss the target: a mean in which the worst count most.

        Each is asked on a thread of its own, its gradient in the view included.
        """

        def ask(number: int) -> tuple[Tensor, Tensor]:
            seen = view.detach().requires_grad_(True)
            with torch.enable_grad():
                (found,) = self.recognizers[number].embed(seen.clamp(-1, 1), points)
                away, missed = (self.owners[number] @ found).amax(1).mean(), 1 - found @ self.targets[number]
                cost = self.search.away * away + self.towards * missed
            return cost.detach(), *torch.autograd.grad(cost, seen)

        costs, slopes = (torch.stack(each) for each in zip(*self.share(ask, asked)))
        weights = torch.softmax(costs / EVENNESS, 0)
        # What this adds is 0, and its gradient is the one that was found.
        return weights @ costs + ((view - view.detach()) * torch.einsum("k,k...->...", weights, slopes)).sum()

    @torch.no_grad()
    def still_known(self, look: Look) -> bool:
        """Whether a recogniser takes the face in this look for that of its clean photo, the hardest to get away from.

        One without thresholds says nothing.
        """
        drawn = applied(self.image, paint(self.regions, look), "bicubic")
        for network, clean in zip(self.recognizers, self.clean, strict=True):
            (found,) = network.embed(drawn, self.points)
            if LAX in network.thresholds and clean @ found > network.thresholds[LAX]:
                return True
        return False


def reference_colours(crop: FaceCrop, regions: Regions, reference: FaceCrop) -> dict[str, Tensor]:
    """The numbers of lips and lids that bring their colours, beside a face's own skin, to those of the reference."""
    others = face_regions(reference.image, reference.mesh)
    found = {}
    for part, bounds in (("lips", LIPS), ("lids", LIDS)):
        wanted = _beside_skin(reference.image, getattr(others, part)[0, 0], others.skin[0, 0])
        own = _beside_skin(crop.image, getattr(regions, part)[0, 0], regions.skin[0, 0])
        numbers = mixture(wanted - own, bounds)
        # The outer corner of a lid begins as the rest of it.
        found[part] = numbers[None] if part == "lips" else torch.stack([numbers, torch.zeros(3)])[None]
    return found


def _beside_skin(image: Tensor, where: Tensor, skin: Tensor) -> Tensor:
    """(3,) logarithms of a region's mean colour over that of the skin; 0 where one of them is not seen."""
    if where.sum() < 1 or skin.sum() < 1:
        return torch.zeros(3)
    light = (image + 1) / 2 + 0.02
    part, rest = ((light * mask).sum((1, 2)) / mask.sum() for mask in (where, skin))
    return (part / rest).log()


def only(method: Method, parts: Sequence[str]) -> Method:
    """The same method, but of the look that it finds only these parts are worn: to see what each of them buys."""

    def part_of(found: Worn) -> Worn:
        look = Look(**{part: value for part, value in found.look.worn().items() if part in parts})
        return Worn(found.regions, look)

    return method.wrapped(lambda wear: lambda *faces: part_of(wear(*faces)))


def moved(crop: FaceCrop, look: Worn) -> Tensor:
    """How far each of the 478 points of a face's mesh is moved, as a share of the distance of the eyes."""
    y, x = crop.mesh.round().long().clamp(0, crop.size - 1).T
    return look.fields().flow[0][:, y, x].norm(dim=0) / (crop.mesh[468] - crop.mesh[473]).norm()
