"""The networks of AMT-GAN: generator, regularization module, discriminator, and their published checkpoints."""

from amtgan_lib.models.discriminator import Discriminator
from amtgan_lib.models.eye_shadow import EyeShadow, eye_area
from amtgan_lib.models.generator import Generator
from amtgan_lib.models.initialization import initialize
from amtgan_lib.models.makeup import makeup_transfer
from amtgan_lib.models.morphing import region_counts
from amtgan_lib.models.published import load_published
from amtgan_lib.models.regularizer import Regularizer
from amtgan_lib.models.stored import load_generator, save_generator
