"""Face recognisers in one table: the four of the paper, an open zoo, our own, dlib's, and four of the drawn world."""

from amtgan_lib.recognizers.alignment import align
from amtgan_lib.recognizers.known import Known
from amtgan_lib.recognizers.recognizer import (
    Judge,
    Recognizer,
    at_hand,
    build,
    embed_many,
    folded,
    judges_at_hand,
    load,
    load_shipped,
)
from amtgan_lib.recognizers.shipped import read_shipped, save_shipped
from amtgan_lib.recognizers.table import (
    DRAWN,
    FARS,
    JUDGES,
    LAX,
    NAMES,
    OPEN,
    OWN,
    PUBLISHED,
    USUAL,
    kin,
    partition,
    refuse_judges,
    refuse_overlap,
    related,
    spec,
    zoo,
)
