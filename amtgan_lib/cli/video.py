"""The command `video`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from amtgan_lib.cli.arguments import Flag, PhotoFile, Photos, arg, must_exist
from amtgan_lib.errors import Interrupted


def video(
    clip: Annotated[Path, tyro.conf.Positional, arg("VIDEO")],
    output: Annotated[Path | None, arg("OUT", aliases=["-o"])] = None,
    reference: PhotoFile = None,
    known: Photos = (),
    generator: Annotated[Path | None, arg("FILE")] = None,
    impersonate: Flag = False,
    strength: Annotated[float, arg("0..1", "1")] = 1.0,
    lost: Literal["blank", "cover", "refuse", "keep"] = "blank",
    strip_metadata: Flag = False,
    keep_location: Flag = False,
    overwrite: Flag = False,
) -> int:
    """Protect every face in every frame of a video; frames, timing and sound are kept.

    The exit status is 0 only if no face was lost in any frame and none jumps, that is, appears far from its place in
    the frames before and after. A face too small to change counts as lost. Videos are not scored by recognisers: run
    `protect` on a single frame for that. Repeat the same command to resume an interrupted video.

    Args:
        clip: The video.
        output: File to write. The default is NAME_protected beside the video, in the same container.
        reference: A photo whose makeup is applied to every face. Without it, faces keep their own.
        known: A photo of a person in the video, such as a public one that recognisers may know, or a folder of such
            photos; may be repeated. The look hides from these faces.
        generator: Generator to use instead of a natural look.
        impersonate: Confirm that faces should pass as the person that the generator was trained for.
        strength: Share of the change to apply. Less is less visible and protects less.
        lost: What to do with frames in which a face was lost: blank makes them black, cover hides the place of the
            face, refuse writes no video, keep leaves the face unprotected.
        strip_metadata: Remove the title and date stored in the file.
        keep_location: Keep where the video was taken, which is otherwise removed.
        overwrite: Replace an existing file.
    """
    must_exist(clip, reference, generator, *known)  # before slow imports
    from tqdm import tqdm

    from amtgan_lib import protection
    from amtgan_lib.cli import folders
    from amtgan_lib.protection.video import file_beside, protect_video

    out = _free(output or clip.with_stem(f"{clip.stem}_protected"), overwrite)
    try:
        report = protect_video(
            clip,
            out,
            protection.prepare(generator, impersonate=impersonate, known=folders.photos(known)),
            reference,
            strength=strength,
            lost=lost,
            keep_metadata=not strip_metadata,
            keep_location=keep_location,
            progress=lambda frames: tqdm(frames, unit="frame", leave=False),
        )
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted: no video was written; the same command resumes, from what is noted in {file_beside(out)}"
        ) from None
    print(f"{clip}: {report} -> {out}. No recogniser was asked about it.")
    return 1 if report.lost or report.doubtful else 0


def _free(out: Path, overwrite: bool) -> Path:
    """The file to write; VideoError for a folder, and for a file that is there and may not be replaced."""
    from amtgan_lib.protection.video import VideoError

    if out.is_dir():
        raise VideoError(f"{out} is a folder: name the file to write")
    if out.exists() and not overwrite:
        raise VideoError(f"{out} exists: --overwrite replaces it")
    return out
