"""The small recognisers of the drawn world: sizes, cost, and their files."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from amtgan_lib import paths, recognizers
from amtgan_lib.recognizers import DRAWN
from amtgan_lib.recognizers.inception_resnet import InceptionResnetV1
from amtgan_lib.recognizers.iresnet import IResNet
from amtgan_lib.recognizers.mobilefacenet import MobileFace
from amtgan_lib.recognizers.staged import scaled


def fresh(name, seed=1):
    """A network of `name` after a few batches, so that its batch statistics are no longer 0 and 1."""
    torch.manual_seed(seed)
    network = recognizers.build(name).train()
    with torch.no_grad():
        for _ in range(3):
            network(pictures(name, 8))
    return network.eval()


def pictures(name, count=4):
    """Random pictures at the input size of `name`; the generator is torch's own."""
    size = recognizers.spec(name).input_size
    return torch.rand(count, 3, size, size) * 2 - 1


# --- sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [64, 72, 112])
@pytest.mark.parametrize(
    "make",
    [
        lambda side: IResNet((1, 2, 1, 1), True, True, stem=8, widths=(16, 24, 32, 48), embedding=32, input_size=side),
        lambda side: IResNet(
            (1, 1, 1, 1), False, False, stem=8, stem_stride=2, widths=(16, 24, 32, 48), embedding=32, input_size=side
        ),
        lambda side: MobileFace(width=0.25, depths=(1, 0, 2), embedding=32, input_size=side),
        lambda side: InceptionResnetV1(width=0.25, repeats=(1, 0, 1), embedding=32),
    ],
    ids=["iresnet", "iresnet with a stride in the stem", "mobile_face", "inception_resnet"],
)
def test_the_embedding_follows_the_arguments(make, side):
    side += 16  # the Inception-ResNet needs 75 pixels
    network = make(side).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, side, side)).shape == (2, 32)
    assert len(network.maps(torch.zeros(1, 3, side, side))) == 4


def test_the_defaults_are_the_published_sizes():
    shapes = {key: value.shape for key, value in recognizers.build("mobile_face").state_dict().items()}
    explicit = MobileFace(width=1.0, depths=(4, 6, 2), embedding=512, input_size=112).state_dict()
    assert {key: value.shape for key, value in explicit.items()} == shapes
    assert recognizers.build("irse50").output_layer[1].p == 0.5


@pytest.mark.parametrize(
    ("channels", "width", "expected"), [(896, 1, 896), (80, 0.25, 24), (32, 0.1, 8), (64, 0.3, 16)]
)
def test_scaled_gives_multiples_of_eight(channels, width, expected):
    assert scaled(channels, width) == expected


@pytest.mark.parametrize("name", DRAWN)
def test_the_small_networks_are_small(name):
    row, network = recognizers.spec(name), recognizers.build(name)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        embedding = network(torch.zeros(1, 3, row.input_size, row.input_size))
    assert embedding.shape == (1, row.embedding) == (1, 128)
    assert 0.3e6 < sum(p.numel() for p in network.parameters()) < 1.0e6
    assert counter.get_total_flops() / 2 < 31e6  # multiply-adds
    assert (row.drawn, row.published, row.mean, row.licence[:3]) == (True, False, (0.5, 0.5, 0.5), "MIT")


@pytest.mark.parametrize("name", DRAWN)
def test_a_small_network_can_be_trained(name):
    network = recognizers.build(name).train()
    network(pictures(name, 2))[:, 0].sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWN)
def test_saved_weights_come_back_to_half_precision(name, tmp_path, monkeypatch):
    network = fresh(name)
    path = recognizers.save_shipped(network, name, tmp_path / "new" / f"{name}.safetensors", {"seed": 3})
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.stat().st_size < 2.1e6
    monkeypatch.setattr(paths, "WEIGHTS", path.parent)
    _, stored, _ = recognizers.read_shipped(path)
    for key, value in network.state_dict().items():
        back = stored.state_dict()[key]
        assert back.dtype == value.dtype
        torch.testing.assert_close(back, value, rtol=2**-11 if value.ndim > 1 else 0, atol=1e-7)
    images, loaded = pictures(name), recognizers.load(name)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(network(images))
        assert (loaded.embed(images) * expected).sum(1).min() > 0.9999
    assert loaded.thresholds == {}
    assert len(loaded.weights_sha256) == 64


