"""The commands for one's own photos: `protect` and `evaluate`.

What is slow is imported when they run, so that `--help` and a misspelt option are answered at once.
"""

from __future__ import annotations

from typing import Annotated

import tyro

from amtgan_lib.cli.arguments import Evaluate, Protect


def protect(options: Annotated[Protect, tyro.conf.arg(name="")]) -> int:
    """Protect the faces of a photo, or of every photo of a folder, from recognisers nobody agreed to.

    Recognisers judge each result. A photo in which no face is found, or one is still recognised, is not written. The
    exit status is 0 only when none of those asked takes any face that was to be protected for its owner, and none of
    these faces was too small to change. That is no promise about other recognisers.
    """
    from amtgan_lib.cli import protect as protecting

    return protecting.run(options)


def evaluate(options: Annotated[Evaluate, tyro.conf.arg(name="")]) -> int:
    """Compare clean and protected photos: does a recogniser still take the largest face for the same person?

    The exit status is 0 only when every photo could be compared and no recogniser asked still knows its owner.
    """
    from amtgan_lib.cli import evaluate as evaluating

    return evaluating.run(options)
