"""The notebooks of this checkout under the presets of this checkout."""

import os
import re

import fakes
import pytest
import torch

from amtgan_lib import assets, paths, pipeline, recognizers
from amtgan_lib.methods import targets
from amtgan_lib.pipeline import engine
from amtgan_lib.recognizers import training as recognizer_training
from amtgan_lib.reporting import results

PRESETS = sorted(path.stem for path in paths.PRESETS.glob("*.yaml"))


def test_there_are_presets():
    assert {"procedural", "open-small"} <= set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_fits_the_notebooks(name):
    preset = pipeline.load(name)
    steps = pipeline.plan(preset)
    assert list(dict.fromkeys(step.notebook.name for step in steps)) == list(preset.notebooks)


def test_the_default_preset_says_what_the_notebooks_say():
    """A notebook opened in JupyterLab does what `make reproduce` does: the default preset changes no parameter."""
    preset = pipeline.load("procedural")
    assert preset.parameters == preset.notebook_parameters == {}
    methods = preset.repeat["04_protect"]["method"]
    for step in pipeline.plan(preset):
        assert step.notebook.defaults["preset"] == "procedural"
        assert step.notebook.defaults.get("methods", methods) == methods


PREPARED = f"test-{os.getpid()}"  # a set of faces of this process's own: others run beside it


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Runs into a folder of the test's own; what notebook 1 prepares is removed afterwards."""
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setenv("PYTHONPATH", str(paths.ROOT))
    yield tmp_path
    for file in paths.PREPARED.glob(f"{PREPARED}*"):
        file.unlink()


@pytest.fixture(params=["here", pytest.param("kernels", marks=pytest.mark.slow)])
def executed(request, monkeypatch):
    """Cells run in this process, which takes a fraction of the time, and with the slow tests in kernels, too."""
    if request.param == "here":
        monkeypatch.setattr(engine, "execute", fakes.execute_here)
        monkeypatch.setattr(targets, "CROWD", 6)  # drawn people between two of whom nobody lies
        monkeypatch.setattr(recognizer_training, "draw_faces", fakes.coloured_people)


def run(place, text: str) -> dict[str, dict]:
    preset = place / "reduced.yaml"
    preset.write_text(text.replace("PREPARED", PREPARED), encoding="utf-8")
    return pipeline.values(pipeline.run(preset, run_id="reduced"))


# ---------------------------------------------------------------- each notebook at its smallest

SMALL = """
notebooks: [00_quickstart, 01_prepare_data, 02_recognizers, 03_train, 04_protect, 05_black_box_success,
            06_image_quality, 07_ablation, 09_makeup_robustness, 10_paper_figures, 11_adversary_panel, 12_any_target,
            12b_hints_ablation, 12c_equal_visibility]
parameters: {prepared: PREPARED, precision: float32, methods: [any_target], far: 0.1}
notebook_parameters:
  01_prepare_data: {people: 8}
  03_train:
    width: 8
    regularizer_width: 8
    views: 1
    start: {any_target: "", corrected: ""}
    steps: {any_target: 3, corrected: 1}
    batch: {any_target: 2, corrected: 1}
  04_protect: {method: any_target, photos: 3}
  07_ablation: {variants: [corrected - H, published, published - crop_output], steps: 2, start: "", width: 8, photos: 3}
  09_makeup_robustness: {method: any_target, photos: 2, references: 2, strengths: [0.0, 1.0]}
  11_adversary_panel: {photos: 2, learners: 8, steps: 2}
  12_any_target: {photos: 1, passes: 2}
  12b_hints_ablation: {photos: 1, passes: 1}
  12c_equal_visibility: {photos: 1, passes: 1, steps: [1]}
repeat:
  03_train: {recipe: [any_target, corrected]}
"""


