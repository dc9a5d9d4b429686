"""The training losses of AMT-GAN and the image measures built from the same parts, as pure tensor functions.

Images are float RGB (N,3,H,W) in [-1,1]; values outside, which the regularizer may produce, are clamped where a colour
level is needed. Networks are handed in as callables.
Sources: AMT-GAN (CVPR 2022, arXiv 2203.03121) and its published code; histogram loss from BeautyGAN and PSGAN.
"""

from amtgan_lib.losses.adversarial import EVERYDAY, InputDiversity, adversarial_loss, attack_losses, mirrored
from amtgan_lib.losses.blending import gradient_loss, style_loss, total_variation
from amtgan_lib.losses.distances import FeatureDistance, Perceptual, lpips_alex, mmd, perceptual
from amtgan_lib.losses.histogram import (
    histogram_distance,
    histogram_loss,
    histogram_loss_as_shipped,
    histogram_match,
    makeup_loss,
)
from amtgan_lib.losses.terms import (
    LossWeights,
    cycle_loss,
    identity_loss,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
    ssim,
)
from amtgan_lib.losses.visible import colour_difference, seen_colours, seen_difference
