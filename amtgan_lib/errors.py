"""Errors that end a command with an exit status of their own, and what to say about a misspelt name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WrongArguments(Exception):
    """What was asked for contradicts itself or cannot be right; one sentence, before any work."""

    exit_status = 2


class Interrupted(Exception):
    """Ctrl-C or SIGTERM: what is finished stays, and nothing is half written; one sentence."""

    exit_status = 130


def did_you_mean(word: str, names: Iterable[str], are: str = "") -> str:
    """The end of a message: "did you mean 'recipe'?" if a name is similar, else all names after ``are``, or nothing."""
    names = list(names)
    if near := difflib.get_close_matches(word, names, n=1):
        return f"did you mean {near[0]!r}?"
    return are and f"{are} {', '.join(names)}."
