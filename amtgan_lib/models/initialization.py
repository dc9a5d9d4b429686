"""How a network starts."""

import torch
from torch import nn
from torch.nn.utils import parametrize

POWER_ITERATIONS = 15  # enough for the largest singular value of a fresh random matrix


def initialize(module: nn.Module) -> nn.Module:
    """Draw every convolution's weights anew, Xavier normal with gain 1 as published; return the same module.

    Biases and normalisations keep PyTorch's defaults, as published. A module with a ``quiet_start`` method has the
    last word on its own layers. Spectral norms are brought up to date with the new weights.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            normalised = parametrize.is_parametrized(layer, "weight")
            weight = layer.parametrizations.weight.original if normalised else layer.weight
            nn.init.xavier_normal_(weight)
            if normalised:
                _renew_spectral_norm(layer)
    for layer in module.modules():
        if hasattr(layer, "quiet_start"):
            layer.quiet_start()
    return module


@torch.no_grad()
def _renew_spectral_norm(layer: nn.Module) -> None:
    """Each reading of the weight in training mode is one power iteration."""
    was_training = layer.training
    layer.train()
    for _ in range(POWER_ITERATIONS):
        _ = layer.weight
    layer.train(was_training)
