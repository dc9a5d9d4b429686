"""Face recognisers in one table: the four of the paper, an open zoo, and four small ones of the drawn world."""

from amtgan_lib.recognizers.alignment import align
from amtgan_lib.recognizers.drawn import read_drawn, save_drawn
from amtgan_lib.recognizers.recognizer import Recognizer, build, load, load_drawn
from amtgan_lib.recognizers.table import (
    DRAWN,
    NAMES,
    OPEN,
    PUBLISHED,
    RecognizerSpec,
    families,
    partition,
    refuse_overlap,
    spec,
    zoo,
)

__all__ = [
    "DRAWN",
    "NAMES",
    "OPEN",
    "PUBLISHED",
    "Recognizer",
    "RecognizerSpec",
    "align",
    "build",
    "families",
    "load",
    "load_drawn",
    "partition",
    "read_drawn",
    "refuse_overlap",
    "save_drawn",
    "spec",
    "zoo",
]
