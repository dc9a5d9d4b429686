"""A trained generator as one safetensors file that says how it is built and how it was trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from amtgan_lib.files import read_safetensors, write_safetensors
from amtgan_lib.models.eye_shadow import EyeShadow
from amtgan_lib.models.generator import Generator

NETWORKS = {"makeup transfer": Generator, "eye shadow": EyeShadow}  # files of the first do not name it


def save_generator(
    generator: Generator | EyeShadow, path: Path, facts: Mapping[str, Any], dtype: torch.dtype = torch.float32
) -> Path:
    """Write weights, build arguments and ``facts`` (JSON values: recipe, size, seed, ...) to ``path``.

    ``dtype`` float16 halves the file (25 MB at the paper's size); ``load_generator`` gives float32 in any case.
    """
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in generator.state_dict().items()}
    return write_safetensors(path, tensors, {"generator": generator.built, "facts": dict(facts)})


def load_generator(path: str | Path) -> tuple[Generator | EyeShadow, dict[str, Any]]:
    """The generator in eval mode and its facts; ValueError where the file is not one that we wrote."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such generator file; notebook 03_train writes one")
    try:
        tensors, (built, facts) = read_safetensors(path, "generator", "facts")
    except KeyError:
        told = f"{path} does not say how its generator is built; expected a file from notebook 03_train"
        raise ValueError(told) from None
    try:
        generator = NETWORKS[built.pop("network", "makeup transfer")](**built)
        generator.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=True)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} does not hold the generator that it describes; train it by notebook 03_train"
        ) from error
    generator.to(memory_format=torch.channels_last)  # a quarter faster on a CPU; it differs by rounding
    return generator.eval().requires_grad_(False), facts