@pytest.mark.timeout(1800)
def test_the_notebooks_run_in_order_on_a_few_drawn_people(place, executed):
    """Three steps teach nothing yet: what is drawn is still the makeup that training starts from.

    Eight people have pairs of strangers enough for a false accept rate of 0.1.
    """
    pytest.importorskip("mediapipe")
    values = run(place, SMALL)
    prepared = values["01_prepare_data"]
    assert prepared["drawn_found"] == prepared["drawn_photos"] > 0
    assert all(eer < 0.05 for name, eer in values["02_recognizers"].items() if re.match(r"drawn drawn_", name))
    likeness = {name: recognizers.spec(name).likeness for name in recognizers.DRAWN}
    assert values["02_recognizers"]["likeness"] == pytest.approx(likeness, abs=0.1)
    assert values["03_train-any_target"]["steps"] == 3 and values["04_protect-any_target"]["protected"] == 3
    quality = values["06_image_quality"]["any_target"]
    assert quality["ssim"] > 0.9 and quality["lip after"] < 0.7 * quality["lip before"]
    apart(values["07_ablation"])
    success, beyond_clean = values["05_black_box_success"], values["10_paper_figures"]["beyond_clean"]
    for method in ("clean", "any_target"):
        own = success[method]["impersonation"] - success["clean"]["impersonation"]
        assert beyond_clean[method] == pytest.approx(own)
    quickstart = values["00_quickstart"]["similarity"]
    protected(quickstart)
    one_for_all(values)
    robust(values["09_makeup_robustness"])
    put_to_the_test(values["11_adversary_panel"])


def protected(similarity: dict[str, dict], after: str = "after") -> None:
    """Of portrait 3: those that gave hints refuse it; the one held out finds it less alike, and still knows it."""
    assert all(row[after] < row["before"] - 0.05 and row["threshold"] < row["before"] for row in similarity.values())
    hinting = [row for name, row in similarity.items() if name != "drawn_inception"]
    assert len(hinting) == 3 and all(row[after] < row["threshold"] for row in hinting)


def apart(found: dict) -> None:
    """Two steps draw no faces yet. A crop is saved as it was drawn; in a whole photo its edge is blended in."""
    assert found["trained"] == 2
    assert set(found) - {"trained"} == {"clean", "corrected - H", "published", "published - crop_output"}
    assert found["clean"]["flip"] == 0 < found["published - crop_output"]["flip"] < found["published"]["flip"]


def one_for_all(values: dict) -> None:
    """A few steps on a few people hide nobody yet, but hints, targets, passes and rivals all play their part."""
    passes, ablation, equal = (values[name] for name in ("12_any_target", "12b_hints_ablation", "12c_equal_visibility"))
    assert all(-1 < cosine < 0.5 for cosine in passes["nearest"].values())
    assert set(passes["passes"]) == {"clean", *(f"{a} {n}" for a in ("person", "nobody") for n in (1, 2, 3, 4))}
    assert {"no hint", "drawn_ir only", "wrong target", "any_target jpeg75"} < set(ablation["ablation"])
    assert 0 < equal["limits"]["ssim"] < 0.2 and 0 < equal["limits"]["visible"] < 10
    for table in ("equal_ssim", "equal_visible"):
        assert {"clean", "pgd 1", "mi_fgsm 1 + dodging, nobody", "ti_dim 1 half"} < set(equal[table])


def robust(found: dict) -> None:
    """No strength is the clean photo, and the whole strength is the method."""
    assert set(found["references"]) == {"clean", "reference 1", "reference 2"}
    assert found["strengths"]["strength 0"] == found["strengths"]["clean"] == found["regions"]["clean"]
    assert found["strengths"]["strength 1"] == found["regions"]["all of it"]
    assert set(found["regions"]) == {"clean", "all of it", "lip", "skin", "eyes"}


def put_to_the_test(found: dict) -> None:
    """A few steps on a few people undo nothing; each way and each adversary was asked."""
    done = {"jpeg90", "webp", "4bits", "screenshot", "through H", "through autoencoder", "makeup removed"}
    alone = {"any_target enrolled protected", "any_target both protected", "any_target verifier of protected"}
    assert {f"{name} {how}" for name in ("clean", "any_target") for how in done} | alone < set(found["panel"])
    assert all(0 <= rates["dodging"] <= 1 for rates in found["panel"].values())
    told = found["detectors"]["any_target"]
    assert 0 <= told["ci_low"] <= told["value"] <= told["ci_high"] <= 1


TINY = """
notebooks: [02b_train_recognizers]
notebook_parameters:
  02b_train_recognizers:
    {names: [drawn_mobile], people: 22, photos: 6, validation_people: 12, epochs: 2, workers: 1, precision: float32}
"""