def test_the_file_tells_its_name_thresholds_and_facts(tmp_path):
    facts = {"thresholds": {0.1: 0.2, 0.01: 0.4}, "seed": 3, "commit": "abc"}
    path = recognizers.save_shipped(fresh("drawn_mobile"), "drawn_mobile", str(tmp_path / "mine.safetensors"), facts)
    loaded = recognizers.load_shipped(path)
    assert (loaded.name, loaded.family, loaded.input_size) == ("drawn_mobile", "mobilefacenet", 64)
    assert loaded.thresholds == recognizers.load("drawn_mobile", weights=path).thresholds == {0.1: 0.2, 0.01: 0.4}
    assert recognizers.read_shipped(path)[2] == json.loads(json.dumps(facts)) | {"name": "drawn_mobile"}
    with safe_open(path, "pt") as file:
        assert set(file.metadata()) == {"facts"}
        assert file.get_tensor("linear.weight").dtype == torch.float16
        assert file.get_tensor("bn.num_batches_tracked").dtype == torch.int64
    assert not any(p.requires_grad for p in loaded.parameters())


def test_saving_twice_gives_the_same_bytes(tmp_path):
    network = fresh("drawn_irse")
    one, two = (recognizers.save_shipped(network, "drawn_irse", tmp_path / file, {"seed": 1}) for file in ("a", "b"))
    assert one.read_bytes() == two.read_bytes()


def test_missing_weights_are_told_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    with pytest.raises(
        FileNotFoundError,
        match=r"drawn_ir\.safetensors: .*; notebook 02b_train_recognizers or 02c_distil_recognizer makes them",
    ):
        recognizers.load("drawn_ir")


def test_a_file_that_is_not_ours_is_refused(tmp_path):
    path = tmp_path / "drawn_ir.safetensors"
    for write in (
        lambda: path.write_bytes(b"no tensors"),
        lambda: save_file({"x": torch.zeros(1)}, path),
        lambda: save_file({"x": torch.zeros(1)}, path, {"facts": "{}"}),
        lambda: save_file({"x": torch.zeros(1)}, path, {"facts": json.dumps({"name": "ir152"})}),
    ):
        write()
        with pytest.raises(ValueError, match="02b_train_recognizers"):
            recognizers.load("drawn_ir", weights=path)
    save_file({"x": torch.zeros(1)}, path, {"facts": json.dumps({"name": "drawn_ir"})})
    with pytest.raises(RuntimeError, match=r"input_layer\.0\.weight"):
        recognizers.load("drawn_ir", weights=path)


def test_weights_of_another_recogniser_are_refused(tmp_path):
    path = recognizers.save_shipped(fresh("drawn_irse"), "drawn_irse", tmp_path / "irse.safetensors", {})
    with pytest.raises(ValueError, match="holds drawn_irse, not drawn_ir"):
        recognizers.load("drawn_ir", weights=path)
    with pytest.raises(ValueError, match="mobile_face is none"):
        recognizers.load("mobile_face", weights=path)


def test_save_refuses_the_wrong_network_and_diverged_weights(tmp_path):
    network = fresh("drawn_irse")
    with pytest.raises(ValueError, match="facenet is no recogniser that this project trains"):
        recognizers.save_shipped(network, "facenet", tmp_path / "a.safetensors", {})
    with pytest.raises(RuntimeError, match="state_dict for IResNet"):
        recognizers.save_shipped(network, "drawn_ir", tmp_path / "a.safetensors", {})
    for wrong in (float("nan"), 1e6):  # float16 ends at 65504
        with torch.no_grad():
            network.output_layer[3].weight[0, 0] = wrong
        with pytest.raises(ValueError, match=r"output_layer\.3\.weight is not finite"):
            recognizers.save_shipped(network, "drawn_irse", tmp_path / "a.safetensors", {})
    assert not list(tmp_path.iterdir())
