"""Drawn faces: people, makeups and moments from numbers, with exact landmarks and regions; no photograph needed."""

from amtgan_lib.portraits.drawing import Portraits, draw
from amtgan_lib.portraits.traits import (
    IDENTITY,
    MAKEUP,
    OPACITIES,
    SCENE,
    Traits,
    makeups,
    no_makeup,
    people,
    scenes,
    taken_off,
)
