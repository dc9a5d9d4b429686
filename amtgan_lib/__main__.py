"""The command line: `python -m amtgan_lib COMMAND ...`, installed as `amtgan`.

A command is one entry of `COMMANDS`. Its module is imported only when the command runs, so the help is fast. Exit
status: 0 done, 1 it failed and said why, 2 the arguments were wrong, 130 interrupted.
"""

import contextlib
import difflib
import functools
import importlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from amtgan_lib import __version__, lazy
from amtgan_lib.cli import PROGRAM

FAILED, WRONG_ARGUMENTS, INTERRUPTED = 1, 2, 130


class Command(NamedTuple):
    """`target` is "module:attribute": a function, or a dict of functions by subcommand name.

    tyro makes the arguments from a function's signature. It returns an exit status or None, which means 0. `examples`
    stand below the help: each is what follows the command's name, and what that does.
    """

    target: str
    help: str
    examples: tuple[tuple[str, str], ...] = ()


COMMANDS = {
    "protect": Command(
        "amtgan_lib.cli.photos:protect",
        "protect the faces of a photo, or of a folder of photos",
        (
            ("me.jpg", "writes me_protected.png"),
            ("me.jpg -o out.jpg --reference makeup.jpg", "in the makeup of another photo, as JPEG"),
            ("holiday -o safer --report", "every photo of a folder, and what recognisers say"),
            ("holiday -o safer --skip-existing", "goes on where an earlier run stopped"),
            ("group.jpg --faces pick", "lists the faces with numbers, and asks"),
            ("group.jpg --pick 1,3 --strip-metadata", "two faces only, and no EXIF"),
            ("me.jpg --target friend.jpg --impersonate", "to be taken for a friend, who agreed"),
            ("holiday -o safer --json > report.json", "everything as JSON"),
        ),
    ),
    "video": Command(
        "amtgan_lib.cli.video:video",
        "protect the faces of a video",
        (
            ("clip.mp4", "writes clip_protected.mp4; frames in which a face was lost are black"),
            ("clip.mp4 -o safer.mp4 --lost refuse", "or nothing is written when a face was lost"),
        ),
    ),
    "evaluate": Command(
        "amtgan_lib.cli.photos:evaluate",
        "ask recognisers about clean and protected photos",
        (
            ("me.jpg me_protected.png", "against the clean photo itself"),
            ("me.jpg me_protected.png --known me_2019.jpg", "against another photo of the same person"),
            ("holiday safer --ask edgeface_xs,edgeface_xxs --json", "two folders, two recognisers"),
        ),
    ),
    "train": Command(
        "amtgan_lib.cli.pipeline:train",
        "train generators (notebooks 01 to 03 of a preset)",
        (
            ("--recipe residual", "on drawn faces, a few minutes"),
            ("--preset any-target", "on photographs: any target, or nobody"),
            ("--recipe residual -p 03_train.steps='{residual: 50}'", "a short try"),
            ("--recipe residual --resume-from results/runs/ID/train/residual/checkpoint.pt", "goes on"),
        ),
    ),
    "reproduce": Command(
        "amtgan_lib.cli.pipeline:reproduce",
        "the tables and figures of the default run, with no download",
        (("", "10 minutes on 2 cores"), ("--run-id latest --resume", "goes on with an interrupted run")),
    ),
    "pipeline": Command(
        "amtgan_lib.cli.pipeline:pipeline",
        "run the notebooks of a preset in order",
        (
            ("--preset open-small", "photographs and open recognisers"),
            ("--preset open-small -p held_out=edgeface", "the other split of the recognisers"),
            ("--run-id latest --from 05 --resume", "from notebook 05 on, what is done is kept"),
        ),
    ),
    "sweep": Command(
        "amtgan_lib.cli.pipeline:sweep",
        "run a preset for each value of a parameter, side by side",
        (("--over seed=0,1,2 -p held_out=mobilefacenet", "three runs, one table"),),
    ),
    "assets": Command(
        "amtgan_lib.cli.assets:COMMANDS",
        "photographs and weights: list, fetch, verify, import",
        (
            ("list", "groups, sizes, licences, and what is at hand"),
            ("fetch edgeface_xs edgeface_xxs", "two recognisers"),
            ("import assets.zip", "the archive of the paper's authors"),
        ),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; errors of this package become one sentence on stderr."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    _say_any_name()
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _say("interrupted.", INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough. Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        # This package's own errors and the system's carry a sentence for the user; any other is a bug to be traced.
        if not isinstance(error, OSError) and not type(error).__module__.startswith("amtgan_lib."):
            raise
        return _say(str(error), getattr(error, "exit_status", FAILED))


def _say_any_name() -> None:
    """Let stdout and stderr say file names that their encoding lacks, escaped: one must not stop the files after it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors="backslashreplace")


def _say(sentence: str, status: int) -> int:
    sentence = " ".join(sentence.split()).replace("python -m amtgan_lib", PROGRAM)
    print(f"{PROGRAM}: {sentence}", file=sys.stderr)
    return status


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments == ["--version"]:
        print(f"amtgan_lib {__version__}")
        return 0
    if not arguments:
        return _say(f"name a command: {', '.join(COMMANDS)} (see --help).", WRONG_ARGUMENTS)
    name, *rest = arguments
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the commands are {', '.join(COMMANDS)}."
        return _say(f"there is no command {name!r}: {hint}", WRONG_ARGUMENTS)
    for package in ("pandas", "matplotlib.pyplot"):
        lazy.later(package)
    module, attribute = COMMANDS[name].target.split(":")
    target = getattr(importlib.import_module(module), attribute)
    status = _call(target, f"{PROGRAM} {name}", rest)
    if {"-h", "--help"} & set(rest) and COMMANDS[name].examples:
        print(_examples(name))
    return status


def _examples(name: str) -> str:
    calls = [(f"{PROGRAM} {name} {rest}".rstrip(), what) for rest, what in COMMANDS[name].examples]
    return "\n".join(["examples:", *(f"  {call}\n      {what}" for call, what in calls)])


def _help() -> str:
    lines = [f"usage: {PROGRAM} COMMAND ...", "", "AMT-GAN as notebooks that run.", "", "commands:"]
    lines += [f"  {name:<12}{command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            *lines,
            "",
            f"`{PROGRAM} COMMAND --help` shows what a command takes, `{PROGRAM} --version` which version this is.",
        ]
    )


def _call(target: Callable | dict[str, Callable], program: str, arguments: list[str]) -> int:
    """Parse first and run afterwards, so that nothing a command says on stderr is mistaken for a parser's complaint."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            ready = _parsed(target, program, arguments)
    except SystemExit as stop:
        if not stop.code:
            return 0
        sentence = _unknown_option(target, program, arguments) or _sentence(complaint.getvalue())
        return _say(f"{sentence} (see `{program} --help`).", WRONG_ARGUMENTS)
    return ready() or 0


def _parsed(target: Callable | dict[str, Callable], program: str, arguments: list[str]) -> functools.partial:
    import tyro

    if isinstance(target, dict):
        later = {name: _deferred(function) for name, function in target.items()}
        return tyro.extras.subcommand_cli_from_dict(later, prog=program, args=arguments)
    return tyro.cli(_deferred(target), prog=program, args=arguments)


def _unknown_option(target: Callable | dict[str, Callable], program: str, arguments: list[str]) -> str:
    """A sentence about the first option that the help lacks, "" where there is none.

    tyro names it only behind the positional arguments, and calls those missing where it stands before them.
    """
    subcommand, shown = arguments[: isinstance(target, dict)], io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        _parsed(target, program, [*subcommand, "--help"])
    known = set(re.findall(r"--[a-z][a-z-]*", shown.getvalue()))
    options = [word.partition("=")[0] for word in arguments if word.startswith("--")]
    wrong = next((option for option in options if option.replace("_", "-") not in known), None)
    if wrong is None or not known:
        return ""
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"Unrecognized options: {wrong}" + (f"; did you mean {near[0]}?" if near else "")


def _deferred(function: Callable) -> Callable:
    """The function with the same signature that binds its arguments and does not run yet."""

    @functools.wraps(function)
    def bind(*positional: object, **named: object) -> functools.partial:
        return functools.partial(function, *positional, **named)

    return bind


def _sentence(box: str) -> str:
    """What tyro complains of, without its frame and title; the paragraphs after the first repeat the help."""
    paragraphs: list[list[str]] = [[]]
    for line in (line.strip("│ ") for line in box.splitlines()):
        if re.fullmatch(r"[─╰╯-]+|╭.*╮", line):
            paragraphs.append([])
        elif line:
            paragraphs[-1].append(line)
    texts = [" ".join(paragraph) for paragraph in paragraphs if paragraph]
    # On a terminal without line-drawing characters the title is a paragraph of its own.
    return texts[0 if "╭" in box else 1].rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
