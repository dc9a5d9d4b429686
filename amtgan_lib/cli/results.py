"""The command `results`: the generated parts of README.md, docs/ and results/figures, made from the stored rows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated

import tyro

from amtgan_lib import paths
from amtgan_lib.cli.arguments import Flag, arg
from amtgan_lib.cli.table import COMMANDS
from amtgan_lib.errors import WrongArguments
from amtgan_lib.reporting import pages

Files = Annotated[tuple[str, ...], arg("FILE"), tyro.conf.UseAppendAction]


def results(only: Files = (), check: Flag = False) -> int:
    """Regenerate the tables, quoted numbers and figures of README.md and docs/ from the rows in results/measured.

    Nothing is measured. Text between the generated parts is left as it is.

    Args:
        only: Name of one file, such as results.md or open-small_success.png; may be repeated. The default is all.
        check: Write nothing; the exit status is 1 if a file does not match the stored rows.
    """
    stale = 0
    for part in _chosen(only):
        if not part.stale():
            said = "up to date"
        elif check:
            stale, said = stale + 1, "stale: `make results` regenerates it"
        else:
            part.make()
            said = "written"
        print(f"{part.name}: {said}", flush=True)
    return 1 if stale else 0


def _chosen(names: tuple[str, ...]) -> list[pages.Part]:
    parts = pages.parts(makers())
    known = {part.name: part for part in parts}
    for name in names:
        if name not in known:
            raise WrongArguments(f"there is no generated file {name!r}: choose from {', '.join(known)}.")
    return [known[name] for name in names] or parts


def commands() -> str:
    """The block of docs/commands.md: each command with its examples."""
    lines = []
    for name, command in COMMANDS.items():
        lines += [f"### `{name}`", "", f"{command.help[0].upper()}{command.help[1:]}.", "", "```bash"]
        for rest, what in command.examples:
            lines += [f"# {what}", f"python -m amtgan_lib {name} {rest}".rstrip()]
        lines += ["```", ""]
    return "\n".join(lines)


def _board(name: str) -> str:
    from amtgan_lib.evaluation import leaderboard  # seconds, with torch

    return leaderboard.board(name)


def makers() -> dict[str, Callable[[], str]]:
    """The blocks that are not made from the rows in results/measured."""
    boards = {
        f"leaderboard-{file.stem}": functools.partial(_board, file.stem) for file in paths.PROTOCOLS.glob("*.json")
    }
    return {"commands": commands, **boards}
