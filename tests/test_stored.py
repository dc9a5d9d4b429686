"""Generator files: what is written comes back, and what is none is refused in one sentence."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from amtgan_lib.models import Generator, load_generator, save_generator

FACTS = {"recipe": "residual", "size": 64, "seed": 3, "recognizers": ["a", "b"]}
BUILT = {
    "width": 4,
    "bottlenecks": 2,
    "output": "residual",
    "bound": 0.3,
    "tint": 0.4,
    "transfer": "makeup",
    "makeup_channels": 16,
    "hint_channels": 2,
}


@pytest.fixture
def file(tmp_path):
    return save_generator(Generator(**BUILT), tmp_path / "new folder" / "generator.safetensors", FACTS)


def test_weights_build_and_facts_come_back(tmp_path):
    generator = Generator(**BUILT)
    again, facts = load_generator(save_generator(generator, tmp_path / "g.safetensors", FACTS))
    assert facts == FACTS
    assert again.built == generator.built == BUILT
    for name, tensor in generator.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_a_loaded_generator_is_frozen(file):
    generator, _ = load_generator(str(file))
    assert not generator.training
    assert not any(parameter.requires_grad for parameter in generator.parameters())


def test_half_precision_weights_come_back_as_float32(tmp_path):
    generator = Generator(**BUILT)
    whole = save_generator(generator, tmp_path / "whole.safetensors", {})
    half = save_generator(generator, tmp_path / "half.safetensors", {}, torch.float16)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    weight = load_generator(half)[0].manet.last.weight
    assert weight.dtype == torch.float32 and torch.equal(weight, generator.manet.last.weight.half().float())


def test_nothing_but_the_file_is_left_behind(file):
    assert [path.name for path in file.parent.iterdir()] == ["generator.safetensors"]


def test_facts_that_are_not_json_write_nothing(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_generator(Generator(**BUILT), tmp_path / "g.safetensors", {"folder": tmp_path})
    assert list(tmp_path.iterdir()) == []


def changed(file, metadata=None, drop=(), scale=1):
    """The file with other metadata, or without some of its tensors."""
    tensors = {name: tensor * scale for name, tensor in load_file(file).items() if name not in drop}
    save_file(tensors, file, metadata)
    return file


def described(**changes):
    return {"generator": json.dumps({**BUILT, **changes}), "facts": json.dumps(FACTS)}


def test_the_control_file_is_accepted(file):
    """Otherwise the refusals below would prove nothing."""
    load_generator(changed(file, described()))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.with_name("other.safetensors"), "there is no such generator file"),
        (lambda file: file.parent, "there is no such generator file"),
        (lambda file: changed(file), "does not say how its generator is built"),
        (lambda file: changed(file, {"generator": json.dumps(BUILT)}), "does not say how its generator is built"),
        (lambda file: changed(file, described(width=8)), "does not hold the generator that it describes"),
        (lambda file: changed(file, described(colour="red")), "does not hold the generator that it describes"),
        (lambda file: changed(file, described(output="oil")), "does not hold the generator that it describes"),
        (lambda file: changed(file, described(), drop=["manet.last.weight"]), "does not hold the generator"),
    ],
    ids=["missing", "folder", "no metadata", "no facts", "other width", "unknown argument", "bad output", "no tensor"],
)
def test_what_is_no_generator_is_refused(file, spoil, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_generator(spoil(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + b"0" * 200, b"\xff" * 64])
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    path = tmp_path / "generator.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a safetensors file, or it is damaged") as caught:
        load_generator(path)
    assert "\n" not in str(caught.value)


def test_a_cut_file_is_refused(file):
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        load_generator(file)
