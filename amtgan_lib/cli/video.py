"""The command `video`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from amtgan_lib.cli.arguments import must_exist

Flag = tyro.conf.FlagCreatePairsOff[bool]


def video(
    clip: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO")],
    output: Annotated[Path | None, tyro.conf.arg(metavar="OUT", aliases=["-o"])] = None,
    reference: Annotated[Path | None, tyro.conf.arg(metavar="PHOTO")] = None,
    generator: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    strength: float = 1.0,
    lost: Literal["blank", "cover", "refuse", "keep"] = "blank",
    strip_metadata: Flag = False,
    overwrite: Flag = False,
) -> int:
    """Protect every face in every frame of a video; frames, their times and the sound stay.

    The exit status is 0 only when no face was lost in any frame; one too small to change counts as lost. Nothing is
    asked of recognisers here: `protect` on a frame tells what they say.

    Args:
        clip: The video.
        output: File to write (default: NAME_protected beside the video, in the same container).
        reference: A makeup photo, whose makeup every face gets. Without it faces stay in their own.
        generator: Another generator than the one that comes along.
        strength: How much of the change, 0 to 1.
        lost: What becomes of frames in which a face was lost: blank makes them black, cover the face's place, refuse
            writes nothing, keep lets the face pass unprotected.
        strip_metadata: Leave out title, place and date of the file.
        overwrite: Replace a file that is there already.
    """
    must_exist(clip, reference, generator)  # before what is slow is imported
    from tqdm import tqdm

    from amtgan_lib import protection
    from amtgan_lib.protection.video import VideoError, protect_video

    out = output or clip.with_stem(f"{clip.stem}_protected")
    if out.exists() and not overwrite:
        raise VideoError(f"{out} is there already: --overwrite replaces it")
    report = protect_video(
        clip,
        out,
        protection.prepare(generator),
        reference,
        strength=strength,
        lost=lost,
        keep_metadata=not strip_metadata,
        progress=lambda frames: tqdm(frames, unit="frame", leave=False),
    )
    print(f"{report} -> {out}")
    return 1 if report.lost else 0
