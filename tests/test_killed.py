"""kill -9 at any moment: no half of a file is ever read as whole, and the next start ends as if nothing had happened.

Sweeps that are killed with all their processes stand in test_sweeps.py, real kernels in test_pipeline.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KINDS = ("protecting", "training", "preparing", "sweeping", "reporting", "filming")


def killed(kind: str, folder: Path, moments: int, seed: int = 0) -> dict:
    if kind == "filming":
        pytest.importorskip("av")
    call = [sys.executable, str(HERE / "killed.py"), kind, str(folder), str(moments), str(seed)]
    done = subprocess.run(call, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", ["protecting", "training", "preparing"])
def test_killed_once(kind, tmp_path):
    assert len(killed(kind, tmp_path, 1)["killed"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_twenty_moments(kind, tmp_path):
    found = killed(kind, tmp_path, 20, seed=1)
    assert len(found["killed"]) == min(20, found["events"])
