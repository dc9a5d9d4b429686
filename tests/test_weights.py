"""The weights that come with the package: they are what their card says, and they recognise drawn people."""

import re

import pytest

from amtgan_lib import datasets, evaluation, paths, protect, protection, recognizer_training, recognizers
from amtgan_lib.models import load_generator

pytestmark = pytest.mark.usefixtures("one_thread")
CARD = (paths.WEIGHTS / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def strangers():
    """Forty people whom no training saw, three photos each."""
    return recognizer_training.draw_faces(40, 3, seed=recognizer_training.VALIDATION_SEED)


@pytest.mark.parametrize("name", recognizers.DRAWN)
def test_the_card_repeats_the_header(name):
    row, network, facts = recognizers.read_shipped(paths.WEIGHTS / f"{name}.safetensors")
    (cells,) = re.findall(rf"^\| `{name}` \| (.*) \|$", CARD, re.M)
    _, size, parameters, eer, thresholds = (cell.strip() for cell in cells.split("|"))
    assert size == f"{row.input_size} px"
    assert parameters == f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M"
    assert eer == f"{100 * facts['eer']:.2f} %" and facts["eer"] < 0.02
    assert thresholds == " / ".join(f"{facts['thresholds'][far]:.3f}" for far in ("0.1", "0.01", "0.001"))
    assert f"{facts['genuine_pairs']} genuine and {facts['impostor_pairs']}" in CARD.replace("\n", " ")
    assert facts["commit"] in CARD


@pytest.mark.parametrize("name", recognizers.DRAWN)
def test_people_whom_no_training_saw_are_recognised(name, strangers):
    recognizer = recognizers.load(name)
    genuine, impostors = recognizer_training.verification(recognizer, strangers)
    assert len(genuine) == 40 * 3 and len(impostors) == 120 * 119 // 2 - 120
    assert evaluation.equal_error_rate(genuine, impostors) < 0.03
    # The stored threshold was set on other people: about one impostor in a hundred passes it here, too.
    assert 0.002 < (impostors > recognizer.thresholds[0.01]).mean() < 0.03


def test_the_generator_says_where_it_comes_from():
    network, facts = load_generator(paths.WEIGHTS / "generator_drawn.safetensors")
    assert facts["recipe"] == "residual" and facts["licence"] == "MIT"
    assert {"commit", "command", "target", "held_out", "steps"} <= set(facts)
    assert facts["target"].startswith("drawn_target/")
    assert protection.load(paths.WEIGHTS / "generator_drawn.safetensors").size == facts["size"]
    assert network.built["width"] == 16 and f"{facts['steps']} steps" in CARD


def test_the_default_generator_takes_any_target_and_says_what_it_learned_from():
    network, facts = load_generator(paths.WEIGHTS / protection.DEFAULT)
    assert facts["recipe"] == "any_target" and network.hint_channels == 6 and facts["world"] == "open"
    assert "research use" in facts["licence"] and facts["commit"] in CARD and f"{facts['steps']}\nsteps" in CARD
    assert all(name in CARD for name in facts["recognizers"])


@pytest.mark.mirror
def test_protect_hides_a_face_by_default(mirror):
    """The shortest use, on a real photo: every open recogniser finds the face less like itself."""
    pytest.importorskip("mediapipe")
    manifest = datasets.available_manifest()
    photo = datasets.file_of(manifest.loc[manifest["set"] == "london", "asset"].iloc[0])
    result = protect(photo)
    assert len(result.faces) == 1
    networks = [recognizers.load(name).with_thresholds({0.01: 0.3}) for name in recognizers.OPEN]
    cosines = evaluation.similarities({"clean": photo, "protected": result.image}, photo, networks)
    assert (cosines["clean"] > 0.99).all() and (cosines["protected"] < 0.6).all()