@pytest.mark.timeout(1800)
def test_the_recognisers_can_be_made_again(place, executed):
    """Two epochs on 22 people are no recogniser; that the notebook learns something at all is what can be seen here."""
    values = run(place, TINY)["02b_train_recognizers-drawn_mobile"]
    assert 0 < values["eer"] < 0.5
    assert (place / "runs" / "reduced" / "recognizers" / "drawn_mobile.safetensors").is_file()


def test_stored_scores_are_explored_without_a_run(place):
    """The demo's own default threshold gives the table of the README: no model, no download, seconds."""
    values = run(place, "notebooks: [demo_results]\nparameters: {run: results/measured}")["demo_results"]
    table = results.read(paths.MEASURED / "procedural.csv")
    held_out = table[(table["note"] == "held out") & (table["metric"] == "dodging")].set_index("method")["value"]
    assert 0.42 < values["threshold"] < 0.43
    for method, value in held_out.items():
        assert values["rates"][f"{method} dodging"] == pytest.approx(value, abs=1e-6)


DEMO = """
notebooks: [demo_makeup_strength]
"""


def test_the_demo_of_the_trade_off_runs_in_a_batch(place, executed):
    pytest.importorskip("mediapipe")
    found = run(place, DEMO)["demo_makeup_strength"]
    protected(found["similarity"], "similarity")
    assert 0 < found["visible"] < 0.1 and 0 < found["flip"] < 0.1
    assert (place / "runs" / "reduced" / "makeup_strength" / "curve.png").is_file()


STUDY = """
notebooks: [demo_which_is_protected]
notebook_parameters:
  demo_which_is_protected: {people: [3, 4], answers: [left, left]}
"""


def test_the_study_of_naturalness_runs_in_a_batch(place, executed):
    pytest.importorskip("mediapipe")
    found = run(place, STUDY)["demo_which_is_protected"]
    assert found["pairs"] == found["answered"] == 2 and found["low"] <= found["rate"] <= found["high"]


# ---------------------------------------------------------------- at length

DRAWN = """
notebooks: [00_quickstart, 01_prepare_data, 02_recognizers, 03_train, 04_protect, 05_black_box_success,
            06_image_quality, 10_paper_figures]
parameters: {prepared: PREPARED}
notebook_parameters:
  03_train: {steps: {published: 3, residual: 3}}
  05_black_box_success: {methods: [mi_fgsm, makeup_only, published, residual]}
  06_image_quality: {methods: [mi_fgsm, makeup_only, published, residual]}
repeat:
  03_train: {recipe: [residual, published]}
  04_protect: {method: [mi_fgsm, makeup_only, published, residual]}
"""


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_default_run_fools_a_recogniser_that_took_no_part_and_carries_the_makeup(place):
    """The default run with half of its training: the promise of the README, in numbers."""
    pytest.importorskip("mediapipe")
    values = run(place, DRAWN)
    prepared = values["01_prepare_data"]
    assert prepared["drawn_found"] == prepared["drawn_photos"] == 360
    assert all(eer < 0.02 for name, eer in values["02_recognizers"].items() if re.match(r"drawn drawn_", name))
    likeness = {name: recognizers.spec(name).likeness for name in recognizers.DRAWN}
    assert values["02_recognizers"]["likeness"] == pytest.approx(likeness, abs=0.002)
    success, quality = values["05_black_box_success"], values["06_image_quality"]
    clean, residual, attack = success["clean"], success["residual"], success["mi_fgsm"]
    assert residual["dodging_low"] > clean["dodging_high"] and residual["dodging_low"] > attack["dodging"]
    assert residual["impersonation_low"] > clean["impersonation_high"]
    assert residual["rank-1"] < clean["rank-1"]
    # The transferred makeup is nearer to the true transfer than the unmade face is: by itself over the whole face, and
    # together with what was changed for the recognisers where makeup is worn.
    for region, share in (("lip", 0.7), ("makeup", 0.9), ("eyes", 1), ("face", 0.97)):
        error = quality["makeup_only"]
        assert error[f"{region} error after"] < share * error[f"{region} error before"]
    for region, share in (("lip", 0.7), ("makeup", 1)):
        error = quality["residual"]
        assert error[f"{region} error after"] < share * error[f"{region} error before"]
    assert success["makeup_only"]["dodging_high"] < residual["dodging_low"]  # it is not the makeup that hides
    assert quality["residual"]["ssim"] > quality["published"]["ssim"] > 0.80  # trained, and stretched
    assert quality["mi_fgsm"]["lip after"] > 0.9 * quality["mi_fgsm"]["lip before"]  # an attack wears no makeup
    quickstart = values["00_quickstart"]["similarity"]
    protected(quickstart)


