"""The commands for one's own photos: `protect` and `evaluate`.

Slow packages are imported when they run, so that `--help` and misspelt options answer at once.
"""

from __future__ import annotations

from typing import Annotated

import tyro

from amtgan_lib.cli.arguments import Evaluate, Protect


def protect(options: Annotated[Protect, tyro.conf.arg(name="")]) -> int:
    """Protect the faces of a photo, or of every photo of a folder, from face recognition.

    Recognisers judge each result. A photo is not written if no face is found in it, or if a face is still recognised.
    The exit status is 0 only if no recogniser asked still recognises a face to be protected, at least one of them did
    not guide the change, and no such face was too small to change. It is 3 if all of them guided the change. Other
    recognisers may still recognise the face.
    """
    from amtgan_lib.cli import protect as protecting

    return protecting.run(options)


def evaluate(options: Annotated[Evaluate, tyro.conf.arg(name="")]) -> int:
    """Compare clean and protected photos: does a recogniser still match the largest face?

    The exit status is 0 only if every photo could be compared and no recogniser asked still recognises its owner. It is
    3 if that is so, but only our own recognisers were asked, which are there to guide `protect`. With --protocol it is
    0 if every photo of the protocol could be scored, whatever the scores are.
    """
    if options.protocol:
        from amtgan_lib.cli import scoring

        return scoring.run(options)
    from amtgan_lib.cli import evaluate as evaluating

    return evaluating.run(options)
