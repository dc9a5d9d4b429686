"""The command line: what it says, and with which exit status."""

import io
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import amtgan_lib
from amtgan_lib import __main__ as command_line
from amtgan_lib import assets, paths
from amtgan_lib.assets import catalogue
from amtgan_lib.cli.table import Command

ROOT = Path(__file__).resolve().parents[1]


def run_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    call = [sys.executable, "-m", "amtgan_lib", *arguments]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment, timeout=400)


class FakeError(Exception):
    """An error of this package, as far as the command line can tell."""

    __module__ = "amtgan_lib.fake"


@pytest.fixture
def command(monkeypatch):
    """A command `fake` with one function or with subcommands."""

    def add(target: object) -> None:
        module = types.ModuleType("fake_command")
        module.target = target
        monkeypatch.setitem(sys.modules, "fake_command", module)
        monkeypatch.setitem(command_line.COMMANDS, "fake", Command("fake_command:target", "a fake"))

    return add


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No file of the user's cache or mirror takes part."""
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.delenv(catalogue.MIRROR_VARIABLE, raising=False)


def one_line(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    return line


def test_help_is_fast_because_it_imports_nothing_heavy():
    code = (
        "import sys; from amtgan_lib.__main__ import main; status = main(['--help']);"
        "print(status, [m for m in ('torch', 'numpy', 'tyro', 'pandas', 'tqdm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert "assets" in done.stdout


def test_the_assets_command_does_not_import_torch():
    code = (
        "import sys; from amtgan_lib.__main__ import main; status = main(['assets', 'list', '--json']);"
        "print(status, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"


def test_every_command_can_be_imported_and_shows_help(capsys):
    for name in command_line.COMMANDS:
        assert command_line.main([name, "--help"]) == 0
        assert f"{command_line.PROGRAM} {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "name a command: protect, video, evaluate, train,"),
        (["asets"], "there is no command 'asets': did you mean 'assets'?"),
        (["protect", ""], "the first argument of protect is empty: is a variable not set?"),
        (["--bogus"], "there is no command '--bogus': the commands are protect, video, evaluate,"),
        (["assets"], "Expected one of {list, fetch, verify, import}"),
        (["assets", "bogus"], "Unrecognized options: bogus"),
        (["assets", "list", "--bogus"], "Unrecognized options: --bogus"),
        (["assets", "import"], "assets import: PATH the zip, folder or file"),
        (["assets", "list", "--group", "londn"], "There is no group 'londn' of assets: the groups are"),
        (["assets", "fetch", "edgeface"], "No asset is called 'edgeface': did you mean 'edgeface_xs'?"),
        (["assets", "fetch"], "Nothing to fetch: give names of assets, --group GROUP or --all."),
    ],
)
def test_wrong_arguments_are_one_sentence_and_status_2(arguments, expected, capsys):
    assert command_line.main(arguments) == 2
    line = one_line(capsys)
    assert line.startswith(f"{command_line.PROGRAM}: ")
    assert expected in line
    assert not set(line) & set("│╭╰─")


@pytest.mark.parametrize(
    "arguments", [["me.jpg", "--fcaes", "all"], ["--fcaes", "all", "me.jpg"], ["--fcaes=all", "me.jpg"], ["--fcaes"]]
)
def test_a_misspelt_option_is_named_wherever_it_stands_with_the_right_one(arguments, capsys):
    assert command_line.main(["protect", *arguments]) == 2
    line = one_line(capsys)
    assert "--fcaes" in line and "'--faces'?" in line


def test_an_option_of_a_subcommand_is_looked_for_among_its_own(capsys):
    assert command_line.main(["assets", "list", "--jsno"]) == 2
    line = one_line(capsys)
    assert "--jsno" in line and "'--json'?" in line


def test_it_says_its_version(capsys):
    assert command_line.main(["--version"]) == 0
    assert capsys.readouterr().out.split() == ["amtgan_lib", amtgan_lib.__version__]


@pytest.mark.parametrize(
    ("script", "name"), [("bin/amtgan", "amtgan"), ("amtgan_lib/__main__.py", "python -m amtgan_lib")]
)
def test_it_calls_itself_what_was_typed(script, name):
    code = (
        "import sys; sys.argv = [sys.argv[1]]; from amtgan_lib.__main__ import main;"
        "main(['--help']); main(['protect', '--help']); main(['assets', 'list', '--bogus'])"
    )
    done = subprocess.run([sys.executable, "-c", code, script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"usage: {name} COMMAND" in done.stdout and f"usage: {name} protect" in done.stdout
    assert done.stderr.startswith(f"{name}: ")
    assert ("python -m" in done.stdout + done.stderr) == ("python -m" in name)


@pytest.mark.parametrize(
    "command", [["protect", "none.jpg"], ["video", "none.mp4"], ["evaluate", "none.jpg", "no.jpg"]]
)
def test_a_missing_file_is_said_before_anything_heavy_is_imported(command):
    code = (
        "import sys; from amtgan_lib.__main__ import main; status = main(sys.argv[1:]);"
        "print(status, [m for m in ('torch', 'torchvision', 'mediapipe', 'numpy') if m in sys.modules])"
    )
    call = [sys.executable, "-c", code, *command]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "2 []"
    assert command[1] in done.stderr


BOXES = (
    "╭─ Title ───╮\n│ Unknown: --bogus │\n│    --other. │\n│ ─────── │\n│ See the help │\n╰────╯\n",
    " Title    \n -------- \n  Unknown: --bogus \n     --other. \n  ----------\n  See the help \n   \n",
)


@pytest.mark.parametrize("box", BOXES)
def test_the_frame_of_a_complaint_is_taken_off(box):
    assert command_line._sentence(box) == "Unknown: --bogus --other"


def test_a_long_complaint_is_one_line_too(command, capsys):
    def wait(seconds: int) -> None: ...

    command(wait)
    assert command_line.main(["fake", "--seconds", "x" * 300]) == 2
    assert "--seconds" in one_line(capsys)


def test_arguments_reach_the_function_and_its_status_comes_back(command, capsys):
    def add(first: int, second: int = 2) -> int:
        """Add."""
        print(first, second, file=sys.stderr)
        return first + second

    command(add)
    assert command_line.main(["fake", "--first", "3"]) == 5
    assert capsys.readouterr().err == "3 2\n"
    command({"plus": add, "none": lambda: None})
    assert command_line.main(["fake", "plus", "--first", "4", "--second", "1"]) == 5
    assert command_line.main(["fake", "none"]) == 0


def test_an_error_of_this_package_is_one_sentence_and_status_1(command, capsys):
    def fail() -> None:
        raise FakeError("No face was found:\n  nothing was written.")

    command(fail)
    assert command_line.main(["fake"]) == 1
    assert one_line(capsys) == f"{command_line.PROGRAM}: No face was found: nothing was written."


def test_an_error_of_the_system_is_one_sentence_too(command, capsys):
    command(lambda: Path("/nowhere/at/all").read_bytes())
    assert command_line.main(["fake"]) == 1
    assert "/nowhere/at/all" in one_line(capsys)


def test_a_bug_keeps_its_traceback(command):
    command(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command_line.main(["fake"])


def test_interrupted_is_one_line_and_status_130(command, capsys):
    def interrupted() -> None:
        raise KeyboardInterrupt

    command(interrupted)
    assert command_line.main(["fake"]) == 130
    assert one_line(capsys) == f"{command_line.PROGRAM}: interrupted."


def test_a_closed_pipe_is_quiet():
    reader, writer = os.pipe()
    os.close(reader)
    call = [sys.executable, "-m", "amtgan_lib", "assets", "list"]
    done = subprocess.run(call, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_what_stdout_cannot_encode_is_escaped_and_said():
    code = (
        "import sys, types; from amtgan_lib import __main__ as line; from amtgan_lib.cli.table import Command;"
        "module = types.ModuleType('fake');"
        "module.say = lambda: print('in/a\\udcff.png'); sys.modules['fake'] = module;"
        "line.COMMANDS['fake'] = Command('fake:say', 'a fake'); sys.exit(line.main(['fake']))"
    )
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, env=strict)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"in/a\\udcff.png\n", b"")


def test_a_stream_that_cannot_be_changed_is_left_alone(command, monkeypatch):
    command(lambda: print("said"))
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    assert command_line.main(["fake"]) == 0
    assert stream.getvalue() == "said\n"


def test_the_process_exits_with_the_status(tmp_path):
    (tmp_path / "notes.txt").write_text("no weights")
    done = run_process("assets", "import", str(tmp_path / "notes.txt"), AMTGAN_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"{command_line.PROGRAM}: {tmp_path}/notes.txt holds no file of the asset table")
    assert run_process("bogus").returncode == 2


# The commands of the assets


def test_list_shows_every_group_and_counts_what_is_at_hand(capsys):
    assert command_line.main(["assets", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(group in shown for group in assets.groups())
    assert "edgeface_xs" in shown and "published weights imported: none" in shown
    assert command_line.main(["assets", "list", "--json", "--group", "weights"]) == 0
    [row] = json.loads(capsys.readouterr().out)["groups"]
    assert (row["group"], row["at_hand"]) == ("weights", 0)
    assert row["files"] == len(assets.find(group="weights"))


def test_fetch_and_verify_over_a_mirror_that_goes_bad(tmp_path, monkeypatch, capsys):
    target = assets.get("mtcnn_pnet")
    file = tmp_path / "mirror" / target.relative
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(target.bytes))
    monkeypatch.setenv(catalogue.MIRROR_VARIABLE, str(tmp_path / "mirror"))
    assert command_line.main(["assets", "fetch", "mtcnn_pnet"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith(f"{command_line.PROGRAM}: {file} has sha256")
    assert command_line.main(["assets", "verify"]) == 1
    assert "0 files on this machine are correct, 1 are wrong." in capsys.readouterr().out
    file.unlink()
    assert command_line.main(["assets", "verify"]) == 0


def test_fetch_prints_paths_that_exist(mirror, monkeypatch, capsys):
    monkeypatch.setenv(catalogue.MIRROR_VARIABLE, str(mirror))
    assert command_line.main(["assets", "fetch", "edgeface_xs", "mtcnn_pnet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line).name for line in lines] == ["edgeface_xs_q.pt", "pnet.pt"]
    assert all(Path(line).is_file() for line in lines)


def test_import_says_what_is_pinned_and_what_is_not(tmp_path, capsys):
    (tmp_path / "G.pth").write_bytes(b"g")
    assert command_line.main(["assets", "import", str(tmp_path / "G.pth")]) == 0
    assert "unpinned" in capsys.readouterr().out
    assert assets.published_weights("G").read_bytes() == b"g"


UNUSED = """
import sys
from amtgan_lib.__main__ import main
import torch  # which looks at every module that is loaded
status = main(["protect", sys.argv[1], "--help"])
import amtgan_lib.cli.protect, mediapipe.python.solutions.face_mesh
print(sorted({"pandas.core", "matplotlib.figure"} & set(sys.modules)))
import pandas, matplotlib.pyplot as plt
print(pandas.DataFrame({"a": [1]}).shape, plt.figure() is plt.gcf(), hasattr(plt, "no such name"))
"""


def test_what_a_photo_does_not_need_is_loaded_when_it_is_used():
    pytest.importorskip("mediapipe")
    answer = subprocess.run([sys.executable, "-c", UNUSED, "me.jpg"], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-2:] == ["[]", "(1, 1) True False"]


def test_a_training_says_first_what_it_will_train_and_where_it_will_be(monkeypatch, capsys, tmp_path):
    from amtgan_lib.cli import pipeline as commands

    said = []

    def run(preset, run_id, **_):
        said.append(capsys.readouterr().out)
        return paths.RUNS / run_id

    monkeypatch.setattr(paths, "RUNS", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "run", run)
    assert command_line.main(["train", "--run-id", "mine"]) == 0
    assert command_line.main(["train", "--recipe", "residual", "-p", "03_train.steps={residual: 7}"]) == 0
    all_three, one = said
    recipes = ("residual", "corrected", "published")
    assert all(str(Path("mine", "train", recipe, "generator.safetensors")) in all_three for recipe in recipes)
    assert "residual: 7 steps" in one and "corrected" not in one
