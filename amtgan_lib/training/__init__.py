"""Training one generator: the D, G and H steps of the paper, or the residual recipes' single step."""

from amtgan_lib.training.assembly import assembled
from amtgan_lib.training.config import TrainConfig, build_generator
from amtgan_lib.training.trainer import History, Trainer, export, train

__all__ = ["History", "TrainConfig", "Trainer", "assembled", "build_generator", "export", "train"]
