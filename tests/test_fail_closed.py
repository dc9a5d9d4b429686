"""Whatever fails on the way of a photo: nothing unprotected is written as protected, and the status says so.

The command `protect` runs on a folder of three photos with hand-made faces, one of which meets a fault. Each fault is a
stage of that way, broken in one manner.
"""

import errno
import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import fakes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from amtgan_lib import __main__ as command_line
from amtgan_lib import evaluation, faces, images
from amtgan_lib.cli import protect as protecting
from amtgan_lib.cli.asking import Panel
from amtgan_lib.evaluation import verdicts
from amtgan_lib.images import Photo, open_photo
from amtgan_lib.methods import Method
from amtgan_lib.models.rendering import Fields, Look
from amtgan_lib.protection import ProtectionError, Protector
from amtgan_lib.recognizers import Recognizer

SIZE, WIDTH, HEIGHT = 64, 160, 120
PLACE = (12, 20, 1.0)  # left, top and scale of the face: photo pixels per crop pixel
NAMES = ("a", "b", "c")
THRESHOLDS = {0.1: 0.9, 0.01: 0.95}  # the brush moves the tiny recognisers to 0.6 and below


@dataclass
class World:
    """What runs: the parts of the way that a fault replaces, and which photo it hits."""

    hit: str
    patch: pytest.MonkeyPatch
    method: Method
    now: str = ""

    def break_(self, place: object, name: str, broken: Callable) -> None:
        """Let ``broken(original, *arguments)`` take the place of a function while the hit photo is on its way."""
        original = getattr(place, name)

        def either(*arguments, **named):
            if self.now != self.hit:
                return original(*arguments, **named)
            return broken(original, *arguments, **named)

        self.patch.setattr(place, name, either)


