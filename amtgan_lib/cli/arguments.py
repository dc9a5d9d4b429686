"""The arguments of `protect` and `evaluate`, checked before anything slow is imported or loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from amtgan_lib.errors import WrongArguments


def arg(metavar: str | None = None, default: str = "", **more: Any) -> Any:
    """An argument whose help gives the default in words or not at all, where tyro would print None."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})" if default else "", **more)


Flag = Annotated[tyro.conf.FlagCreatePairsOff[bool], arg()]
PhotoFile = Annotated[Path | None, arg("PHOTO")]
Photos = Annotated[tuple[Path, ...], arg("PHOTO|FOLDER"), tyro.conf.UseAppendAction]
Format = Annotated[Literal["png", "jpg", "webp", "tiff", "same"] | None, arg("{png,jpg,webp,tiff,same}", "png")]
Names = Annotated[str, arg("NAME,NAME")]
Rate = Annotated[float, arg("RATE", "0.01")]
Table = Annotated[Path | None, arg("CSV", "the recognisers' own")]


class NotDone(Exception):
    """A command that cannot do its work; one sentence."""


@dataclass(frozen=True)
class Protect:
    """The arguments of `protect`.

    Args:
        photo: The photo, or a folder whose photos are all protected, including those in subfolders. Linked folders
            are skipped.
        output: File or folder to write. The default is NAME_protected.png beside the photo, or FOLDER_protected beside
            the folder. Photos in a folder keep their names and subfolders.
        format: File format if OUT does not name one. png keeps every pixel outside the faces, same keeps the format of
            each photo, jpg is written at quality 95, because stronger compression weakens the protection.
        reference: A photo whose makeup is applied to every face. Without it, faces keep their own.
        known: Another photo of a person shown, such as a public one that recognisers may know, or a folder of such
            photos; may be repeated. The look hides from these faces, and the verdict is about them. Without it, the
            look hides from the photo itself, which protects less, and the verdict is an estimate.
        strength: Share of the change to apply. Less is less visible and protects less.
        quick: Search for each look in less than half of the steps: faster, but weaker protection.
        stronger: Search for longer, and for looks that show more: better protection, but a face changes more plainly.
        passes: Number of passes of an any-target generator over each face. More passes
            protect better and are more visible.
        faces: Which faces to protect. pick lists them with numbers and asks, unless --pick names them.
        pick: Numbers of the faces to protect; 1 is the largest.
        add_face: Box around a face that no detector finds, as left, top, right and bottom edge in pixels of the photo;
            may be repeated. If no landmarks fit it, the face is reported and the exit status is 1.
        show_faces: Picture to write, or folder for them, with a box around each face found: numbered, too small or
            doubtful. It shows the unprotected photo.
        target: A photo of a person who has agreed that faces pass as them; may be repeated. Without it, faces pass as
            nobody. Needs --impersonate.
        impersonate: Confirm that faces should pass as that person, who may be held responsible for it.
        generator: Generator to use instead of a natural look: made by `train`, or G.pth of the paper's authors.
        ask: Recognisers that judge the result, by name, or a set: open, drawn or published. The default is dlib's and
            the open ones, as far as they are on this machine. If there are none, our own are asked, which tell
            strangers apart poorly.
        held_out: Recognisers that judge the result and give no hints, directly or through distillation. The verdict
            is more reliable and the protection a little weaker. By default all available recognisers give hints.
        far: False accept rate of the threshold. 0.1 is the hardest test of a protection, 0.001 the easiest.
        thresholds: Thresholds to use instead of the recognisers' own, as notebook 02 writes them.
        keep_recognised: Also write photos in which a face is still recognised. The exit status is still 1.
        strip_metadata: Remove comments and EXIF data such as camera and time. Otherwise they are kept, except for the
            location and previews.
        keep_location: Keep where the photo was taken (GPS).
        overwrite: Replace existing files, but never an input photo.
        skip_existing: Skip photos whose output exists, to resume a folder.
        report: Print what each recogniser says about each face, before and after.
        json: Print the report as JSON to stdout; messages go to stderr.
    """

    photo: Annotated[Path, tyro.conf.Positional, arg("PHOTO|FOLDER")]
    output: Annotated[Path | None, arg("OUT", aliases=["-o"])] = None
    format: Format = None
    reference: PhotoFile = None
    known: Photos = ()
    strength: Annotated[float, arg("0..1", "1")] = 1.0
    quick: Flag = False
    stronger: Flag = False
    passes: Annotated[int | None, arg("N", "4")] = None
    faces: Literal["all", "largest", "pick"] = "all"
    pick: Annotated[str, arg("1,3")] = ""
    add_face: Annotated[tuple[str, ...], arg("X0,Y0,X1,Y1"), tyro.conf.UseAppendAction] = ()
    show_faces: Annotated[Path | None, arg("FILE|FOLDER")] = None
    target: Annotated[tuple[Path, ...], arg("PHOTO"), tyro.conf.UseAppendAction] = ()
    impersonate: Flag = False
    generator: Annotated[Path | None, arg("FILE")] = None
    ask: Names = ""
    held_out: Names = ""
    far: Rate = 0.01
    thresholds: Table = None
    keep_recognised: Flag = False
    strip_metadata: Flag = False
    keep_location: Flag = False
    overwrite: Flag = False
    skip_existing: Flag = False
    report: Flag = False
    json: Flag = False

    def __post_init__(self):
        must_exist(self.photo, self.reference, self.generator, self.thresholds, *self.known, *self.target)
        two = "contradict each other: choose one."
        _refuse(not 0 <= self.strength <= 1, f"--strength is {self.strength:g}: it must be between 0 and 1.")
        _refuse(self.passes is not None and self.passes < 1, f"--passes is {self.passes}: it must be at least 1.")
        _refuse(self.quick and self.stronger, f"--quick and --stronger {two}")
        _refuse(self.overwrite and self.skip_existing, f"--overwrite and --skip-existing {two}")
        _refuse(self.strip_metadata and self.keep_location, f"--strip-metadata and --keep-location {two}")
        _refuse(bool(self.pick) and self.faces == "largest", f"--pick and --faces largest {two}")
        _refuse(bool(self.ask and self.held_out), f"--ask and --held-out {two}")
        _refuse(
            bool(self.target) and not self.impersonate,
            "with --target, recognisers take the faces for that person, who may be held responsible for it: "
            "add --impersonate if the person has agreed, or omit --target to pass as nobody.",
        )
        _refuse(bool(self.add_face) and self.photo.is_dir(), "--add-face is for one photo, not for a folder.")
        _ = self.numbers, self.boxes

    @property
    def numbers(self) -> tuple[int, ...]:
        """The faces that --pick names, from 1; () without it."""
        return face_numbers(self.pick) if self.pick else ()

    @property
    def boxes(self) -> tuple[tuple[float, float, float, float], ...]:
        """The boxes of --add-face, in photo pixels."""
        return tuple(map(face_box, self.add_face))

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
    """The arguments of `evaluate`.

    Args:
        clean: The original photo, or a folder of original photos. With --protocol, the folder of protected photos.
        protected: The protected photo, or the folder that `protect` wrote, with the same names and subfolders.
        known: Another photo of the same person that a recogniser may know, or a folder of such photos with the same
            names. The default is the clean photo itself, with thresholds raised to where a typical other photo matches.
        ask: Recognisers to ask, by name, or a set: open, drawn or published. The default is dlib's and the open ones,
            as far as they are on this machine. If there are none, our own are asked, which tell strangers apart poorly.
        far: False accept rate of the threshold. 0.1 is the hardest test of a protection, 0.001 the easiest.
        thresholds: Thresholds to use instead of the recognisers' own, as notebook 02 writes them.
        protocol: Score any method's results for the photos that `protocol NAME FOLDER` wrote, under the same names.
        card: Method card (YAML) of --protocol: which recognisers gave hints, and who the photos should be taken for.
        submit: Store the scores and the card as an entry of the leaderboard. Needs --protocol.
        json: Print the report as JSON to stdout; messages go to stderr.
    """

    clean: Annotated[Path, tyro.conf.Positional, arg("CLEAN")]
    protected: Annotated[Path | None, tyro.conf.Positional, arg("PROTECTED")] = None
    known: PhotoFile = None
    ask: Names = ""
    far: Rate = 0.01
    thresholds: Table = None
    protocol: Annotated[str, arg("NAME")] = ""
    card: Annotated[Path | None, arg("FILE")] = None
    submit: Flag = False
    json: Flag = False

    def __post_init__(self):
        must_exist(self.clean, self.protected, self.known, self.thresholds, self.card)
        if not self.protocol:
            _refuse(self.protected is None, "give the protected photo or folder as well, or a --protocol.")
            _refuse(bool(self.card or self.submit), "--card and --submit need --protocol.")
            return
        others = bool(self.protected or self.known or self.thresholds)
        _refuse(others, "--protocol takes one folder, and has its own known photos and thresholds.")
        _refuse(not self.clean.is_dir(), f"--protocol takes a folder of protected photos, but {self.clean} is not one.")
        _refuse(self.submit and not self.card, "--submit needs --card, which declares what the method had access to.")
        _refuse(self.submit and bool(self.ask), "--submit asks every judge of the protocol: omit --ask.")


