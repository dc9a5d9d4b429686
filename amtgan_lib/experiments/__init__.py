"""What notebooks do to many photos: protect pairs by every method, set methods side by side, let adversaries try."""

from amtgan_lib.experiments.adversaries import Denoising
from amtgan_lib.experiments.any_target import AnyTarget
from amtgan_lib.experiments.comparison import Comparison
from amtgan_lib.experiments.pairs import check_reports, protect_each, protect_pairs, signed
from amtgan_lib.experiments.panel import Panel, by_way, undoing

__all__ = [
    "AnyTarget",
    "Comparison",
    "Denoising",
    "Panel",
    "by_way",
    "check_reports",
    "protect_each",
    "protect_pairs",
    "signed",
    "undoing",
]
