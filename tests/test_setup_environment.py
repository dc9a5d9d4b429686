"""setup_environment.py: which interpreters it takes, and that no interruption or second setup spoils the result."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "setup_environment.py"


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """The module, with a lock, a .venv and an environment folder of its own; nothing is really installed."""
    monkeypatch.syspath_prepend(ROOT)
    import setup_environment

    (tmp_path / "requirements.lock").write_text("six==1.17.0\n")
    monkeypatch.setattr(setup_environment, "LOCK", str(tmp_path / "requirements.lock"))
    monkeypatch.setattr(setup_environment, "LINK", str(tmp_path / ".venv"))
    monkeypatch.setattr(setup_environment, "install", fill)
    monkeypatch.setenv("AMTGAN_ENV_DIR", str(tmp_path / "environments"))
    return setup_environment


def fill(folder: str, lock: int) -> None:
    """Stand-in for the real installation."""
    (Path(folder) / "bin").mkdir(parents=True)
    (Path(folder) / "bin" / "python").touch()


# Which interpreters


def test_supported_versions_are_pyprojects(setup):
    wanted = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    minors = [(3, minor) for minor in range(30)]
    assert [pair for pair in minors if f"{pair[0]}.{pair[1]}.5" in wanted] == list(setup.SUPPORTED)


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 10, 13), (3, 13, 0), (4, 0, 0)])
def test_unfit_version_gets_one_sentence(setup, version):
    sentence = setup.interpreter_problem(version)
    shown = ".".join(map(str, version))
    assert sentence == (
        f"AMT-GAN needs Python 3.11 or 3.12, and this is {shown} ({sys.executable}): "
        "set PYTHON=/path/to/python3.11 and run again."
    )


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 9)])
def test_fit_version_has_no_problem(setup, version):
    assert setup.interpreter_problem(version) is None


@pytest.mark.parametrize("module", ["ensurepip", "fcntl"])
def test_interpreter_without_a_needed_module_gets_one_sentence(setup, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    sentence = setup.interpreter_problem()
    assert module in sentence
    assert "\n" not in sentence


def other_interpreters() -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the interpreters of this machine that the project does not support, with their versions."""
    names = ["python2.7", "python2", *(f"python3.{minor}" for minor in range(6, 20))]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [path for path in map(shutil.which, names) if path]
    for path in [*found, *map(str, sorted(pyenv.glob("versions/*/bin/python")))]:
        ask = "import sys; print([sys.version_info[0], sys.version_info[1]])"
        answer = subprocess.run([path, "-c", ask], capture_output=True, text=True)
        if answer.returncode == 0 and tuple(json.loads(answer.stdout)) not in {(3, 11), (3, 12)}:
            yield path, tuple(json.loads(answer.stdout))


def test_real_unfit_interpreters_say_one_sentence_and_exit_1():
    others = dict(other_interpreters())
    if not others:
        pytest.skip("this machine has no Python besides 3.11 and 3.12")
    for path, (major, minor) in others.items():
        run = subprocess.run([path, str(SCRIPT)], capture_output=True, text=True)
        assert run.returncode == 1
        assert run.stdout == ""
        sentence = (
            rf"AMT-GAN needs Python 3\.11 or 3\.12, and this is {major}\.{minor}\.\d+ \(.+\): set PYTHON=\S+ .*\.\n"
        )
        assert re.fullmatch(sentence, run.stderr), run.stderr


# The folder


