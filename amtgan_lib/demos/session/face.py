"""One face opened once: the look that each makeup gives it, to be worn as strongly as sliders say."""

from __future__ import annotations

from dataclasses import dataclass, fields

from amtgan_lib.demos.session.kits import StudioError
from amtgan_lib.faces import FaceCrop
from amtgan_lib.methods.method import Method, Painting
from amtgan_lib.models.rendering import PARTS, Worn

Style = FaceCrop | None  # a makeup reference; None: the face stays bare


@dataclass(frozen=True)
class Settings:
    """Where the sliders stand: shares from 0 to 1, StudioError for another number.

    strength scales the whole look (0 gives the photo back, bit for bit), and the fields named as PARTS each part of it;
    all 1 is what ``protect`` does. mix: from the look of the first reference (0) to that of the second (1).
    """

    strength: float = 1.0
    shape: float = 1.0
    light: float = 1.0
    contour: float = 1.0
    blush: float = 1.0
    brows: float = 1.0
    lips: float = 1.0
    lids: float = 1.0
    liner: float = 1.0
    mix: float = 0.0

    def __post_init__(self):
        for name in (field.name for field in fields(self)):
            if not 0 <= getattr(self, name) <= 1:
                raise StudioError(f"{name} is {getattr(self, name)}; expected a number from 0 to 1")

    @property
    def shares(self) -> dict[str, float]:
        """How strongly each part is worn."""
        return {part: self.strength * getattr(self, part) for part in PARTS}


class Face:
    """A face and every makeup that was tried on it so far."""

    def __init__(self, crop: FaceCrop, method: Method):
        self.crop, self.method = crop, method
        self._tried: dict[Style, Worn] = {}

    def painting(self, settings: Settings, first: Style = None, second: Style = None) -> Painting:
        """What is worn, for the crop and its photo; with ``Settings()`` what the protector gives for ``first``."""
        worn = self.worn(first, second, settings.mix)
        return Painting(worn.fields(settings.shares), worn.look)

    def worn(self, first: Style, second: Style = None, mix: float = 0.0) -> Worn:
        """The look of one reference, or of two mixed."""
        if mix in (0, 1):
            return self._single(second if mix else first)
        one, two = self._single(first), self._single(second)
        return Worn(one.regions, one.look.mixed(two.look, mix))

    def tried(self, mix: float, first: Style = None, second: Style = None) -> bool:
        """Whether all that is slow about this look is done already."""
        needed = [style for style, share in ((first, 1 - mix), (second, mix)) if share]
        return all(style in self._tried for style in needed)

    def _single(self, style: Style) -> Worn:
        """The slow part: the search for a look, which no slider changes."""
        if style not in self._tried:
            self._tried[style] = self.method.wear(self.crop, style or self.crop, None)
        return self._tried[style]
