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
