"""How this machine computes: threads that sleep while they wait, and bfloat16 where it is native."""

import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch

from amtgan_lib import compute

ROOT = Path(__file__).resolve().parents[1]
CODE = "import os, amtgan_lib; print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('OMP_NUM_THREADS'))"


def settled(code: str = CODE, **own: str) -> list[str]:
    """What a fresh process, whose user has set ``own``, prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    environment |= {"PYTHONPATH": str(ROOT), **own}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_importing_the_package_lets_threads_sleep():
    policy, threads = settled()
    assert policy == "PASSIVE"
    assert threads == str(compute.physical_cores())


def test_torch_computes_with_the_threads_that_were_settled(monkeypatch):
    code = "import amtgan_lib, torch; print(torch.get_num_threads())"
    assert settled(code, OMP_NUM_THREADS="1") == ["1"]


def test_what_the_user_has_set_stays():
    assert settled(OMP_WAIT_POLICY="ACTIVE", OMP_NUM_THREADS="7") == ["ACTIVE", "7"]


def test_nothing_is_set_once_torch_is_loaded():
    environment: dict[str, str] = {}
    compute.settle_threads(environment)
    assert environment == {}  # torch is loaded here


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_side_by_side_two_items_are_worked_on_at_once_with_a_thread_each(two_threads):
    both, announced = threading.Barrier(2, timeout=60), []

    def job(item: int) -> tuple[int, int]:
        both.wait()
        return item, torch.get_num_threads()

    found = compute.side_by_side(job, [3, 1, 2, 0], lambda items: announced.extend(items) or iter(items))
    assert found == [(3, 1), (1, 1), (2, 1), (0, 1)] and announced == [3, 1, 2, 0]
    assert torch.get_num_threads() == 2
    assert compute.side_by_side(str, []) == []


def test_a_crew_keeps_its_threads_and_leaves_one_to_whoever_hands_out_work(two_threads):
    both, workers = threading.Barrier(2, timeout=60), set()

    def job(_) -> int:
        both.wait()
        workers.add(threading.current_thread().name)
        return torch.get_num_threads()

    with pytest.raises(ValueError, match="no face"), compute.crew() as share:
        for _ in range(3):
            assert list(share(job, [0, 1])) == [1, 1] and torch.get_num_threads() == 1
        raise ValueError("no face")
    assert len(workers) == 2 and torch.get_num_threads() == 2


def test_side_by_side_the_first_exception_ends_the_work(two_threads):
    begun = []

    def job(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise ValueError("no face")
        time.sleep(0.05)

    with pytest.raises(ValueError, match="no face"):
        compute.side_by_side(job, range(100))
    assert len(begun) < 50
    assert torch.get_num_threads() == 2


def tree(folder: Path, siblings: list[str], quota: str = "max 100000") -> Path:
    """A /sys of so many processors, each with its siblings."""
    for cpu, text in enumerate(siblings):
        place = folder / f"devices/system/cpu/cpu{cpu}/topology"
        place.mkdir(parents=True)
        (place / "thread_siblings_list").write_text(text + "\n")
    (folder / "fs/cgroup").mkdir(parents=True)
    (folder / "fs/cgroup/cpu.max").write_text(quota + "\n")
    return folder


@pytest.mark.parametrize(
    ("siblings", "quota", "cores"),
    [
        (["0-1", "0-1", "2-3", "2-3"], "max 100000", 2),  # two threads a core
        (["0", "1", "2", "3"], "max 100000", 4),
        (["0", "1", "2", "3"], "250000 100000", 2),  # a container with two and a half cores
        (["0", "1"], "50000 100000", 1),
    ],
)
def test_cores_are_those_that_the_process_may_use(tmp_path, monkeypatch, siblings, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(len(siblings))), raising=False)
    assert compute.physical_cores(tree(tmp_path, siblings, quota)) == cores


def test_affinity_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1}, raising=False)
    assert compute.physical_cores(tree(tmp_path, ["0", "1", "2", "3"])) == 1


def test_a_system_that_does_not_tell_leaves_it_to_torch(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert compute.physical_cores() is None


@pytest.fixture
def cpu(monkeypatch):
    """A CPU with, or without, bfloat16 instructions, which oneDNN may use up to a limit."""

    def pretend(has: bool, limit: str = "", onednn: bool = True) -> None:
        known = {"avx2": True, "avx512_bf16": has}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)

    return pretend


@pytest.mark.parametrize(
    ("has", "limit", "onednn", "name"),
    [
        (True, "", True, "bfloat16"),
        (True, "AVX512_CORE_AMX", True, "bfloat16"),
        (True, "AVX512_CORE", True, "float32"),  # oneDNN still takes bfloat16, and emulates it
        (True, "", False, "float32"),
        (False, "", True, "float32"),
    ],
)
def test_auto_is_bfloat16_where_it_is_native(cpu, has, limit, onednn, name):
    cpu(has, limit, onednn)
    chosen = compute.precision("auto", "cpu")
    assert chosen.name == name
    assert "bfloat16" in str(chosen) or "bf16" in str(chosen)  # the reason


def test_the_precision_is_what_a_network_computes_in(cpu):
    layer, row = torch.nn.Linear(4, 4), torch.zeros(1, 4)
    for has, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        cpu(has)
        with compute.precision("auto").autocast():
            assert layer(row).dtype == dtype


def test_emulated_bfloat16_is_warned_of_once_with_a_measured_factor(cpu, monkeypatch):
    cpu(False)
    monkeypatch.setattr(compute, "slowdown", lambda device: 7.6)
    with pytest.warns(UserWarning, match=r"7\.6 times as long") as caught:
        assert compute.precision("bfloat16").name == "bfloat16"
    assert len(caught) == 1


def test_what_is_native_or_float32_is_not_warned_of(cpu):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cpu(True)
        compute.precision("bfloat16")
        cpu(False)
        compute.precision("float32")
        compute.precision("auto")


def test_the_factor_is_measured():
    assert compute.slowdown(repeats=1) > 0


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="half"):
        compute.precision("half")
