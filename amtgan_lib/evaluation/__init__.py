"""Scores of saved PNG files: is it still its owner, is it the target, can it be retrieved, what does it look like.

Nothing here knows how a photo was protected, so it can score anybody's method. Recognisers see aligned faces, found
anew in the file that is scored, as a real system would; raw scores are kept and thresholds applied later.
"""

from amtgan_lib.evaluation.frechet import features, frechet_distance, frechet_table
from amtgan_lib.evaluation.groups import group_table, labels
from amtgan_lib.evaluation.pictures import (
    Probes,
    embed,
    face_flip,
    flip,
    makeup_distance,
    quality,
    read_probes,
    skin_change,
    stretched,
    truth_error,
    whole_pictures,
)
from amtgan_lib.evaluation.recognition import (
    calibration_table,
    false_accept_table,
    pair_scores,
    read_thresholds,
    recognition_table,
    thresholds_at,
    thresholds_by_rate,
    two_photos,
    vectors,
)
from amtgan_lib.evaluation.republishing import REPUBLISHED, WAYS, republish, republished
from amtgan_lib.evaluation.scores import (
    Gallery,
    area_interval,
    area_under_curve,
    attack_success,
    calibrate,
    calibration_interval,
    equal_error_rate,
    false_accepts,
    hidden,
    impostor_scores,
    mean_interval,
    success_rates,
    success_scores,
    verification_scores,
    wilson,
)
from amtgan_lib.evaluation.tables import (
    Judgement,
    mean_rows,
    picture_table,
    probes_by_method,
    quality_table,
    rates_at,
    success_rows,
)
from amtgan_lib.evaluation.verdicts import (
    COLOURS,
    NO_FACE,
    NOT_PROTECTED,
    PROTECTED,
    VERDICTS,
    WEAK,
    Answer,
    compared,
    same_face,
    verdict,
    with_thresholds,
    worst,
)
