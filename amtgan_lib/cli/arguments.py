"""What `protect` and `evaluate` take, checked before anything slow is imported or loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro


def _arg(metavar: str | None = None, default: str = "", **more: Any) -> Any:
    """An argument whose help names the default in words, or not at all, where tyro would say None."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})" if default else "", **more)


Flag = Annotated[tyro.conf.FlagCreatePairsOff[bool], _arg()]
PhotoFile = Annotated[Path | None, _arg("PHOTO")]
Format = Annotated[Literal["png", "jpg", "webp", "tiff", "same"] | None, _arg("{png,jpg,webp,tiff,same}", "png")]
Names = Annotated[str, _arg("NAME,NAME")]
Rate = Annotated[float, _arg("RATE", "0.01")]
Table = Annotated[Path | None, _arg("CSV", "results/measured/thresholds.csv")]


class WrongArguments(Exception):
    """Arguments that contradict each other or name what cannot be; one sentence."""

    exit_status = 2


class NotDone(Exception):
    """A command that cannot do anything; one sentence."""


class Interrupted(Exception):
    """Ctrl-C: what is done stays, nothing is half written; one sentence."""

    exit_status = 130


@dataclass(frozen=True)
class Protect:
    """What `protect` takes.

    Args:
        photo: The photo, or a folder with all photos in it and in its folders (linked folders are not entered).
        output: File or folder to write. Without it NAME_protected.png beside the photo, or FOLDER_protected beside the
            folder. In a folder, photos keep their names and subfolders.
        format: Kind of file where OUT does not say it: png changes no pixel outside the faces; same is each photo's
            own. jpg is written at quality 95: coarser files wash the protection out.
        reference: A makeup photo, whose makeup every face gets. Without it faces stay in their own.
        strength: How much of the change: 1 all of it, less is seen less and protects less.
        passes: How often the generator looks at each face: more protects more and is seen more.
        faces: Which faces: pick lists them with numbers and asks, or takes --pick.
        pick: Numbers of the faces, the largest is 1.
        target: A photo of the person to be taken for, who has agreed; may be given again. Without it nobody. Needs
            --impersonate.
        impersonate: Yes, faces are to be taken for that person, who may have to answer for it.
        generator: Another generator than the one that comes along: what `train` made, or G.pth of the paper's authors.
        ask: Recognisers that judge the result, or open, drawn or published for a set of them. Without it those that
            gave the hints, or the open ones.
        held_out: Recognisers that give no hints (nor what was distilled from them) and judge the result: an honest
            answer, and a little less protection. Without it all at hand give hints.
        far: False accept rate whose threshold counts: 0.1 asks the most of a protection, 0.001 the least.
        thresholds: Thresholds of recognisers that have none of their own, as notebook 02 writes them.
        keep_recognised: Write photos, too, in which a face is still recognised. The exit status is 1 all the same.
        strip_metadata: Leave out EXIF: camera, time, place. Without it EXIF is kept, but never the preview picture in
            it.
        overwrite: Replace files that are there already (never the photos themselves).
        skip_existing: Pass over photos whose output is there already, so that a folder can go on.
        report: Say for each face what each recogniser says before and after.
        json: Print everything as JSON on stdout; what is for people goes to stderr.
    """

    photo: Annotated[Path, tyro.conf.Positional, _arg("PHOTO|FOLDER")]
    output: Annotated[Path | None, _arg("OUT", aliases=["-o"])] = None
    format: Format = None
    reference: PhotoFile = None
    strength: Annotated[float, _arg("0..1", "1")] = 1.0
    passes: Annotated[int | None, _arg("N", "4")] = None
    faces: Literal["all", "largest", "pick"] = "all"
    pick: Annotated[str, _arg("1,3")] = ""
    target: Annotated[tuple[Path, ...], _arg("PHOTO"), tyro.conf.UseAppendAction] = ()
    impersonate: Flag = False
    generator: Annotated[Path | None, _arg("FILE")] = None
    ask: Names = ""
    held_out: Names = ""
    far: Rate = 0.01
    thresholds: Table = None
    keep_recognised: Flag = False
    strip_metadata: Flag = False
    overwrite: Flag = False
    skip_existing: Flag = False
    report: Flag = False
    json: Flag = False

    def __post_init__(self):
        _there(self.photo, self.reference, self.generator, self.thresholds, *self.target)
        two = "contradict each other: take one."
        _refuse(not 0 <= self.strength <= 1, f"--strength is {self.strength:g}: take a number from 0 to 1.")
        _refuse(self.passes is not None and self.passes < 1, f"--passes is {self.passes}: take 1 or more.")
        _refuse(self.overwrite and self.skip_existing, f"--overwrite and --skip-existing {two}")
        _refuse(bool(self.pick) and self.faces == "largest", f"--pick and --faces largest {two}")
        _refuse(bool(self.ask and self.held_out), f"--ask and --held-out {two}")
        _refuse(
            bool(self.target) and not self.impersonate,
            "--target makes recognisers take faces for that person, who may have to answer for it: add --impersonate "
            "if that is agreed, or leave --target out to be taken for nobody.",
        )
        _ = self.numbers

    @property
    def numbers(self) -> tuple[int, ...]:
        """The faces that --pick names, from 1; () where it is not given."""
        return face_numbers(self.pick) if self.pick else ()

    @property
    def picking(self) -> bool:
        """Whether faces are picked by number."""
        return self.faces == "pick" or bool(self.pick)

    @property
    def everyone(self) -> bool:
        """Whether every face is to be protected."""
        return self.faces == "all" and not self.pick


@dataclass(frozen=True)
class Evaluate:
    """What `evaluate` takes.

    Args:
        clean: The photo as it was, or a folder of such photos.
        protected: The protected photo, or the folder that `protect` wrote: same names, in the same subfolders.
        known: Another photo of the same person, which a recogniser may know, or a folder of such photos with the same
            names. Without it the clean photo itself, which asks more of a protection.
        ask: Recognisers to ask, or open, drawn or published for a set of them. Without it the open ones that lie on
            this machine; our own, which tells strangers apart poorly, where there is none.
        far: False accept rate whose threshold counts: 0.1 asks the most of a protection, 0.001 the least.
        thresholds: Thresholds of recognisers that have none of their own, as notebook 02 writes them.
        json: Print everything as JSON on stdout; what is for people goes to stderr.
    """

    clean: Annotated[Path, tyro.conf.Positional, _arg("CLEAN")]
    protected: Annotated[Path, tyro.conf.Positional, _arg("PROTECTED")]
    known: PhotoFile = None
    ask: Names = ""
    far: Rate = 0.01
    thresholds: Table = None
    json: Flag = False

    def __post_init__(self):
        _there(self.clean, self.protected, self.known, self.thresholds)


def face_numbers(text: str) -> tuple[int, ...]:
    """`1,3` as numbers; WrongArguments for anything else."""
    parts = [part.strip() for part in text.split(",")]
    good = all(part.isascii() and part.isdigit() and int(part) >= 1 for part in parts)
    _refuse(not good, f"{text!r} names no faces: take their numbers with commas between, such as 1,3.")
    return tuple(sorted({int(part) for part in parts}))


def _there(*paths: Path | None) -> None:
    for path in paths:
        _refuse(path is not None and not path.exists(), f"there is no file or folder {path}: check the path.")


def _refuse(wrong: bool, sentence: str) -> None:
    if wrong:
        raise WrongArguments(sentence)
