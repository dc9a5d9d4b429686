"""The notebooks of this checkout under the presets of this checkout."""

import pytest

from amtgan_lib import paths, pipeline

PRESETS = sorted(path.stem for path in paths.PRESETS.glob("*.yaml"))


def test_there_are_presets():
    assert "open-small" in PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_preset_fits_the_notebooks(name):
    preset = pipeline.load(name)
    steps = pipeline.plan(preset)
    assert list(dict.fromkeys(step.notebook.name for step in steps)) == list(preset.notebooks)


REDUCED = """
notebooks: [01_prepare_data, 02_recognizers, 03_train, 04_protect, 05_black_box_success]
parameters: {prepared: test-reduced}
notebook_parameters:
  01_prepare_data: {people: 12}
  03_train: {width: 8, regularizer_width: 8, steps: {corrected: 2, residual: 2}, batch: {corrected: 1, residual: 1}}
  04_protect: {photos: 4}
  05_black_box_success: {recipes: [corrected, residual]}
repeat:
  03_train: {recipe: [corrected, residual]}
  04_protect: {recipe: [corrected, residual]}
"""


def test_the_notebooks_run_in_order_on_a_few_people(mirror, tmp_path, monkeypatch):
    """The real notebooks, tiny: two training steps, twelve people a set, a recipe of each kind."""
    preset = tmp_path / "reduced.yaml"
    preset.write_text(REDUCED, encoding="utf-8")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setenv("PYTHONPATH", str(paths.ROOT))
    try:
        values = pipeline.values(pipeline.run(preset, run_id="reduced"))
    finally:
        for file in paths.PREPARED.glob("test-reduced*"):
            file.unlink()
    found = values["01_prepare_data"]
    assert found["celeba_hq_found"] == found["celeba_hq_photos"] > 0
    assert values["02_recognizers"]["london edgeface_xs"] < 0.05
    assert all(0.05 < cosine < 0.6 for cosine in values["02_recognizers"]["thresholds"].values())
    assert values["03_train-residual"]["steps"] == 2 and values["04_protect-residual"]["protected"] == 4
    # Two steps leave the residual form at the colours it starts from: the makeup is there, and so is the face.
    residual = values["05_black_box_success"]["residual"]
    assert residual["ssim"] > 0.9 and residual["lip after"] < 0.7 * residual["lip before"]
    assert values["05_black_box_success"]["corrected"]["ssim"] < 0.5
