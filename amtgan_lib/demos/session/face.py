"""One face opened once: what each makeup would change in it, ready to be blended by sliders."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from amtgan_lib.demos.session.kits import Kit, StudioError
from amtgan_lib.faces import FaceCrop
from amtgan_lib.models import OWN_STRENGTH, region_changes

Style = FaceCrop | None  # a makeup reference; None: the face's own makeup
MOST = {"strength": 1.0, "lips": 2.0, "eyes": 2.0, "skin": 1.0, "protection": 1.5, "mix": 1.0}


@dataclass(frozen=True)
class Settings:
    """Where the sliders stand.

    strength scales the whole change (0 gives the photo back, bit for bit). lips, eyes: the reference's makeup there, 1
    as it is worn. skin: the way to the reference's complexion, which makeup transfer leaves alone (0). protection: the
    change for recognisers, 1 as the generator gives it; at 0 only makeup is left, which protects nobody. mix: from the
    first reference (0) to the second (1). StudioError for a number outside 0 to MOST.
    """

    strength: float = 1.0
    lips: float = 1.0
    eyes: float = 1.0
    skin: float = 0.0
    protection: float = 1.0
    mix: float = 0.0

    def __post_init__(self):
        for name in (field.name for field in fields(self)):
            if not 0 <= getattr(self, name) <= MOST[name]:
                raise StudioError(f"{name} is {getattr(self, name)}; expected a number from 0 to {MOST[name]:g}")

    @classmethod
    def of(cls, kit: Kit) -> Settings:
        """What ``protect`` does with this kit's generator."""
        lips, skin, eyes = OWN_STRENGTH[kit.network.transfer]
        return cls(lips=lips, skin=skin, eyes=eyes)


@dataclass(frozen=True, eq=False)
class Look:
    """One makeup on one face, in [-1,1] units at the size S of the crop.

    regions (3,3,S,S): what it changes in lip, skin and eyes; gamma, beta: its makeup matrices; guard (3,S,S): the
    change for recognisers that the generator adds with them; later (3,S,S): what its further passes add to that.
    """

    regions: Tensor
    gamma: Tensor
    beta: Tensor
    guard: Tensor
    later: Tensor


class Face:
    """A face and every makeup that was tried on it so far."""

    def __init__(self, crop: FaceCrop, kit: Kit):
        self.crop, self.kit = crop, kit
        self._looks: dict[Style, Look] = {}
        self._mix: tuple[tuple[Style, Style, float], Look] | None = None

    def change(self, settings: Settings, first: Style = None, second: Style = None) -> Tensor:
        """The changed crop (3,S,S) in [-1,1]; with ``Settings.of(kit)`` what the protector gives for ``first``."""
        image, look = self.crop.image, self.look(first, second, settings.mix)
        amounts = torch.tensor([settings.lips, settings.skin, settings.eyes]).view(3, 1, 1, 1)
        worn = (image + (amounts * look.regions).sum(0)).clamp(-1, 1)
        guarded = (worn + settings.protection * look.guard).clamp(-1, 1) + settings.protection * look.later
        return (image + settings.strength * (guarded.clamp(-1, 1) - image)).clamp(-1, 1)

    def look(self, first: Style, second: Style = None, mix: float = 0.0) -> Look:
        """The look of one reference, or of two mixed: their matrices and changes interpolated."""
        if mix in (0, 1):
            return self._single(second if mix else first)
        asked = (first, second, mix)
        if self._mix is None or self._mix[0] != asked:
            self._mix = asked, self._mixed(self._single(first), self._single(second), mix)
        return self._mix[1]

    def tried(self, mix: float, first: Style = None, second: Style = None) -> bool:
        """Whether all that is slow about this look is done already."""
        needed = [style for style, share in ((first, 1 - mix), (second, mix)) if share]
        return all(style in self._looks for style in needed)

    def _single(self, style: Style) -> Look:
        if style not in self._looks:
            self._looks[style] = self._seen(style or self.crop)
        return self._looks[style]

    @torch.no_grad()
    def _seen(self, other: FaceCrop) -> Look:
        """The protector's own result, taken apart. The slow part: everything that a slider does not change."""
        crop, network = self.crop, self.kit.network
        pair = crop.image[None], other.image[None]
        sides = [side[None] for side in (crop.masks, other.masks, crop.landmarks, other.landmarks)]
        regions = region_changes(network.transfer, *pair, *sides)[:, 0]
        gamma, beta = network.makeup_matrices(*pair, *sides, self._hints)
        guard = self._guard(gamma, beta)
        first_pass = (network.start(*pair, *sides)[0] + guard).clamp(-1, 1)
        return Look(regions, gamma, beta, guard, self.kit.method.change(crop, other) - first_pass)

    @torch.no_grad()
    def _mixed(self, one: Look, two: Look, mix: float) -> Look:
        names = ("regions", "gamma", "beta", "later")
        between = {name: torch.lerp(getattr(one, name), getattr(two, name), mix) for name in names}
        return Look(**between, guard=self._guard(between["gamma"], between["beta"]))

    def _guard(self, gamma: Tensor, beta: Tensor) -> Tensor:
        """The change that the generator adds, without the start that it is added to."""
        image, masks = self.crop.image[None], self.crop.masks[None]
        start = torch.zeros_like(image)
        return self.kit.network.apply_makeup(image, gamma, beta, self._hints, start, masks)[0]

    @functools.cached_property
    def _hints(self) -> Tensor | None:
        return self.kit.hints(self.crop)
