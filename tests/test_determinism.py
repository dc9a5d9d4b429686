"""The same seed gives the same manifest, losses and protected photo: on two runs, and on one or two threads."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch

from amtgan_lib import datasets, methods, portraits, recognizers
from amtgan_lib.images import to_uint8
from amtgan_lib.methods import Guide, natural, targets
from amtgan_lib.protection import Protector
from amtgan_lib.training import train

LOSS, LEVELS = 1e-3, 2
"""What may differ: the share of a loss, and levels of 255 of one pixel. Sums in another order round otherwise."""


def facts() -> dict:
    """The manifest of the drawn people, ten losses, and the pixels of a protected portrait."""
    manifest = datasets.manifest_of("drawn").to_csv(index=False).encode()
    subject = fakes.trainer(fakes.RESIDUAL_TINY, steps=10)
    train(subject, fakes.SOURCES, fakes.REFERENCES, progress=iter)
    moment = portraits.scenes([11], variety=0.2)
    portrait = to_uint8(portraits.draw(portraits.people([11]), portraits.no_makeup(1), moment, 200).image)[0]
    networks = [recognizers.load("drawn_ir")]
    method = natural.method(Guide(networks, targets.nobody(networks)), natural.Search(steps=3, more=0, rate=0.4))
    assert isinstance(method, methods.Method)
    picture = np.asarray(Protector(method).protect(portrait).image)
    return {
        "manifest": hashlib.sha256(manifest).hexdigest(),
        "losses": [row["total"] for row in subject.history],
        "changed": int((picture != portrait).any(-1).sum()),
        "pixels": base64.b64encode(picture.tobytes()).decode(),
    }


def in_a_process(threads: int) -> dict:
    """The facts from a process of its own, whose hashes of text are salted anew."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONHASHSEED": str(threads)}
    environment["OMP_WAIT_POLICY"] = "PASSIVE"  # two threads that spin make no headway on a busy machine
    call = [sys.executable, str(Path(__file__)), str(threads)]
    done = subprocess.run(call, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def pixels(found: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(found["pixels"]), np.uint8).astype(int)


def test_two_runs_and_another_number_of_threads_give_the_same():
    pytest.importorskip("mediapipe")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one, two = facts(), in_a_process(2)
    finally:
        torch.set_num_threads(threads)
    assert one["manifest"] == two["manifest"]
    assert len(one["losses"]) == 10 and two["losses"] == pytest.approx(one["losses"], rel=LOSS)
    assert one["changed"] > 1000
    assert np.abs(pixels(one) - pixels(two)).max() <= LEVELS


@pytest.mark.slow
def test_two_runs_on_one_thread_give_every_bit_again():
    pytest.importorskip("mediapipe")
    assert in_a_process(1) == in_a_process(1)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    print(json.dumps(facts()))
