"""setup_environment.sh: that no interruption, second setup or other folder's .venv spoils the result."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Stands in for an interpreter: notes what it is asked for, and makes an environment whose uv does no more than that.
FAKE = f"""#!/bin/sh
version={{version}}
case "$1 $2" in
  *sys.version\\)) echo "$version" ;;
  "-c "*) exec "{sys.executable}" "$@" ;;
  "-m venv") echo venv >>log; mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo "$version" >.venv/version ;;
  "-m pip") cp fake-uv .venv/bin/uv ;;
esac
"""
FAKE_UV = """#!/bin/sh
echo "uv $2" >>log
if [ -e fail ]; then exit 3; fi
if [ -e hold ]; then touch held; fi
while [ -e hold ]; do sleep 0.05; done
"""
SECONDS = 30  # a watchdog
MADE, INSTALLED = ["venv", "uv sync", "uv install"], ["uv sync", "uv install"]


class Checkout:
    """A folder with a space in its name, in which nothing is really installed."""

    def __init__(self, root: Path):
        self.root = root
        root.mkdir()
        shutil.copy(ROOT / "setup_environment.sh", root)
        for name in ("requirements.lock", "pyproject.toml", "setup.py", "log"):
            (root / name).touch()
        self.script("fake-uv", FAKE_UV)
        self.python = self.script("python3.11", FAKE.format(version="3.11.4"))

    def script(self, name: str, text: str) -> Path:
        (self.root / name).write_text(text)
        (self.root / name).chmod(0o755)
        return self.root / name

    def start(self, **variables: str) -> subprocess.Popen:
        own = {**os.environ, "PATH": f"{self.root}:{os.environ['PATH']}", "PYTHON": str(self.python), **variables}
        return subprocess.Popen(
            [str(self.root / "setup_environment.sh")],
            env=own,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def setup(self, **variables: str) -> list[str]:
        """What a setup that succeeds does."""
        before = len(self.log())
        process = self.start(**variables)
        _, complaint = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, complaint
        return self.log()[before:]

    def log(self) -> list[str]:
        return (self.root / "log").read_text().splitlines()

    def held(self) -> subprocess.Popen:
        """A setup whose uv waits until the file `hold` is gone."""
        (self.root / "hold").touch()
        process, limit = self.start(), time.monotonic() + SECONDS
        while not (self.root / "held").exists():
            assert time.monotonic() < limit
            time.sleep(0.02)
        return process


@pytest.fixture
def checkout(tmp_path) -> Iterator[Checkout]:
    made = Checkout(tmp_path / "a check out")
    yield made
    (made.root / "hold").unlink(missing_ok=True)


def test_second_setup_does_nothing(checkout):
    assert checkout.setup() == MADE
    assert checkout.setup() == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml", "setup.py"])
def test_change_is_installed_in_place(checkout, name):
    checkout.setup()
    (checkout.root / name).write_text("other")
    assert checkout.setup() == INSTALLED
    assert checkout.setup() == []


def test_failed_program_is_named_and_the_next_setup_begins_anew(checkout):
    (checkout.root / "fail").touch()
    process = checkout.start()
    _, complaint = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "uv pip sync requirements.lock" in complaint
    (checkout.root / "fail").unlink()
    assert checkout.setup() == MADE


@pytest.mark.parametrize("changed", [False, True])
def test_interrupted_setup_is_not_complete(checkout, changed):
    if changed:
        checkout.setup()
        (checkout.root / "requirements.lock").write_text("other")
    process = checkout.held()
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert len(complaint.splitlines()) == 1
    (checkout.root / "hold").unlink()
    assert checkout.setup() == MADE


@pytest.mark.parametrize("killed", [False, True])
def test_second_setup_waits_for_the_first_and_for_what_a_killed_one_left_running(checkout, killed):
    first = checkout.held()
    if killed:
        first.kill()
    second = checkout.start()
    assert "waiting" in second.stdout.readline()
    assert checkout.log() == MADE[:2]
    (checkout.root / "hold").unlink()
    first.communicate(timeout=SECONDS)
    _, complaint = second.communicate(timeout=SECONDS)
    assert second.returncode == 0, complaint
    assert checkout.log() == (MADE[:2] + MADE if killed else MADE)


def test_link_to_a_shared_environment_is_replaced(checkout, tmp_path):
    (tmp_path / "shared" / "bin").mkdir(parents=True)
    (tmp_path / "shared" / "amtgan-setup").write_text("complete")
    (checkout.root / ".venv").symlink_to(tmp_path / "shared")
    assert checkout.setup() == MADE
    assert not (checkout.root / ".venv").is_symlink()
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == ["amtgan-setup", "bin"]


def test_environment_of_the_users_own_is_left_alone(checkout):
    (checkout.root / ".venv" / "bin").mkdir(parents=True)
    process = checkout.start()
    _, complaint = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "move it away" in complaint
    assert checkout.log() == []


def test_environment_that_moved_along_is_made_anew(checkout):
    checkout.setup()
    moved = checkout.root.rename(checkout.root.with_name("moved away"))
    checkout.root, checkout.python = moved, moved / checkout.python.name
    assert checkout.setup() == MADE


def test_environment_whose_interpreter_is_gone_is_made_anew(checkout):
    checkout.setup()
    (checkout.root / ".venv" / "bin" / "python").unlink()
    assert checkout.setup() == MADE


def test_chosen_interpreter_of_another_version_makes_it_anew(checkout):
    checkout.setup()
    other = checkout.script("python3.12", FAKE.format(version="3.12.1"))
    assert checkout.setup(PYTHON=str(other)) == MADE
    assert (checkout.root / ".venv" / "version").read_text().strip() == "3.12.1"
    assert checkout.setup(PYTHON="") == []


def other_interpreters() -> Iterator[str]:
    """Yield the interpreters of this machine that the project does not support."""
    names = ["python2.7", "python2", *(f"python3.{minor}" for minor in range(6, 20))]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for path in [*filter(None, map(shutil.which, names)), *map(str, sorted(pyenv.glob("versions/*/bin/python")))]:
        ask = "import sys; print([sys.version_info[0], sys.version_info[1]])"
        answer = subprocess.run([path, "-c", ask], capture_output=True, text=True)
        if answer.returncode == 0 and json.loads(answer.stdout) not in [[3, 11], [3, 12]]:
            yield path


def test_real_unfit_interpreters_get_one_sentence(checkout):
    others = list(other_interpreters())
    if not others:
        pytest.skip("this machine has no Python besides 3.11 and 3.12")
    for path in others:
        process = checkout.start(PYTHON=path)
        said, complaint = process.communicate(timeout=SECONDS)
        assert process.returncode == 1
        assert said == ""
        assert re.fullmatch(rf"AMT-GAN needs a Python 3\.11 or 3\.12 .*{re.escape(path)}.*\n", complaint)
