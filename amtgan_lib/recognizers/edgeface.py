"""EdgeFace (George et al., arXiv 2307.01838): timm's EdgeNeXt with an embedding of 512 values."""

from collections.abc import Mapping
from typing import Any

import torch

from amtgan_lib.recognizers.staged import StagedNetwork, run

_PACKED = "._packed_params._packed_params"
_QUANTISER_ENTRIES = (".scale", ".zero_point", "._packed_params.dtype")


class EdgeFace(StagedNetwork):
    """An EdgeNeXt body with four stages, 112 x 112, 512 values, not normalised."""

    def __init__(self, variant: str):
        super().__init__()
        import timm  # slow to import, and needed by this network only

        self.model = timm.create_model(variant, pretrained=False)
        self.model.reset_classifier(512)

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See StagedNetwork; 4 maps."""
        return run(self.model.stem(images), self.model.stages)

    def head(self, last: torch.Tensor) -> torch.Tensor:
        """See StagedNetwork."""
        return self.model.forward_head(self.model.norm_pre(last))


def dequantised(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return a state dict of `EdgeFace` from a published one whose linear layers are 8-bit.

    A dynamically quantised linear layer is stored as one entry (quantised weight, bias); its activation scale and
    zero point belong to the integer kernels and are dropped. The weights keep their 8-bit values, in float32, so
    that the network has a gradient. (The XS file has full linear layers in it, not the low-rank ones of the paper.)
    """
    floats: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        if name.endswith(_PACKED):
            weight, bias = value
            floats[name.removesuffix(_PACKED) + ".weight"] = weight.dequantize()
            floats[name.removesuffix(_PACKED) + ".bias"] = bias.detach()
        elif not name.endswith(_QUANTISER_ENTRIES):
            floats[name] = value
    return floats
