"""Face recognisers in one table: the four of the paper, an open zoo, our own, dlib's, and four of the drawn world."""

from amtgan_lib.recognizers.alignment import align
from amtgan_lib.recognizers.recognizer import Judge, Recognizer, at_hand, build, embed_many, folded, load, load_shipped
from amtgan_lib.recognizers.shipped import read_shipped, save_shipped
from amtgan_lib.recognizers.table import (
    DRAWN,
    JUDGES,
    NAMES,
    OPEN,
    OWN,
    PUBLISHED,
    RecognizerSpec,
    families,
    kin,
    partition,
    refuse_judges,
    refuse_overlap,
    spec,
    zoo,
)

__all__ = [
    "DRAWN",
    "JUDGES",
    "NAMES",
    "OPEN",
    "OWN",
    "PUBLISHED",
    "Judge",
    "Recognizer",
    "RecognizerSpec",
    "align",
    "at_hand",
    "build",
    "embed_many",
    "families",
    "folded",
    "kin",
    "load",
    "load_shipped",
    "partition",
    "read_shipped",
    "refuse_judges",
    "refuse_overlap",
    "save_shipped",
    "spec",
    "zoo",
]
