"""Packages that are loaded at their first use: nothing happens before, and nobody notices afterwards."""

import subprocess
import sys

ASKED = """
import importlib.util, sys
from amtgan_lib import lazy
lazy.later("wave")
import wave
assert importlib.util.find_spec("wave").name == "wave" and "Wave_read" not in vars(wave)
assert wave.Wave_read.__module__ == "wave" and importlib.util.find_spec("wave").origin.endswith("wave.py")
import wave as again
assert again.Wave_read is wave.Wave_read
"""


def test_a_package_that_waits_for_its_first_use_is_there_for_importlib():
    """torch asks for the spec of pandas while torchvision is imported: without one, no EdgeFace could be loaded."""
    run = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
