"""The command line: `python -m amtgan_lib COMMAND ...`, installed as `amtgan`.

A command is one entry of `COMMANDS` in cli/table.py. Its module is imported only when the command runs, so the
help is fast. Exit status: 0 done, 1 failed with a reason, 2 wrong arguments, 130 interrupted.
"""

import contextlib
import functools
import importlib
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence

from amtgan_lib import __version__, lazy
from amtgan_lib.cli import PROGRAM, is_ours
from amtgan_lib.cli.table import COMMANDS
from amtgan_lib.errors import Interrupted, WrongArguments, did_you_mean

FAILED = 1
UNRECOGNIZED = "Unrecognized options: "


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; errors of this package become one sentence on stderr."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    _say_any_name()
    _end_as_interrupted()
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _say("interrupted.", Interrupted.exit_status)
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough. Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if not is_ours(error):
            raise
        return _say(str(error), getattr(error, "exit_status", FAILED))


def _say_any_name() -> None:
    """Escape characters that stdout and stderr cannot encode: such a file name must not stop the files after it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors="backslashreplace")


def _end_as_interrupted() -> None:
    """Treat SIGTERM, which systems and schedulers send, as Ctrl-C: save and clean up."""
    alone = threading.current_thread() is threading.main_thread()
    if alone and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


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
        return _say(f"name a command: {', '.join(COMMANDS)} (see --help).", WrongArguments.exit_status)
    name, *rest = arguments
    if name not in COMMANDS:
        said = did_you_mean(name, COMMANDS, "the commands are")
        return _say(f"there is no command {name!r}: {said}", WrongArguments.exit_status)
    if rest[:1] == [""]:  # as a path it would mean the working directory
        return _say(f"the first argument of {name} is empty: is a variable not set?", WrongArguments.exit_status)
    for package in ("pandas", "matplotlib.pyplot"):
        lazy.later(package)
    module, attribute = COMMANDS[name].target.split(":")
    target = getattr(importlib.import_module(module), attribute)
    status = _call(target, name, rest)
    if {"-h", "--help"} & set(rest) and COMMANDS[name].examples:
        print(_examples(name))
    return status


def _examples(name: str) -> str:
    calls = [(f"{PROGRAM} {name} {rest}".rstrip(), what) for rest, what in COMMANDS[name].examples]
    return "\n".join(["examples:", *(f"  {call}\n      {what}" for call, what in calls)])


def _help() -> str:
    lines = [
        f"usage: {PROGRAM} COMMAND ...",
        "",
        "Protect photos from face recognition by makeup transfer (AMT-GAN), and measure how well it works.",
        "",
        "commands:",
        *(f"  {name:<12}{command.help}" for name, command in COMMANDS.items()),
        "",
        f"`{PROGRAM} COMMAND --help` shows what a command takes, `{PROGRAM} --version` which version this is.",
    ]
    return "\n".join(lines)


def _call(target: Callable | dict[str, Callable], name: str, arguments: list[str]) -> int:
    """Parse first and run afterwards, so that nothing a command prints on stderr is taken for a parser's complaint."""
    program, complaint = f"{PROGRAM} {name}", io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            ready = _parsed(target, program, arguments)
    except SystemExit as stop:
        if not stop.code:
            return 0
        sentence = _unknown_option(target, program, arguments) or _too_many(name, _sentence(complaint.getvalue()))
        return _say(f"{sentence} (see `{program} --help`).", WrongArguments.exit_status)
    return ready() or 0


def _parsed(target: Callable | dict[str, Callable], program: str, arguments: list[str]) -> functools.partial:
    import tyro

    if isinstance(target, dict):
        later = {name: _deferred(function) for name, function in target.items()}
        return tyro.extras.subcommand_cli_from_dict(later, prog=program, args=arguments)
    return tyro.cli(_deferred(target), prog=program, args=arguments)


def _unknown_option(target: Callable | dict[str, Callable], program: str, arguments: list[str]) -> str:
    """A sentence about the first option that the help lacks, "" if there is none.

    tyro names an unknown option only after the positional arguments; before them, it calls those missing.
    """
    subcommand, shown = arguments[: isinstance(target, dict)], io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        _parsed(target, program, [*subcommand, "--help"])
    known = set(re.findall(r"--[a-z][a-z-]*", shown.getvalue()))
    options = [word.partition("=")[0] for word in arguments if word.startswith("--")]
    wrong = next((option for option in options if option.replace("_", "-") not in known), None)
    if wrong is None or not known:
        return ""
    said = did_you_mean(wrong, known)
    return f"{UNRECOGNIZED}{wrong}" + (said and f"; {said}")


def _too_many(name: str, complaint: str) -> str:
    """tyro's complaint; if it took surplus positional arguments for options, what the command takes."""
    words, takes = complaint.removeprefix(UNRECOGNIZED), COMMANDS[name].takes
    if not takes or words == complaint or words.startswith("-"):
        return complaint
    return f"{name} takes {takes}, not {words} as well"


def _deferred(function: Callable) -> Callable:
    """The function with the same signature that binds its arguments and does not run yet."""

    @functools.wraps(function)
    def bind(*positional: object, **named: object) -> functools.partial:
        return functools.partial(function, *positional, **named)

    return bind


def _sentence(box: str) -> str:
    """tyro's complaint without its frame and title; the paragraphs after the first repeat the help."""
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
    ended = main()
    # An interrupt inside exec() of a text (every named tuple runs one) is remembered by CPython until the next exec():
    # `python -m` would then die of SIGINT instead of ending with the status.
    exec("")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # A process of torchrun ends without Python's own end: there gloo's threads may abort it, with everything done
        # (pytorch/pytorch#179291; seen once on a busy machine in spite of the barrier in `distributed.process_group`).
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended)
    sys.exit(ended)