def face_numbers(text: str) -> tuple[int, ...]:
    """`1,3` as numbers; WrongArguments for anything else."""
    parts = [part.strip() for part in text.split(",")]
    good = all(part.isascii() and part.isdigit() and int(part) >= 1 for part in parts)
    _refuse(not good, f"{text!r} is not a list of face numbers: separate them with commas, as in 1,3.")
    return tuple(sorted({int(part) for part in parts}))


def face_box(text: str) -> tuple[float, float, float, float]:
    """`10,20,110,140` as numbers; WrongArguments for anything else."""
    parts = [part.strip() for part in text.split(",")]
    good = len(parts) == 4 and all(part.isascii() and part.isdigit() for part in parts)
    good = good and int(parts[0]) < int(parts[2]) and int(parts[1]) < int(parts[3])
    _refuse(not good, f"{text!r} is not a box: give left, top, right and bottom in pixels, as in 10,20,110,140.")
    return tuple(map(float, parts))


def must_exist(*paths: Path | None) -> None:
    """Raise WrongArguments for the first path that does not exist."""
    for path in paths:
        _refuse(path is not None and not path.exists(), f"there is no file or folder {path}: check the path.")


def _refuse(wrong: bool, sentence: str) -> None:
    if wrong:
        raise WrongArguments(sentence)
