"""The weights that come with the package: they are what their card says, and they recognise drawn people."""

import re

import pytest

from amtgan_lib import evaluation, paths, protection, recognizer_training, recognizers
from amtgan_lib.models import load_generator

pytestmark = pytest.mark.usefixtures("one_thread")
CARD = (paths.WEIGHTS / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def strangers():
    """Forty people whom no training saw, three photos each."""
    return recognizer_training.draw_faces(40, 3, seed=recognizer_training.VALIDATION_SEED)


@pytest.mark.parametrize("name", recognizers.DRAWN)
def test_the_card_repeats_the_header(name):
    row, network, facts = recognizers.read_drawn(paths.WEIGHTS / f"{name}.safetensors")
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
