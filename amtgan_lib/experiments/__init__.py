"""What notebooks do to many photos: protect pairs, set methods side by side, take one apart, let adversaries try."""

from amtgan_lib.experiments.ablation import Ablation
from amtgan_lib.experiments.adversaries import Denoising
from amtgan_lib.experiments.any_target import AnyTarget
from amtgan_lib.experiments.comparison import Comparison
from amtgan_lib.experiments.pairs import check_reports, protect_each, protect_pairs, signed
from amtgan_lib.experiments.panel import Panel, by_way, undoing
