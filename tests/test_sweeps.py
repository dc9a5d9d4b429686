"""Sweeps: every run once, whatever fails, is killed or interrupted on the way, here and on a Dask cluster.

Most tests run a copy of the library in a folder of its own, in processes as a user starts them.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import fakes
import joblib
import nbformat
import pandas as pd
import pytest
import yaml

from amtgan_lib import __main__ as command_line
from amtgan_lib import interrupts, paths, pipeline
from amtgan_lib.pipeline import engine, jobs, machines, runs, sweeps
from amtgan_lib.pipeline.parameters import Text
from amtgan_lib.reporting import results

LIBRARY = Path(paths.__file__).parent
PATIENCE = 500
slow = pytest.mark.slow
COUNTED = """\
import os, time
from pathlib import Path
with open(Path(run_dir, "{name}"), "a") as file:
    file.write("x")
"""
# Tells who runs it, and waits to be let on where it was told to; one choice fails.
WORK = """
Path(run_dir, "new").write_text(f"{os.getpid()} {os.getppid()} {os.environ['OMP_NUM_THREADS']}")
os.rename(Path(run_dir, "new"), Path(run_dir, "pids"))
while held and not Path(run_dir, "go").exists():
    time.sleep(0.1)
assert choice != "bad"
Path(run_dir, "tables").mkdir(exist_ok=True)
Path(run_dir, "tables", "05_black_box_success.csv").write_text(TABLE.replace("TARGET", target))
"""


def table() -> str:
    """A table of one row, as notebook 05 writes it. Kernels that import pandas for it would take twice as long."""
    row = results.Row("e", "small", "m", "r", "d", "TARGET", 0.01, "impersonation", 0.5, 1, note="held out")
    return results.frame([row]).to_csv(index=False)


def write_notebook(folder: Path, name: str, parameters: str, code: str) -> None:
    given = nbformat.v4.new_code_cell(f'run_dir = ""\npreset = ""\n{parameters}', metadata={"tags": ["parameters"]})
    node = nbformat.v4.new_notebook(cells=[given, nbformat.v4.new_code_cell(COUNTED.format(name=name) + code)])
    node.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(node, folder / f"{name}.ipynb")


def fill(root: Path) -> None:
    """A preset of three notebooks: the first is shared, the last waits where `held` is true."""
    for name in ("notebooks", "presets"):
        (root / name).mkdir(parents=True)
    own = 'choice = "a"\ntarget = "x"\nheld = False\n'
    write_notebook(root / "notebooks", "01_prepare", "common = 0\n", "")
    write_notebook(root / "notebooks", "02_train", own, "")
    write_notebook(root / "notebooks", "05_work", own, f"TABLE = {table()!r}\n{WORK}")
    content = {"notebooks": ["01_prepare", "02_train", "05_work"]}
    (root / "presets" / "small.yaml").write_text(yaml.safe_dump(content))


class Checkout:
    """A copy of the library with notebooks of its own."""

    def __init__(self, root: Path):
        self.root, self.runs = root, root / "results" / "runs"
        shutil.copytree(LIBRARY, root / "amtgan_lib", ignore=shutil.ignore_patterns("__pycache__", "weights"))
        fill(root)
        self.environment = {**os.environ, "PYTHONPATH": str(root)}

    @contextmanager
    def start(self, sweep_id: str, *arguments: str) -> Iterator[subprocess.Popen]:
        command = [sys.executable, "-m", "amtgan_lib", "sweep", "--preset", "small", "--sweep-id", sweep_id, *arguments]
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": self.environment}
        with subprocess.Popen(command, cwd=self.root, **how) as process:
            self.started = process
            try:
                yield process
            finally:
                process.kill()

    def sweep(self, sweep_id: str, *arguments: str) -> subprocess.CompletedProcess:
        with self.start(sweep_id, *arguments) as process:
            return ended(process)

    def wait_for(self, *run_ids: str, since: dict[str, list[int]] | None = None) -> dict[str, list[int]]:
        """Kernel, process and threads of each run, once all of them are in the last notebook (again, `since`)."""
        found: dict[str, list[int]] = {}

        def all_there() -> bool:
            for run_id in run_ids:
                path = self.runs / run_id / "pids"
                if path.exists():
                    found[run_id] = [int(number) for number in path.read_text().split()]
            return all(run_id in found and found[run_id] != (since or {}).get(run_id) for run_id in run_ids)

        wait_until(lambda: all_there() or self.started.poll() is not None)
        assert self.started.poll() is None, f"the sweep has ended: {self.started.communicate()}"
        return found

    def let_go(self, *run_ids: str) -> None:
        for run_id in run_ids:
            (self.runs / run_id).mkdir(parents=True, exist_ok=True)
            (self.runs / run_id / "go").touch()

    def executions(self, *run_ids: str) -> list[tuple[int, ...]]:
        """How often each notebook of each run was begun."""
        names = ("01_prepare", "02_train", "05_work")
        files = [[self.runs / run_id / name for name in names] for run_id in run_ids]
        return [tuple(len(file.read_text()) if file.exists() else 0 for file in each) for each in files]

    def states(self, sweep_id: str) -> dict[str, str]:
        table = pd.read_csv(self.runs / sweep_id / "runs.csv")
        return dict(zip(table["choice"], table["state"]))

    def table(self, sweep_id: str) -> pd.DataFrame:
        return results.read(self.runs / sweep_id / "tables" / "05_black_box_success.csv")


def ended(process: subprocess.Popen) -> subprocess.CompletedProcess:
    out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("a {checkout}"))


def last(text: str) -> str:
    return text.strip().splitlines()[-1]


# What runs, and how often


def test_every_combination_is_a_run_of_its_own(project):
    over = {"choice": ("a", "b"), "target": ("x/1", "y")}
    members = sweeps._members(sweeps.Sweep("small", over, {"held": "true"}, "s"))
    assert [member.run_id for member in members] == ["s-a-x_1", "s-a-y", "s-b-x_1", "s-b-y"]
    assert [member.label for member in members][1:3] == ["choice=a, target=y", "choice=b, target=x/1"]
    given = {name: members[3].own[1].parameters[name] for name in ("choice", "target", "held")}
    assert given == {"choice": "b", "target": "y", "held": True}


def test_a_failed_and_a_killed_run_stop_no_other_and_what_is_finished_is_not_run_again(checkout):
    """One story, since each process takes seconds: one run fails, another one's process is killed on the way."""
    arguments = ["--over", "choice=bad,a", "--over", "target=x/1", "-p", "held=true"]
    checkout.let_go("some-bad-x_1")
    with checkout.start("some", *arguments) as process:
        pids = checkout.wait_for("some-a-x_1")
        kernel, child, _ = pids["some-a-x_1"]
        os.kill(child, signal.SIGKILL)
        checkout.wait_for("some-a-x_1", since=pids)
        assert not alive(kernel), "two kernels in one run folder"
        checkout.let_go("some-a-x_1")
        first = ended(process)
    assert first.returncode == 1, first.stderr
    assert last(first.stderr) == (
        "python -m amtgan_lib: 1 of 2 runs failed: choice=bad, target=x/1; run it again to resume"
    )
    assert checkout.table("some")["note"].tolist() == ["choice=a, target=x/1; held out"]
    [line] = [line for line in first.stdout.splitlines() if line.split()[:2] == ["bad", "x/1"]]
    assert "failed" in line and "AssertionError" in line
    assert "  results/runs/some/logs/some-bad-x_1.log  05_work failed in In [3] line " in line
    assert "Traceback" not in (checkout.runs / "some" / "logs" / "some-bad-x_1.log").read_text()
    assert checkout.executions("some-bad-x_1", "some-a-x_1") == [(1, 1, 1), (0, 1, 2)]

    (checkout.root / "README.md").write_text("no part of any result")
    again = checkout.sweep("some", *arguments)
    assert again.returncode == 1
    assert "choice=bad, target=x/1: resumes, since 05_work has not finished" in again.stdout
    assert checkout.states("some") == {"bad": "failed", "a": "skipped"}
    assert checkout.executions("some-bad-x_1", "some-a-x_1") == [(1, 1, 2), (0, 1, 2)]
    assert len(checkout.table("some")) == 1
    assert not list((checkout.runs / "some").glob(".board*"))