DISTILLED = """
notebooks: [01_prepare_data, 02c_distil_recognizer]
parameters: {prepared: PREPARED}
notebook_parameters:
  01_prepare_data: {people: 34}
  02c_distil_recognizer:
    {names: [distilled], drawn_people: 8, parts: 1, steps: {distilled: 4}, batch: 8, workers: 1, precision: float32}
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_recogniser_is_distilled_from_others(mirror, place):
    """Thresholds want a thousand pairs of strangers, and so 34 people."""
    pytest.importorskip("mediapipe")
    values = run(place, DISTILLED)["02c_distil_recognizer"]
    assert 0 < values["loss"]["distilled"] < 2 and 0 <= values["distilled"]["eer test people"] < 0.6
    assert (place / "runs" / "reduced" / "recognizers" / "distilled.safetensors").is_file()


OPEN = """
notebooks: [01_prepare_data, 02_recognizers, 03_train, 04_protect, 05_black_box_success, 06_image_quality]
parameters: {world: open, zoo: open, held_out: mobilefacenet, prepared: PREPARED, methods: [corrected, residual]}
notebook_parameters:
  01_prepare_data: {people: 12, size: 256}
  03_train: {transfer: colours, size: 128, width: 8, regularizer_width: 8, steps: {corrected: 2, residual: 2},
             start: {corrected: "", residual: ""}}
  04_protect: {photos: 4, size: 128}
repeat:
  03_train: {recipe: [corrected, residual]}
  04_protect: {method: [corrected, residual]}
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_notebooks_run_in_order_on_a_few_photographs(mirror, place):
    """The real photographs, tiny: two training steps, twelve people a set, a recipe of each kind."""
    values = run(place, OPEN)
    found = values["01_prepare_data"]
    assert found["celeba_hq_found"] == found["celeba_hq_photos"] > 0
    assert values["02_recognizers"]["london edgeface_xs"] < 0.05
    thresholds = values["02_recognizers"]["thresholds"]
    assert set(thresholds) == set(recognizers.zoo("open"))
    assert all(0.05 < thresholds[name] < 0.6 for name in recognizers.OPEN)
    assert values["03_train-residual"]["steps"] == 2 and values["04_protect-residual"]["protected"] == 4
    # Two steps leave the residual form at the colours it starts from: the makeup is there, and so is the face.
    quality = values["06_image_quality"]
    assert quality["residual"]["ssim"] > 0.9
    assert quality["residual"]["lip after"] < 0.7 * quality["residual"]["lip before"]
    assert quality["corrected"]["ssim"] < 0.5


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_preset_paper_runs_on_an_archive_of_networks_that_know_nothing(mirror, published, place, monkeypatch):
    """Weights by the golden rule instead of the authors': who has their archive runs the same preset the same way."""
    archive, cache = place / "assets", place / "cache"
    archive.mkdir()
    torch.save(published["generator"], archive / "G.pth")
    for name in recognizers.PUBLISHED:
        torch.save(fakes.by_rule(recognizers.build(name)).state_dict(), archive / f"{name}.pth")
    monkeypatch.setenv("AMTGAN_CACHE", str(cache))  # of the notebooks
    monkeypatch.setattr(paths, "CACHE", cache)
    assets.import_archive(archive)
    small = {"prepared": PREPARED, "people": 4, "photos": 4, "pairing": "groups"}
    folder = pipeline.run("paper", run_id="reduced", overrides=small)
    values = pipeline.values(folder)
    assert values["04_protect-authors"]["photos"] == values["04_protect-authors"]["protected"] == 1
    rows = results.read(folder / "tables" / "05_black_box_success.csv")
    held_out = rows[rows["note"] == "held out"]
    assert set(held_out["recogniser"]) == {"mobile_face"} and set(held_out["target"]) == {"celeba_hq_target/085807"}
    assert set(held_out["method"]) == {"clean", "makeup_only", "authors"}
    assert values["06_image_quality"]["authors"]["ssim"] < 0.9 < values["06_image_quality"]["makeup_only"]["ssim"]
