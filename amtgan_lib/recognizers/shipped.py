"""Recognisers that come with the package: one safetensors file each, which says what it is and where it came from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from amtgan_lib.files import read_safetensors, write_safetensors
from amtgan_lib.recognizers.table import RecognizerSpec, spec

NOTEBOOKS = "02b_train_recognizers or 02c_distil_recognizer"


def save_shipped(network: nn.Module, name: str, path: str | Path, facts: Mapping[str, Any]) -> Path:
    """Write the weights of `network` and `facts` (JSON values; "thresholds": {far: cosine}, provenance) to `path`.

    Kernels and matrices are stored as float16, which is most of the size; vectors, such as the batch statistics, stay
    float32. The file appears whole or not at all.

    Raises ValueError for a name that is not one of ours and for weights that are not finite in float16, RuntimeError
    where `network` is not the network of `name`.
    """
    _shipped_spec(name).builder().load_state_dict(network.state_dict(), strict=True)
    tensors = {key: _halved(key, value) for key, value in network.state_dict().items()}
    return write_safetensors(Path(path), tensors, {"facts": {**facts, "name": name}})


def read_shipped(path: str | Path) -> tuple[RecognizerSpec, nn.Module, dict[str, Any]]:
    """Return the row, the network (float32, eval mode) and the facts of a file from `save_shipped`.

    Raises FileNotFoundError where there is no file, ValueError where it is not one that we wrote, RuntimeError where
    an entry is missing or superfluous.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there are no weights of this recogniser; notebook {NOTEBOOKS} makes them")
    try:
        tensors, (facts,) = read_safetensors(path, "facts")
        row = _shipped_spec(facts["name"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no file from notebook {NOTEBOOKS}: {error}") from error
    network = row.builder()
    network.load_state_dict(tensors, strict=True)
    return row, network.eval(), facts


def _shipped_spec(name: str) -> RecognizerSpec:
    row = spec(name)
    if not row.shipped:
        raise ValueError(f"{name} is no recogniser that this project trains")
    return row


def _halved(key: str, value: torch.Tensor) -> torch.Tensor:
    """Return a contiguous copy on the CPU, matrices in float16; integers, such as batch counters, as they are."""
    stored = value.detach().cpu().contiguous()
    stored = stored.half() if stored.ndim > 1 else stored
    if not bool(stored.isfinite().all()):
        raise ValueError(f"{key} is not finite in float16; the training diverged")
    return stored
