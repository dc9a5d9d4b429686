"""Load the published checkpoints: one table from their names to ours, strict in both directions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from amtgan_lib.files import read_tensors
from amtgan_lib.models.discriminator import Discriminator
from amtgan_lib.models.generator import Generator
from amtgan_lib.models.regularizer import Regularizer

Kind = Literal["generator", "regularizer", "discriminator"]

# Two 1x1 convolutions of the published generator that no forward pass reads: 4 of its 12,615,620 parameters.
UNUSED = frozenset(f"atten_bottleneck_{part}.g.{entry}" for part in "gb" for entry in ("weight", "bias"))


def load_published(kind: Kind, source: str | Path | Mapping[str, Tensor]) -> nn.Module:
    """Build one of the published networks from its checkpoint.

    The published spectral norm makes one power iteration in every forward pass, in eval mode too; ours makes none in
    eval mode. So that iteration is made here once, and the effective weights in eval mode are those of the published
    network's first forward pass.

    Args:
        kind: "generator", "regularizer" or "discriminator".
        source: a checkpoint file, or a state dict with the published names.

    Returns:
        The module in eval mode, on the CPU.

    Raises:
        ValueError: an unknown kind; a key that is missing, unexpected, or of another shape.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind is {kind!r}; expected one of {', '.join(map(repr, _KINDS))}")
    build, names = _KINDS[kind]
    entries = source if isinstance(source, Mapping) else read_tensors(source)
    entries = {name: value for name, value in entries.items() if kind != "generator" or name not in UNUSED}
    module, table = build(), names()
    _check_names(kind, entries, table, module.state_dict())
    if kind == "discriminator":
        entries = _iterate_spectral_norms(entries)
    module.load_state_dict({table[name]: value for name, value in entries.items()})
    return module.eval()


def _check_names(kind: str, entries: Mapping[str, Tensor], table: dict[str, str], own: dict[str, Tensor]) -> None:
    problems = []
    if missing := sorted(table.keys() - entries.keys()):
        problems.append(f"missing {_some(missing)}")
    if unexpected := sorted(entries.keys() - table.keys()):
        problems.append(f"unexpected {_some(unexpected)}")
    for name in sorted(table.keys() & entries.keys()):
        arrived, expected = tuple(entries[name].shape), tuple(own[table[name]].shape)
        if arrived != expected:
            problems.append(f"{name} has shape {arrived}, expected {expected}")
    if problems:
        raise ValueError(f"not a published {kind}: " + "; ".join(problems[:8]))


def _some(names: list[str]) -> str:
    return f"{len(names)} keys: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"


def _iterate_spectral_norms(entries: dict[str, Tensor]) -> dict[str, Tensor]:
    """One power iteration in the published order: v = W'u / |W'u|, then u = Wv / |Wv|."""
    renewed = dict(entries)
    for name in (name for name in entries if name.endswith(".weight_bar")):
        prefix = name.removesuffix("weight_bar")
        matrix = entries[name].flatten(1)
        v = F.normalize(matrix.T @ entries[f"{prefix}weight_u"], dim=0)
        renewed[f"{prefix}weight_v"] = v
        renewed[f"{prefix}weight_u"] = F.normalize(matrix @ v, dim=0)
    return renewed


def _generator_names() -> dict[str, str]:
    layers = {"pnet_in.0": "mdnet.stem.conv", "tnet_in_conv": "manet.stem.conv", "tnet_out.0": "manet.last"}
    norms = {"pnet_in.1": "mdnet.stem.norm"}
    layers |= {f"simple_spade.get_{part}": f"mdnet.{part}" for part in ("gamma", "beta")}
    for index in (1, 2):
        layers[f"pnet_down_{index}.0"] = f"mdnet.down.{index - 1}.conv"
        norms[f"pnet_down_{index}.1"] = f"mdnet.down.{index - 1}.norm"
        layers[f"tnet_down_conv_{index}"] = f"manet.down.{index - 1}.conv"
        layers[f"tnet_up_conv_{index}"] = f"manet.up.{index - 1}.conv"
    for index in (1, 2, 3):
        for number in (1, 2):
            place = 3 * (number - 1)
            block = f"pnet_bottleneck_{index}.main"
            layers[f"{block}.{place}"] = f"mdnet.blocks.{index - 1}.conv{number}"
            norms[f"{block}.{place + 1}"] = f"mdnet.blocks.{index - 1}.norm{number}"
            layers[f"tnet_bottleneck_{index}.main.{place}"] = f"manet.before.{index - 1}.conv{number}"
            layers[f"tnet_bottleneck_{index + 3}.main.{place}"] = f"manet.after.{index - 1}.conv{number}"
    return _with(layers | norms, "weight") | _with(norms, "bias")


def _regularizer_names() -> dict[str, str]:
    layers = {"conv_first": "first", "trunk_conv": "last"}
    for block in range(4):
        for dense in range(3):
            for conv in range(5):
                own = f"trunk.{block}.{dense}.convs.{conv}"
                layers[f"RRDB_trunk.{block}.RDB{dense + 1}.conv{conv + 1}"] = own
    return _with(layers, "weight") | _with(layers, "bias")


def _discriminator_names() -> dict[str, str]:
    layers = {f"main.{2 * index}": f"convs.{index}" for index in range(4)}
    names = _with(layers, "bias")
    for published, own in (layers | {"conv1": "last"}).items():
        names[f"{published}.weight_bar"] = f"{own}.parametrizations.weight.original"
        names[f"{published}.weight_u"] = f"{own}.parametrizations.weight.0._u"
        names[f"{published}.weight_v"] = f"{own}.parametrizations.weight.0._v"
    return names


def _with(layers: dict[str, str], entry: str) -> dict[str, str]:
    return {f"{published}.{entry}": f"{own}.{entry}" for published, own in layers.items()}


_KINDS = {
    "generator": (Generator, _generator_names),
    "regularizer": (Regularizer, _regularizer_names),
    "discriminator": (Discriminator, _discriminator_names),
}
