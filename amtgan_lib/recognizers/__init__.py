"""Face recognisers: the four of the paper, and an open zoo, in one table."""

from amtgan_lib.recognizers.alignment import align
from amtgan_lib.recognizers.recognizer import Recognizer, build, load
from amtgan_lib.recognizers.table import (
    NAMES,
    OPEN,
    PUBLISHED,
    RecognizerSpec,
    families,
    partition,
    refuse_overlap,
    spec,
)

__all__ = [
    "NAMES",
    "OPEN",
    "PUBLISHED",
    "Recognizer",
    "RecognizerSpec",
    "align",
    "build",
    "families",
    "load",
    "partition",
    "refuse_overlap",
    "spec",
]
