"""Training one generator: the D, G and H steps of the paper, the residual recipes' single one, or Adv-Makeup's."""

from amtgan_lib.training.assembly import PARAMETERS, Run, assembled
from amtgan_lib.training.config import TrainConfig, build_generator
from amtgan_lib.training.trainer import Trainer, TrainingError, export, train
