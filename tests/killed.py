"""Kill work at chosen moments: `python tests/killed.py KIND FOLDER MOMENTS SEED` prints what it found, as JSON.

A process of its own, since it forks: each child does the work and is killed, as by `kill -9`, right before it opens a
file for writing, moves, or removes one, in a folder of its own. Then the work is started anew and must end as if
nothing had happened.
"""

import contextlib
import hashlib
import io
import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import fakes
import numpy as np
import torch
from safetensors.torch import load_file
from test_fail_closed import picture, run, world

from amtgan_lib import images
from amtgan_lib.datasets import face_set
from amtgan_lib.pipeline import report, runs
from amtgan_lib.reporting import results
from amtgan_lib.training import export, train

# ---------------------------------------------------------------- the kinds of work, each of which resumes


def protecting(folder: Path) -> None:
    """Three photos; those that are done are kept."""
    with world("none"):
        Path("out").symlink_to(folder)
        status, said = run("--skip-existing")
    assert status == 0, said


def training(folder: Path) -> None:
    """Six steps, a checkpoint every two."""
    subject, checkpoint = fakes.trainer(fakes.RESIDUAL_TINY, steps=6), folder / "checkpoint.pt"
    given = {"checkpoint": checkpoint, "every": 2, "resume_from": checkpoint if checkpoint.exists() else None}
    with contextlib.redirect_stderr(io.StringIO()):
        train(subject, fakes.SOURCES, fakes.REFERENCES, **given, progress=iter)
    export(subject, folder / "generator.safetensors")


def preparing(folder: Path) -> None:
    """A set of two faces and the table beside it, in place of older ones."""
    few = fakes.face_set(2, 1)
    faces = few.batch()
    crops = [SimpleNamespace(**{name: part[n] for name, part in vars(faces).items()}) for n in range(2)]
    face_set.files, face_set._crop = lambda assets: {}, lambda row, paths, size: crops[int(row["asset"])]
    face_set.prepare(few.manifest.assign(asset=["0", "1"], parse_asset=""), folder / "few.npz", few.size)


def sweeping(folder: Path) -> None:
    """The run folders of two values, and the table of both."""
    for name in ("a", "b"):
        with runs.edit(folder / name) as state:
            state |= {"run_id": name, "status": "done", "notebooks": {}, "outputs": [], "values": {}}
        runs.record(folder / name, "05", success=0.5)
    results.write_text("run,success\na,0.5\nb,0.5\n", folder / "runs.csv")


def reporting(folder: Path) -> None:
    """A figure, its entry in the run's record, and the page."""
    path = images.save(folder / "figure.png", picture(0))
    runs.register_output(folder, path, "A figure")
    with runs.edit(folder) as state:
        state |= {"run_id": "r", "preset": "small", "status": "done", "notebooks": {}, "values": {}}
    report.write(folder)


def filming(folder: Path) -> None:
    """A clip of 12 frames. Each look at one is a moment, too: SQLite's own writing is no event to Python."""
    from test_video import faces, make, mesh_at, painter, picture, protect_video

    from amtgan_lib.protection.video import notes

    def meshes(photo: images.Photo) -> list[np.ndarray]:
        sys.audit("os.remove", str(folder), -1)
        return [mesh_at(66, 48)]

    notes.SECONDS = 0
    clip = folder.parent / "clip.mp4"
    if not clip.exists():
        make(clip, [picture((60 + n, 48)) for n in range(12)])
    faces.meshes = meshes
    protect_video(clip, folder / "clip.mp4", painter())


KINDS = {each.__name__: each for each in (protecting, training, preparing, sweeping, reporting, filming)}


# ---------------------------------------------------------------- what must hold


def whole(file: Path) -> str:
    """What a file says, without times of day; an error where it is not whole."""
    if file.suffix == ".pt":
        state = torch.load(file, weights_only=True)
        weights = b"".join(value.numpy().tobytes() for value in state["networks"].values())
        return f"step {state['step']}, {hashlib.sha256(weights).hexdigest()}"
    if file.suffix == ".safetensors":  # its facts come in any order
        return hashlib.sha256(
            b"".join(value.numpy().tobytes() for _, value in sorted(load_file(file).items()))
        ).hexdigest()
    if file.suffix in (".png", ".jpg"):
        return hashlib.sha256(images.open_photo(file).rgb.tobytes()).hexdigest()
    if file.suffix == ".json":
        return str(sorted(json.loads(file.read_text())))
    if file.suffix == ".html":
        assert file.read_text().rstrip().endswith("</html>")
        return "page"
    if file.suffix == ".npz":
        with np.load(file) as stored:
            return str([[name, hashlib.sha256(stored[name].tobytes()).hexdigest()] for name in stored])
    return hashlib.sha256(file.read_bytes()).hexdigest()


def visible(folder: Path) -> dict[str, str]:
    """All files but hidden ones, which nobody reads."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    return {str(file.relative_to(folder)): whole(file) for file in files}


def hidden(folder: Path) -> list[str]:
    return [file.name for file in folder.rglob(".*") if file.suffix != ".lock"]


def in_child(work: Callable[[], None], folder: Path, last: int | None = None) -> int:
    """Do the work in a child, which is killed at its event number ``last``; how many events there were."""
    count = folder.with_suffix(".events")
    if not (child := os.fork()):
        seen = [0]

        def hook(event: str, arguments: tuple) -> None:
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if (writes or event in ("os.rename", "os.remove")) and str(folder) in os.path.realpath(str(arguments[0])):
                seen[0] += 1
                if seen[0] == last:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            sys.addaudithook(hook)
            work()
            status = 0
        finally:
            total = seen[0]
            count.write_text(str(total))
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) if last else status == 0, f"status {status}"
    return int(count.read_text()) if last is None else last


def main(kind: str, root: Path, moments: int, seed: int) -> dict:
    """Kill one kind of work at so many moments, drawn by the seed; all of them where there are fewer."""
    reference = root / "whole"
    reference.mkdir()
    total = in_child(lambda: KINDS[kind](reference), reference)
    expected = visible(reference)
    chosen = sorted(random.Random(seed).sample(range(1, total + 1), min(moments, total)))
    for moment in chosen:
        folder = root / f"killed-{moment}"
        folder.mkdir()
        in_child(lambda folder=folder: KINDS[kind](folder), folder, moment)
        left = visible(folder)  # each is whole
        assert left.keys() <= expected.keys(), (moment, left)
        in_child(lambda folder=folder: KINDS[kind](folder), folder)
        assert visible(folder) == expected, (moment, visible(folder), expected)
        assert not hidden(folder), (moment, hidden(folder))
    return {"kind": kind, "events": total, "killed": chosen}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))))