def test_folder_changes_with_the_lock_and_stays_with_it(setup, tmp_path):
    first = setup.environment_folder()
    assert re.fullmatch(r"env-py31[12]-[0-9a-f]{12}", os.path.basename(first))
    assert os.path.dirname(first) == str(tmp_path / "environments")
    assert setup.environment_folder() == first
    (tmp_path / "requirements.lock").write_text("six==1.16.0\n")
    assert setup.environment_folder() != first


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"AMTGAN_ENV_DIR": "/a", "XDG_CACHE_HOME": "/x"}, "/a"),
        ({"AMTGAN_ENV_DIR": "", "XDG_CACHE_HOME": "/x"}, "/x/amtgan"),
        ({"AMTGAN_ENV_DIR": "", "XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/amtgan"),
    ],
)
def test_cache_folder(setup, monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert setup.cache_folder() == expected


# Interruption, repetition, two at once


def count_installs(setup, monkeypatch, install=fill) -> list[str]:
    """Record the folders that get installed."""
    installed = []

    def counted(folder, lock):
        installed.append(folder)
        install(folder, lock)

    monkeypatch.setattr(setup, "install", counted)
    return installed


def test_second_setup_installs_nothing(setup, monkeypatch, tmp_path):
    installed = count_installs(setup, monkeypatch)
    assert setup.main([]) == setup.main([]) == 0
    assert installed == [os.readlink(tmp_path / ".venv")]


def test_interrupted_setup_is_repaired_by_the_next(setup, monkeypatch, tmp_path):
    def interrupted(folder, lock):
        fill(folder, lock)
        (Path(folder) / "half a package").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(setup, "install", interrupted)
    assert "Interrupted" in setup.main([])
    assert not (tmp_path / ".venv").exists()

    installed = count_installs(setup, monkeypatch)
    assert setup.main([]) == 0
    assert len(installed) == 1
    assert sorted(os.listdir(tmp_path / ".venv")) == ["amtgan-complete", "bin"]


def test_failed_command_is_named_and_leaves_no_link(setup, monkeypatch, tmp_path):
    def failing(folder, lock):
        raise subprocess.CalledProcessError(3, ["pip", "install", "nothing"])

    monkeypatch.setattr(setup, "install", failing)
    assert "`pip install nothing` (exit status 3" in setup.main([])
    assert not (tmp_path / ".venv").exists()


def test_environment_whose_interpreter_is_gone_is_made_again(setup, monkeypatch, tmp_path):
    assert setup.main([]) == 0
    (tmp_path / ".venv" / "bin" / "python").unlink()
    installed = count_installs(setup, monkeypatch)
    assert setup.main([]) == 0
    assert len(installed) == 1


def test_two_setups_at_once_install_once(setup, monkeypatch, tmp_path, capsys):
    started, may_finish = threading.Event(), threading.Event()

    def slow(folder, lock):
        started.set()
        assert may_finish.wait(10)
        fill(folder, lock)

    installed = count_installs(setup, monkeypatch, slow)
    folder = setup.environment_folder()
    first, second = (threading.Thread(target=setup.ensure, args=(folder,)) for _ in range(2))
    first.start()
    assert started.wait(10)
    second.start()
    second.join(0.5)
    assert second.is_alive()
    may_finish.set()
    first.join(10)
    second.join(10)
    assert installed == [folder]
    assert setup.is_complete(folder)
    assert "waiting for it" in capsys.readouterr().out


def test_lock_outlives_a_killed_setup_while_its_command_runs(setup, tmp_path):
    import fcntl

    folder = str(tmp_path / "environments" / "env")
    with setup.locked(folder) as lock:
        command = subprocess.Popen(["sleep", "30"], pass_fds=(lock,))
    try:
        with open(folder + ".lock") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        command.kill()
        command.wait()


# The link


def test_link_moves_to_the_new_environment(setup, tmp_path):
    setup.link(str(tmp_path / "old"))
    setup.link(str(tmp_path / "new"))
    assert os.readlink(tmp_path / ".venv") == str(tmp_path / "new")
    assert [name for name in os.listdir(tmp_path) if name.startswith(".venv")] == [".venv"]


def test_folder_of_the_users_own_is_left_alone(setup, monkeypatch, tmp_path):
    (tmp_path / ".venv").mkdir()
    installed = count_installs(setup, monkeypatch)
    assert "move it away" in setup.main([])
    assert (tmp_path / ".venv").is_dir()
    assert installed == []
