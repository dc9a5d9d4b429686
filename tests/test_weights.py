"""The weights that come with the package: they are what their card says, and they recognise drawn people."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from amtgan_lib import assets, datasets, evaluation, faces, methods, paths, protect, protection, recognizers
from amtgan_lib.methods import generator
from amtgan_lib.models import load_generator
from amtgan_lib.recognizers import training as recognizer_training

CARD = (paths.WEIGHTS / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=[16, pytest.param(40, marks=pytest.mark.slow)])
def strangers(request):
    """People whom no training saw, three photos each; drawing them takes the time."""
    return recognizer_training.draw_faces(request.param, 3, seed=recognizer_training.VALIDATION_SEED)


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
    photos = len(strangers)
    assert len(genuine) == photos and len(impostors) == photos * (photos - 1) // 2 - photos
    assert evaluation.equal_error_rate(genuine, impostors) < 0.03
    # The stored threshold was set on other people: about one impostor in a hundred passes it here, too.
    assert 0.002 < (impostors > recognizer.thresholds[0.01]).mean() < 0.03


def test_no_file_tells_a_folder_of_the_machine_that_made_it():
    for file in paths.WEIGHTS.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            said = " ".join(weights.metadata().values())
        assert not re.search(r'"/|"[A-Z]:\\\\', said), file.name


def test_the_generator_says_where_it_comes_from():
    network, facts = load_generator(paths.WEIGHTS / "generator_drawn.safetensors")
    assert facts["recipe"] == "residual" and facts["licence"] == "MIT"
    assert {"commit", "command", "target", "held_out", "steps"} <= set(facts)
    assert facts["target"].startswith("drawn_target/")
    assert methods.load(paths.WEIGHTS / "generator_drawn.safetensors").size == facts["size"]
    assert network.built["width"] == 16 and f"{facts['steps']} steps" in CARD


def test_the_default_generator_takes_any_target_and_says_what_it_learned_from():
    network, facts = load_generator(generator.SHIPPED)
    assert facts["recipe"] == "any_target" and network.hint_channels == 6 and facts["world"] == "open"
    assert "research use" in facts["licence"] and facts["commit"] in CARD and f"{facts['steps']}\nsteps" in CARD
    assert all(name in CARD for name in facts["recognizers"])


@pytest.mark.parametrize("name", recognizers.OWN)
def test_the_card_repeats_what_a_distilled_recogniser_says(name):
    row, network, facts = recognizers.read_shipped(paths.WEIGHTS / f"{name}.safetensors")
    (line,) = [line for line in CARD.splitlines() if line.startswith(f"| `{name}` |")]
    assert f"| {sum(p.numel() for p in network.parameters()) / 1e6:.2f} M |" in line
    people = ("test people", "London", "training people")
    assert " / ".join(f"{100 * facts[f'eer {each}']:.1f}" for each in people) + " %" in line
    assert " / ".join(f"{facts['thresholds'][far]:.3f}" for far in ("0.1", "0.01", "0.001")) in line
    assert "research use" in row.licence
    assert facts["commit"] in CARD and tuple(facts["teachers"]) == row.teachers and str(facts["steps"]) in CARD
    assert all(f"`{teacher}`" in CARD for teacher in facts["teachers"])


def test_the_students_are_small():
    """Those that come along for every user together take 12 MB at most."""
    assert sum((paths.WEIGHTS / f"{name}.safetensors").stat().st_size for name in recognizers.OWN) <= 12e6


@pytest.mark.mirror
def test_the_distilled_recogniser_knows_people_whom_it_never_saw(mirror):
    pytest.importorskip("mediapipe")
    manifest = datasets.available_manifest()
    london = manifest[manifest["set"] == "london"].sort_values("person").head(24)
    crops = [faces.detect_one(datasets.file_of(asset), 160) for asset in london["asset"]]
    vectors = recognizers.embed_many(recognizers.load("distilled_plain"), *(torch.stack(each) for each in sides(crops)))
    scores = (vectors @ vectors.T).numpy()
    same = london["person"].to_numpy()[:, None] == london["person"].to_numpy()[None]
    pairs = np.triu(np.ones_like(same), 1).astype(bool)
    assert evaluation.equal_error_rate(scores[same & pairs], scores[~same & pairs]) < 0.05


def sides(crops):
    """Images and points of crops."""
    return [crop.image for crop in crops], [crop.points for crop in crops]


def test_protect_needs_no_network_and_nothing_of_others(monkeypatch):
    """With no open recogniser on this machine the hints come from our own alone, and they are said."""
    pytest.importorskip("mediapipe")
    monkeypatch.setattr(assets, "local", lambda asset: None)
    monkeypatch.setattr(assets, "fetch", lambda *_: pytest.fail("something was fetched"))
    photo = datasets.files([datasets.test_pairs(datasets.manifest_of("drawn"), 1)["source"].iloc[0]]).popitem()[1]
    protector = protection.prepare()
    assert protector.method.recognizers == recognizers.OWN
    assert protector.method.target == "nobody"
    result = protector.protect(photo)
    assert result.faces[0].mean_change > 1 and result.image.size == Image.open(photo).size


@pytest.mark.mirror
def test_offline_hints_hide_a_real_face_from_those_that_gave_them(mirror, monkeypatch):
    pytest.importorskip("mediapipe")
    manifest = datasets.available_manifest()
    photo = datasets.file_of(manifest.loc[manifest["set"] == "london", "asset"].iloc[0])
    monkeypatch.setattr(assets, "local", lambda asset: None)
    method = protection.prepare().method
    assert method.recognizers == recognizers.OWN
    crop = faces.detect_one(photo, method.size)
    both = torch.stack([crop.image, method.change(crop, crop)]), torch.stack([crop.points] * 2)
    for own in map(recognizers.load, recognizers.OWN):
        before, after = own.embed(*both)
        assert float(before @ after) < own.thresholds[0.01], own.name


@pytest.mark.slow  # what test_commands.py asks of the command
@pytest.mark.mirror
def test_protect_hides_a_face_by_default(mirror):
    """The shortest use, on a real photo: every open recogniser finds the face less like itself."""
    pytest.importorskip("mediapipe")
    manifest = datasets.available_manifest()
    photo = datasets.file_of(manifest.loc[manifest["set"] == "london", "asset"].iloc[0])
    result = protect(photo)
    assert len(result.faces) == 1
    networks = [recognizers.load(name).with_thresholds({0.01: 0.3}) for name in recognizers.OPEN]
    answers = evaluation.compared(photo, result.image, evaluation.read_probes([photo]), networks, 0.01)
    assert all(answer.before > 0.99 and answer.after < 0.6 for answer in answers)