@slow
def test_a_sweep_of_other_parameters_runs_anew_and_says_so(checkout):
    assert checkout.sweep("other", "--over", "choice=a").returncode == 0
    again = checkout.sweep("other", "--over", "choice=a")
    assert (again.returncode, checkout.states("other")) == (0, {"a": "skipped"})
    assert checkout.executions("other-a") == [(1, 1, 1)]
    other = checkout.sweep("other", "--over", "choice=a", "-p", "target=z")
    assert "choice=a: resumes, since 02_train ran with other parameters (target 'x', now 'z')" in other.stdout
    assert checkout.executions("other-a") == [(1, 2, 2)]
    assert checkout.table("other")["target"].tolist() == ["z"]


@slow
def test_faces_that_are_prepared_anew_are_worked_on_by_every_run(checkout):
    """The first run alone prepares: the others have to notice, or one table mixes rows of different faces."""
    for common, times in (("40", 1), ("60", 2), ("60", 2)):
        done = checkout.sweep("anew", "--over", "choice=a,b", "-p", f"common={common}")
        assert done.returncode == 0, done.stderr
        assert checkout.executions("anew-a", "anew-b") == [(times, times, times), (0, times, times)]


# Killed and interrupted


@slow
def test_a_killed_worker_loses_nothing(checkout):
    """One run is killed once and tried again; another twice, so it is reported, and the next sweep runs it alone."""
    arguments = ["--over", "choice=a,b,c", "-p", "held=true", "--workers", "3"]
    ids = ["killed-a", "killed-b", "killed-c"]
    with checkout.start("killed", *arguments) as process:
        pids = checkout.wait_for(*ids)
        assert pids["killed-b"][2] == max(joblib.cpu_count() // 3, 1)
        for run_id in ids[1:]:
            os.kill(pids[run_id][1], signal.SIGKILL)
        again = checkout.wait_for(*ids[1:], since=pids)
        assert not any(alive(pids[run_id][0]) for run_id in ids[1:]), "two kernels in one run folder"
        os.kill(again["killed-c"][1], signal.SIGKILL)
        checkout.let_go(*ids)
        done = ended(process)
    assert done.returncode == 1, done.stderr
    assert checkout.states("killed") == {"a": "finished", "b": "finished", "c": "failed"}
    assert "its process was killed 2 times" in done.stdout
    assert checkout.executions(*ids) == [(1, 1, 1), (0, 1, 2), (0, 1, 2)]
    assert len(checkout.table("killed")) == 2
    assert checkout.sweep("killed", *arguments).returncode == 0
    assert checkout.states("killed") == {"a": "skipped", "b": "skipped", "c": "finished"}
    assert checkout.executions(*ids) == [(1, 1, 1), (0, 1, 2), (0, 1, 3)]
    assert len(checkout.table("killed")) == 3


@slow
def test_an_interrupted_sweep_ends_its_runs_and_goes_on_when_it_is_repeated(checkout):
    arguments = ["--over", "choice=a,b,c", "-p", "held=true", "--workers", "1"]
    checkout.let_go("cut-a", "cut-c")
    with checkout.start("cut", *arguments) as process:
        pids = checkout.wait_for("cut-b")["cut-b"]
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert done.returncode == 130
    assert last(done.stderr) == "python -m amtgan_lib: interrupted, 1 of 3 runs finished; run it again to resume"
    assert not any(alive(pid) for pid in pids[:2])
    assert checkout.states("cut") == {"a": "finished", "b": "interrupted", "c": "interrupted"}
    assert runs.read(checkout.runs / "cut-b")["status"] == "interrupted"
    assert not (checkout.runs / "cut-c" / "run.json").exists()
    checkout.let_go("cut-b")
    assert checkout.sweep("cut", *arguments).returncode == 0
    assert checkout.states("cut") == {"a": "skipped", "b": "finished", "c": "finished"}
    assert checkout.executions("cut-a", "cut-b", "cut-c") == [(1, 1, 1), (0, 1, 2), (0, 1, 1)]


@slow
def test_nothing_outlives_a_killed_sweep_which_goes_on_at_once_when_it_is_repeated(checkout):
    arguments = ["--over", "choice=a", "-p", "held=true"]
    with checkout.start("gone", *arguments) as process:
        pids = checkout.wait_for("gone-a")["gone-a"]
        process.kill()
        process.wait()
        with checkout.start("gone", *arguments) as process:
            checkout.wait_for("gone-a", since={"gone-a": pids})
            assert not any(alive(pid) for pid in pids[:2])
            checkout.let_go("gone-a")
            assert ended(process).returncode == 0
    assert checkout.executions("gone-a") == [(1, 1, 2)]
    assert not list((checkout.runs / "gone").glob(".board*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_runs_and_the_second_the_sweep(tmp_path, number):
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with jobs.open_board(tmp_path) as board, interrupts.first_calls(lambda _: jobs.take_away(board)):
            signal.raise_signal(number)
            assert not board.exists()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


# A Dask cluster


CLUSTER = """
from distributed import LocalCluster
with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
    print(cluster.scheduler_address, flush=True)
    input()
"""


@pytest.fixture
def cluster(checkout) -> Iterator[str]:
    """Address of a cluster of two workers with their nannies, which start a killed one anew."""
    pytest.importorskip("distributed")
    how = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER], cwd=checkout.root, env=checkout.environment, **how
    ) as process:
        try:
            yield process.stdout.readline().strip()
            process.communicate("\n", timeout=PATIENCE)
        finally:
            process.kill()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def work_here(job: jobs.Job) -> jobs.Outcome:
    """What a job's process does, without one."""
    overrides = {name: Text(value) for name, value in job.overrides.items()}
    pipeline.run(job.preset, run_id=job.run_id, overrides=overrides, only=job.only, start=job.start, resume=True)
    return jobs.Outcome(job.name, jobs.FINISHED)


def test_a_cluster_is_given_the_runs(project, monkeypatch):
    """Scheduler, worker and runs in this process, in which they take a second."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(machines, "work", work_here)
    monkeypatch.setattr(engine, "execute", fakes.execute_here)
    how = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**how) as cluster:
        folder = sweeps.run(sweeps.Sweep("small", {"choice": ("a", "b")}), scheduler=cluster.scheduler_address)
    names = ("01_prepare", "02_train", "05_work")
    files = [project / "runs" / f"sweep-{choice}" / name for choice in "ab" for name in names]
    assert [len(file.read_text()) if file.exists() else 0 for file in files] == [1, 1, 1, 0, 1, 1]
    assert len(results.read(folder / "tables" / "05_black_box_success.csv")) == 2


@slow
def test_a_cluster_does_the_runs(checkout, cluster):
    done = checkout.sweep("there", "--over", "choice=a", "--scheduler", cluster)
    assert done.returncode == 0, done.stderr
    assert checkout.executions("there-a") == [(1, 1, 1)] and len(checkout.table("there")) == 1


@slow
def test_a_killed_dask_worker_loses_nothing(checkout, cluster):
    ids = ["dask-a", "dask-b"]
    checkout.let_go("dask-bad")
    with checkout.start("dask", "--over", "choice=bad,a,b", "-p", "held=true", "--scheduler", cluster) as process:
        pids = checkout.wait_for(*ids)
        kernel, child, _ = pids["dask-b"]
        os.kill(parent_of(child), signal.SIGKILL)
        checkout.wait_for("dask-b", since=pids)
        assert not alive(kernel), "two kernels in one run folder"
        checkout.let_go(*ids)
        done = ended(process)
    assert done.returncode == 1, done.stderr
    assert checkout.states("dask") == {"a": "finished", "b": "finished", "bad": "failed"}
    assert "AssertionError" in done.stdout
    assert checkout.executions(*ids) == [(0, 1, 1), (0, 1, 2)]
    assert len(checkout.table("dask")) == 2


@slow
def test_an_interrupt_ends_what_runs_on_the_cluster(checkout, cluster):
    arguments = ["--over", "choice=a,b", "-p", "held=true", "--scheduler", cluster, "--workers", "1"]
    with checkout.start("away", *arguments) as process:
        pids = checkout.wait_for("away-a")["away-a"]
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert done.returncode == 130
    assert not any(alive(pid) for pid in pids[:2])
    assert set(checkout.states("away").values()) == {"interrupted"}
    assert not (checkout.runs / "away-b").exists(), "--workers 1 runs one at a time"


# Refused before anything runs


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    fill(tmp_path)
    for name, folder in (("NOTEBOOKS", "notebooks"), ("PRESETS", "presets"), ("RUNS", "runs")):
        monkeypatch.setattr(paths, name, tmp_path / folder)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--over is missing: give a parameter and its values"),
        (["--over", "choise=a,b"], "no notebook of the preset has a parameter 'choise'"),
        (["--over", "choice"], "is not NAME=VALUE"),
        (["--over", "choice=a", "--over", "choice=b"], "'choice=b' is not NAME=VALUE,VALUE, or repeats a NAME"),
        (["--over", "choice=a,a"], "names each value once, got choice=a,a"),
        (["--over", "choice=a", "-p", "nonsense"], "is not NAME=VALUE"),
        (["--over", "choice=a", "-p", "choice=b"], "choice is swept over, so -p cannot set it"),
        (["--over", "common=1,2"], "common is a parameter of 01_prepare, which all runs of a sweep share"),
        (["--over", "choice=a b,a_b"], "names each value once"),
        (["--over", "choice=a", "--workers", "-1"], "--workers is -1"),
        (["--over", "choice=a", "--sweep-id", "a/b"], "a run cannot be called"),
        (["--over", "choice=a", "--scheduler", "nonsense"], "no Dask scheduler answers at 'nonsense'"),
        (
            ["--over", "choice=a", "--scheduler", "tcp://127.0.0.1:9"],
            "no Dask scheduler answers at 'tcp://127.0.0.1:9'",
        ),
    ],
)
def test_a_wrong_sweep_is_refused_in_one_sentence(project, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(machines, "SECONDS_TO_ANSWER", 1)
    assert command_line.main(["sweep", "--preset", "small", *arguments]) in (1, 2)
    said = capsys.readouterr().err.strip()
    assert message.lower() in said.lower() and len(said.splitlines()) == 1
    assert not list((project / "runs").glob("*/notebooks"))


def test_a_sweep_needs_more_than_the_notebook_that_all_share(project):
    (project / "presets" / "small.yaml").write_text("notebooks: [02_train]")
    with pytest.raises(sweeps.PresetError, match="has only one notebook"):
        sweeps.run(sweeps.Sweep("small", {"choice": ("a",)}))


def test_without_dask_the_extra_is_named(project, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert command_line.main(["sweep", "--preset", "small", "--over", "choice=a", "--scheduler", "tcp://h:1"]) == 1
    said = capsys.readouterr().err
    assert said == "python -m amtgan_lib: --scheduler needs Dask: pip install 'amtgan-lib[cluster]'\n"


def test_two_sweeps_of_one_name_do_not_run_at_once(project, capsys):
    with runs.held(runs.folder("sweep")):
        assert command_line.main(["sweep", "--preset", "small", "--over", "choice=a"]) == 1
    assert "Another process is running into" in capsys.readouterr().err


# Machines


def fake_client(**facts: dict) -> SimpleNamespace:
    """A client of a cluster whose workers answer so; each has two threads."""
    return SimpleNamespace(
        ncores=lambda: dict.fromkeys(facts, 2),
        run=lambda *_, **__: facts,
        wait_for_workers=lambda *_, **__: None,
        scheduler=SimpleNamespace(address="tcp://s"),
    )


GOOD = {"host": "h", "cores": 8, "board": True, "commit": "c"}


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        (ModuleNotFoundError("amtgan_lib"), "the worker w cannot import amtgan_lib"),
        ({**GOOD, "board": False}, "the worker w does not see"),
        ({**GOOD, "code": "other"}, "the worker w has other code of the library: c"),
    ],
)
def test_a_worker_that_could_not_do_the_runs_is_named(tmp_path, fact, message):
    good = {**GOOD, "code": runs.code()}
    assert machines._checked(fake_client(v=good), tmp_path) == {"v": good}
    with pytest.raises(machines.NoCluster, match=message):
        machines._checked(fake_client(v=good, w=fact), tmp_path)


def test_runs_share_the_cores(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 12)
    assert [machines.Local(0).threads(count) for count in (1, 5, 12, 16)] == [12, 2, 1, 1]
    assert [machines.Local(4).threads(count) for count in (1, 5, 16)] == [12, 3, 3]
    # Two workers of two threads on one host of eight cores, another with a host of its own: the least decides.
    facts = {"v": GOOD, "w": GOOD, "x": {**GOOD, "host": "i", "cores": 6}}
    assert machines.Cluster(fake_client(**facts), 0, facts).threads(16) == 2
    assert machines.Cluster(fake_client(v=GOOD), 0, {"v": GOOD}).threads(16) == 4


# A job


def test_a_job_whose_board_is_gone_does_not_start(tmp_path):
    with jobs.open_board(tmp_path) as board:
        job = jobs.Job("j", "small", "r", tmp_path / "log", board)
    assert jobs.work(job).state == "interrupted"
    assert list(tmp_path.iterdir()) == []


def test_trouble_of_the_system_is_an_outcome(tmp_path):
    with jobs.open_board(tmp_path) as board:
        outcome = jobs.work(jobs.Job("j", "small", "r", tmp_path / "none" / "log", board))
    assert outcome.state == "failed" and "No such file" in outcome.reason


def test_the_job_reaches_its_process_whole(tmp_path):
    job = jobs.Job("j", "p.yaml", "r", tmp_path, tmp_path, {"a": 'b "c"'}, start="02")
    assert json.loads(job.command()[-1]) == {
        "preset": "p.yaml", "run_id": "r", "overrides": {"a": 'b "c"'}, "only": "", "start": "02"
    }  # fmt: skip
