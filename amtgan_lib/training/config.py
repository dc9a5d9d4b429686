"""Everything that decides a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amtgan_lib import compute
from amtgan_lib.hints import HINT_CHANNELS
from amtgan_lib.losses import InputDiversity
from amtgan_lib.models import EyeShadow, Generator
from amtgan_lib.recipes import recipe
from amtgan_lib.recognizers import refuse_judges

# Not the modes with CUDA graphs: there a network's next call overwrites its result, and a step calls G many times.
COMPILE_MODES = ("off", "default", "max-autotune-no-cudagraphs")
NOISY = InputDiversity()
# For recognisers that see aligned faces: little noise (the published 0.3 of the range drowns a bounded change), but
# what two systems really differ in. Without it a generator fits its few training recognisers instead of faces: at 200
# steps unseen EdgeFaces accepted 0.7 of the test photos without and 0.8 with it, at the same SSIM (trial, n = 48).
ALIGNED = InputDiversity(noise_scale=0.02, resize_probability=0, flip_probability=0.5, exposure=0.3, jitter=0.012)


@dataclass(frozen=True)
class TrainConfig:
    """One run. The defaults are the paper's size; presets name what differs."""

    recipe: str = "corrected"
    recognizers: tuple[str, ...] = ()  # those that are trained against
    size: int = 256
    width: int = 64
    bottlenecks: int = 6
    regularizer_blocks: int = 4
    regularizer_width: int = 64
    discriminator_width: int = 64
    bound: float = 0.25  # residual output: largest change of a pass, in [-1,1] units (32 of 255 levels)
    tint: float = 1.0  # residual output: how much colour a change may have outside lips and lids, see ``Generator``
    batch: int = 1
    steps: int = 13_595  # 5 epochs of 2719 unpaired picks
    start: str = ""  # the networks of an earlier training to begin with: a file, or a name of beginning.COME_ALONG
    # With H: the first steps, in which G and H only learn to give a face back, and the discriminators to tell it from a
    # photo; 0 is published.
    warm_up: int = 0
    alike: int = 0  # references of the most similar skin among which each source gets its own; 0, all, is published
    views: int = 5  # random views a step and recogniser
    learning_rate: float = 2e-4
    # Share of the steps after the warm-up, from which on the rate falls linearly to 2 %; 1, never, is published.
    decay_from: float = 1.0
    discriminator_rate: float = 1.0  # of the discriminators, times that of G and H (Heusel et al., NeurIPS 2017)
    seed: int = 0
    transfer: str = "colours"  # what the residual output starts from, see ``Generator``
    attack: float = 1.0  # factor on the generator's adversarial and dodging weights
    precision: str = "auto"  # "float32", "bfloat16", or what the device does natively, see ``compute.precision``
    checkpointing: bool = False  # of G and H: less memory, more time, the same gradients
    compile_mode: str = "off"  # of G, H and D: a mode of torch.compile, see COMPILE_MODES
    device: str = "cpu"

    def __post_init__(self):
        recipe(self.recipe)
        if isinstance(self.recognizers, str) or not self.recognizers:
            raise ValueError(f"recognizers is {self.recognizers!r}; expected the names of those to train against")
        refuse_judges(self.recognizers)
        compute.check_precision(self.precision)
        if self.compile_mode not in COMPILE_MODES:
            raise ValueError(f"compile_mode is {self.compile_mode!r}; expected one of {', '.join(COMPILE_MODES)}")
        if recipe(self.recipe).any_target and self.transfer != "makeup":
            raise ValueError(
                f"transfer is {self.transfer!r}; any_target looks at its own results, and only 'makeup' "
                "leaves a face in its own makeup as it is"
            )
        object.__setattr__(self, "recognizers", tuple(self.recognizers))  # JSON has lists only

    def told(self) -> dict[str, Any]:
        """What a file of weights, which others may get, says of it: all, but no folders of this computer."""
        return {**asdict(self), "start": Path(self.start).name}


def build_generator(config: TrainConfig) -> Generator | EyeShadow:
    """The generator of a configuration, freshly initialised."""
    how = recipe(config.recipe)
    if how.output == "eyes":
        return EyeShadow(config.width, config.bottlenecks)
    return Generator(
        config.width,
        config.bottlenecks,
        output=how.output,
        bound=config.bound,
        tint=config.tint,
        transfer=config.transfer,
        hint_channels=HINT_CHANNELS if how.any_target else 0,
    )
