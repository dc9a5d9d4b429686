"""One photo, opened once, and sliders: makeup by region, its mix of two references, the change for recognisers.

Everything slow (faces, gradients of recognisers, makeup matrices, passes) is done once for a photo and a reference;
a slider only blends. What recognisers say is always asked of the 8-bit picture that is shown. No widget is needed.
"""

from amtgan_lib.demos.session.face import MOST, Face, Look, Settings
from amtgan_lib.demos.session.gallery import PEOPLE, Sample, makeups, people
from amtgan_lib.demos.session.kits import Kit, StudioError, at_hand, drawn_kit, kit, photo_kit
from amtgan_lib.demos.session.sitting import AS_IT_IS, Studio

__all__ = [
    "AS_IT_IS",
    "MOST",
    "PEOPLE",
    "Face",
    "Kit",
    "Look",
    "Sample",
    "Settings",
    "Studio",
    "StudioError",
    "at_hand",
    "drawn_kit",
    "kit",
    "makeups",
    "people",
    "photo_kit",
]
