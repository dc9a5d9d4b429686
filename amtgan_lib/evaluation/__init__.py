"""Scores of saved PNG files: is it still its owner, is it the target, can it be retrieved, what does it look like.

Nothing here knows how a photo was protected, so it can score anybody's method. Recognisers see aligned faces, found
anew in the file that is scored, as a real system would; raw scores are kept and thresholds applied later.
"""

from amtgan_lib.evaluation.pictures import (
    Probes,
    embed,
    makeup_distance,
    quality,
    read_probes,
    truth_error,
    whole_pictures,
)
from amtgan_lib.evaluation.scores import (
    FARS,
    Gallery,
    attack_success,
    calibrate,
    calibration_interval,
    equal_error_rate,
    hidden,
    impostor_scores,
    mean_interval,
    retrieved,
    success_rates,
    success_scores,
    verification_scores,
    wilson,
)
from amtgan_lib.evaluation.tables import (
    Judgement,
    calibration_table,
    mean_rows,
    pair_scores,
    picture_table,
    probes_by_method,
    read_thresholds,
    recognition_table,
    similarities,
    success_rows,
    two_photos,
)

__all__ = [
    "FARS",
    "Gallery",
    "Judgement",
    "Probes",
    "attack_success",
    "calibrate",
    "calibration_interval",
    "calibration_table",
    "embed",
    "equal_error_rate",
    "hidden",
    "impostor_scores",
    "makeup_distance",
    "mean_interval",
    "mean_rows",
    "pair_scores",
    "picture_table",
    "probes_by_method",
    "quality",
    "read_probes",
    "read_thresholds",
    "recognition_table",
    "retrieved",
    "similarities",
    "success_rates",
    "success_rows",
    "success_scores",
    "truth_error",
    "two_photos",
    "verification_scores",
    "whole_pictures",
    "wilson",
]
