"""Files appear whole or not at all, whatever stops their writing."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from amtgan_lib.files import temporary, written


def test_the_temporary_file_is_hidden_beside_the_final_one_and_of_its_format(tmp_path):
    path = tmp_path / "new" / "folder" / "a.b.png"
    with written(path) as partial:
        assert partial.parent == path.parent and partial.suffix == ".png" and partial.name.startswith(".")
        partial.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole" and list(path.parent.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path):
    with written(tmp_path / "a") as partial:
        partial.touch()
    (tmp_path / "b").touch()
    one, other = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab")
    assert one == other


def cut_off(partial):
    partial.write_text("half")
    raise KeyboardInterrupt


def no_space(partial):
    partial.write_text("half")
    raise OSError("no space left on device")


def nothing(partial):
    """A writer that took another name, so that there is nothing to move."""


@pytest.mark.parametrize(("write", "error"), [(cut_off, KeyboardInterrupt), (no_space, OSError), (nothing, OSError)])
def test_what_stops_half_way_leaves_nothing_and_the_old_file_alone(tmp_path, write, error):
    path = tmp_path / "a.txt"
    for old in (None, "old"):
        if old:
            path.write_text(old)
        with pytest.raises(error), written(path) as partial:
            write(partial)
        assert [file.read_text() for file in tmp_path.iterdir()] == [old] * bool(old)


def test_a_move_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(OSError, match="no space"), written(tmp_path / "a") as partial:
        partial.touch()
    assert not list(tmp_path.iterdir())


def test_two_processes_write_one_file_side_by_side(tmp_path):
    """Another process writes the whole of it while ours is written but not yet in its place."""
    path = tmp_path / "a.txt"
    code = "import sys; from pathlib import Path; from amtgan_lib.files import written\n"
    code += "with written(Path(sys.argv[1])) as partial: partial.write_text('theirs')"
    with written(path) as partial:
        partial.write_text("ours")
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        assert path.read_text() == "theirs"
    assert path.read_text() == "ours" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_of_the_same_number_left_is_no_obstacle(tmp_path):
    with written(tmp_path / "link") as partial:
        partial.touch()
    partial.write_text("left over")
    with written(tmp_path / "link") as partial:
        partial.symlink_to("elsewhere")
    assert (tmp_path / "link").is_symlink() and len(list(tmp_path.iterdir())) == 1


def test_what_killed_processes_left_goes_and_what_others_write_stays(tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    draft = f".a.{killed.pid}.draft"
    names = {f".a.{killed.pid}.partial.txt", f"{draft}.txt", f".{draft}.{killed.pid}.partial.txt"}
    others = {f".a.{os.getppid()}.partial.txt", f".b.{killed.pid}.partial.txt", ".a.txt", "a.5.partial.txt"}
    for name in names | others:
        (tmp_path / name).touch()
    with written(tmp_path / "a.txt") as partial:
        partial.touch()
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", *others}


def test_an_error_of_the_system_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*/a\.txt'$"), written(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FileExistsError, match=r"'.*/a\.txt'$"), written(tmp_path / "a.txt") as partial:
        partial.touch()
        partial.touch(exist_ok=False)


@pytest.mark.parametrize("stem", [240 * "a", 80 * "\u5bb6"])
def test_a_name_as_long_as_names_may_be_is_written_and_what_was_left_of_it_goes(tmp_path, stem):
    path = tmp_path / f"{stem}.png"
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    left = temporary(path, "draft").name.replace(f".{os.getpid()}.", f".{killed.pid}.")
    (tmp_path / left).touch()
    with written(path) as partial:
        partial.write_text("whole")
    assert list(tmp_path.iterdir()) == [path]
    draft = temporary(path, "draft")
    with written(draft) as partial:
        partial.touch()
