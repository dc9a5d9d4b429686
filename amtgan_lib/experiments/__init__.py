"""What notebooks do to many photos: protect pairs by every method, set methods side by side, take one apart."""

from amtgan_lib.experiments.ablation import Ablation
from amtgan_lib.experiments.any_target import AnyTarget
from amtgan_lib.experiments.comparison import Comparison
from amtgan_lib.experiments.pairs import check_reports, protect_each, protect_pairs, signed

__all__ = ["Ablation", "AnyTarget", "Comparison", "check_reports", "protect_each", "protect_pairs", "signed"]