@contextmanager
def world(hit: str) -> Iterator[World]:
    """A place where commands run, with a detector, a method and judges made by hand."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, pytest.MonkeyPatch.context() as faults:
        patch.chdir(folder)
        here = World(hit, faults, Method("brush", fakes.Brush(0.5), SIZE))

        def outcome(loaded, job, people, real=protecting.Loaded.outcome):
            here.now = job.photo.stem
            return real(loaded, job, people)

        patch.setattr(protecting.Loaded, "outcome", outcome)
        patch.setattr(verdicts, "SIZE", SIZE)  # judges see less, and are faster
        patch.setattr(faces, "detect_all", lambda photo, size: ([fakes.photo_crop(photo, *PLACE, SIZE)], []))
        patch.setattr(protecting, "_load", lambda options, *_: loaded(options, here.method))
        Path("in").mkdir()
        for seed, name in enumerate(NAMES):
            picture(seed).save(f"in/{name}.png")
        yield here


def picture(seed: int) -> Image.Image:
    return images.to_pil(torch.nn.functional.interpolate(fakes.smooth(1, 80, seed), (HEIGHT, WIDTH))[0] * 0.4)


def judges() -> tuple[Recognizer, ...]:
    return tuple(each.with_thresholds(THRESHOLDS) for each in fakes.tiny_recognizers())


def loaded(options, method: Method) -> protecting.Loaded:
    return protecting.Loaded(options, Protector(method), None, Panel(judges(), 0.01, "made by hand"), None)


def run(*words: str) -> tuple[int, str]:
    """Exit status and all that is said."""
    with mock.patch("sys.stdout", io.StringIO()) as out, mock.patch("sys.stderr", io.StringIO()) as err:
        status = command_line.main(["protect", "in", "-o", "out", *words])
    return status, out.getvalue() + err.getvalue()


# ---------------------------------------------------------------- the faults

FAULTS: dict[str, Callable[[World], None]] = {}


def fault(name: str) -> Callable:
    def keep(function: Callable[[World], None]) -> None:
        FAULTS[name] = function

    return keep


def raising(place: object, name: str, error: BaseException) -> Callable[[World], None]:
    def broken(*_, **__):
        raise error

    return lambda here: here.break_(place, name, broken)


# Every kind of error that a stage may end in; torch says RuntimeError where memory runs out.
FULL, DENIED = OSError(errno.ENOSPC, "No space left on device"), PermissionError(errno.EACCES, "Permission denied")
MEMORY = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
for _name, _place, _attribute in (
    ("detection", faces, "detect_all"),
    ("rendering", Method, "altered"),
    ("paste", Photo, "with_change"),
    ("scoring", evaluation, "same_face"),
    ("scoring: a recogniser", Recognizer, "embed"),
):
    for _error in (ValueError("broken"), MEMORY, MemoryError()):
        FAULTS[f"{_name} raises {type(_error).__name__}"] = raising(_place, _attribute, _error)


@fault("detection finds nothing")
def _(here: World) -> None:
    here.break_(faces, "detect_all", lambda real, photo, size: ([], []))


def with_crop(change: Callable[[faces.FaceCrop], dict]) -> Callable[[World], None]:
    """Let the detector say something else about the face."""

    def broken(real, photo, size):
        (crop,), small = real(photo, size)
        return [replace(crop, **change(crop))], small

    return lambda here: here.break_(faces, "detect_all", broken)


def moved(crop: faces.FaceCrop, far: float) -> dict:
    """A face that is said to lie elsewhere."""
    x0, y0, x1, y1 = crop.box
    return {
        "matrix": crop.matrix + np.array([[0, 0, far], [0, 0, far]]),
        "box": (x0 + far, y0 + far, x1 + far, y1 + far),
    }


NAN = float("nan")
for _name, _change in {
    "landmarks: NaN": lambda crop: {"landmarks": crop.landmarks * NAN},
    "landmarks: one point NaN": lambda crop: {"points": crop.points + torch.tensor([0.0] * 9 + [NAN]).view(5, 2)},
    "landmarks: infinite": lambda crop: {"points": crop.points + float("inf")},
    "landmarks: all the same": lambda crop: {"points": crop.points * 0 + 5},
    "landmarks: eyes swapped": lambda crop: {"points": crop.points[[1, 0, 2, 3, 4]]},
    "landmarks: eyes and mouth swapped": lambda crop: {"points": crop.points[[3, 4, 2, 0, 1]]},
    "landmarks: nose for an eye": lambda crop: {"points": crop.points[[2, 1, 0, 3, 4]]},
    "landmarks: frame NaN": lambda crop: {"matrix": crop.matrix * NAN},
    "landmarks: box NaN": lambda crop: {"box": (NAN,) * 4},
    "landmarks: beyond the photo": lambda crop: moved(crop, 5000.0),
    "landmarks: before the photo": lambda crop: moved(crop, -5000.0),
}.items():
    FAULTS[_name] = with_crop(_change)


def drawing(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[World], None]:
    """Let the method draw something else."""

    def fault(here: World) -> None:
        healthy = here.method.draw

        def draw(crop, reference):
            drawn = healthy(crop, reference)
            return change(crop.image) if here.now == here.hit else drawn

        here.method = replace(here.method, draw=draw)

    return fault


FAULTS |= {
    "rendering: NaN": drawing(lambda image: image * NAN),
    "rendering: one value NaN": drawing(lambda image: torch.where(torch.arange(SIZE) == 9, NAN, image)),
    "rendering: infinite": drawing(lambda image: image + float("inf")),
    "rendering: unchanged": drawing(lambda image: image.clone()),
    "rendering: changed by less than a level": drawing(lambda image: image + 1e-4),
    "rendering: another size": drawing(lambda image: image[:, ::2, ::2]),
}


@fault("rendering: a look of NaN")
def _(here: World) -> None:
    fields = Fields(torch.zeros(1, 2, SIZE, SIZE), torch.full((1, 3, SIZE, SIZE), NAN))
    worn = mock.Mock(fields=lambda strength: fields, look=Look())
    healthy = here.method
    broken = replace(healthy, wear=lambda crop, reference, begin: worn)
    here.break_(Method, "altered", lambda real, method, *rest: real(broken, *rest))


@fault("paste: the photo as it was")
def _(here: World) -> None:
    here.break_(Photo, "with_change", lambda real, photo, change: photo.original.copy())


@fault("paste: another size")
def _(here: World) -> None:
    here.break_(Photo, "with_change", lambda real, photo, change: real(photo, change).resize((40, 30)))


@fault("paste: NaN")
def _(here: World) -> None:
    def broken(real, photo, change):
        return real(photo, replace(change, values=change.values * NAN))

    here.break_(Photo, "with_change", broken)


def answering(vectors: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[World], None]:
    """Let every recogniser answer something else."""
    return lambda here: here.break_(Recognizer, "embed", lambda real, *rest: vectors(real(*rest)))


FAULTS |= {
    "scoring: NaN": answering(lambda found: found * NAN),
    "scoring: the second vector NaN": answering(lambda found: found * torch.tensor([[1.0], [NAN]])),
    "scoring: zeros": answering(torch.zeros_like),
    "scoring: the second vector zero": answering(lambda found: found * torch.tensor([[1.0], [0.0]])),
    "scoring: constant": answering(lambda found: torch.nn.functional.normalize(torch.ones_like(found))),
    "scoring: infinite": answering(lambda found: found / 0),
    "scoring: too few vectors": answering(lambda found: found[:1]),
    "scoring: no judge answers": lambda here: here.break_(
        evaluation, "same_face", lambda real, crop, clean, written, *_: real(crop, clean, written, (), 0.01)
    ),
}


def half_written(error: BaseException | None) -> Callable[[World], None]:
    """The encoder stops half way; without an error, as on some network drives, it says nothing."""

    def broken(real, image, path, *rest, **named):
        real(image, path, *rest, **named)
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: len(content) // 2])
        if error is not None:
            raise error

    return lambda here: here.break_(Image.Image, "save", broken)


FAULTS |= {
    "save: full disk": half_written(FULL),
    "save: permission": raising(Image.Image, "save", DENIED),
    "save: interrupted half way": half_written(KeyboardInterrupt()),
    "save: cut off without a word": half_written(None),
    "save: the first move fails": raising(os, "replace", FULL),
    "save: interrupted at the move": raising(os, "replace", KeyboardInterrupt()),
    "save: no folder": raising(Path, "mkdir", DENIED),
}


# ---------------------------------------------------------------- the promise


def protected(file: Path) -> bool:
    """Whether healthy judges say so of an output, which must be a whole picture."""
    clean, written = open_photo(Path("in", file.stem).with_suffix(".png")), open_photo(file)
    crop = fakes.photo_crop(clean, *PLACE, SIZE)
    answers = evaluation.same_face(crop, clean, written, judges(), 0.01)
    return all(answer.verdict in (evaluation.PROTECTED, evaluation.WEAK) for answer in answers)


def check(name: str, hit: str, form: str, earlier: bool) -> None:
    """Run the command with a fault and look at what is on the disk, and at what it says."""
    with world(hit) as here:
        before = {}
        if earlier:
            assert run("--format", form)[0] == 0
            before = {file.name: file.read_bytes() for file in Path("out").iterdir()}
        FAULTS[name](here)
        here.now = ""
        status, said = run("--format", form, "--overwrite")
        here.patch.undo()
        written = {file.name: file.read_bytes() for file in Path("out").iterdir()} if Path("out").exists() else {}
        assert status in (1, 130), said
        assert "Traceback" not in said and (f"{hit}.png: " in said or status == 130), said
        assert written.get(f"{hit}.{form}") == before.get(f"{hit}.{form}")
        assert all(file.name in {f"{each}.{form}" for each in NAMES} for file in Path("out").glob("*"))
        assert all(map(protected, Path("out").glob("*")))
        done = NAMES if status == 1 else NAMES[: NAMES.index(hit)]
        assert {f"{each}.{form}" for each in done if each != hit} <= set(written)


def test_without_a_fault_all_three_are_protected():
    with world("none"):
        status, said = run()
        assert status == 0 and "3 of 3 photos protected" in said
        assert all(protected(Path("out", f"{name}.png")) for name in NAMES)


def stage(name: str) -> str:
    """Where on the way of a photo a fault lies."""
    return re.split(r":| raises| finds", name)[0]


# Of each stage the first fault that raises an error and the first that does not; the others with the slow tests.
FIRST = {(stage(name), "raises" in name): name for name in reversed(FAULTS)}.values()


@pytest.mark.parametrize(
    "name", [name if name in FIRST else pytest.param(name, marks=pytest.mark.slow) for name in FAULTS]
)
def test_no_fault_lets_an_unprotected_photo_out(name):
    check(name, "b", "png", earlier=False)


@given(st.sampled_from(sorted(FAULTS)), st.sampled_from(NAMES), st.sampled_from(["png", "jpg", "webp"]), st.booleans())
def test_whichever_photo_it_hits_and_whatever_was_there(name, hit, form, earlier):
    check(name, hit, form, earlier)


# ---------------------------------------------------------------- the same promises of the library


@pytest.mark.parametrize("name", [name for name in FAULTS if name.startswith(("landmarks", "rendering:", "paste"))])
def test_the_library_refuses_what_no_judge_has_seen(name):
    """``protect`` of the library asks no judges, so it must notice by itself."""
    with world("b") as here:
        FAULTS[name](here)
        here.now = "b"
        with pytest.raises((ValueError, RuntimeError, MemoryError)):
            Protector(here.method).protect("in/b.png")


def test_no_change_is_refused_unless_it_is_asked_for():
    with world("none"):
        still = Protector(Method("still", lambda crop, reference: crop.image, SIZE))
        with pytest.raises(ProtectionError, match=r"^b\.png: the face at \(22, 30\) did not change"):
            still.protect("in/b.png")
        assert still.protect("in/b.png", strength=0).faces[0].mean_change == 0


@pytest.mark.parametrize("threshold", [NAN, float("inf"), 5.0, -7.0])
def test_a_threshold_that_no_cosine_reaches_is_refused(threshold, tmp_path):
    """Above it nobody would be recognised, and everybody protected."""
    (judge,) = fakes.tiny_recognizers("tiny_a")
    with pytest.raises(ValueError, match="tiny_a has a threshold that is no cosine"):
        evaluation.with_thresholds([judge.with_thresholds({0.01: threshold})], 0.01)
    (tmp_path / "t.csv").write_text(f"recogniser,far,threshold\ntiny_a,0.01,{threshold}\n")
    with pytest.raises(ValueError, match="the column threshold must hold numbers from -1 to 1"):
        evaluation.with_thresholds([judge], 0.01, tmp_path / "t.csv")
