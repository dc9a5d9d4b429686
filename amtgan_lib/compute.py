"""How this machine computes: threads that do not spin, work shared by cores, bfloat16 only where it is native.

``settle_threads`` runs when the package is imported, since OpenMP reads its variables once, when torch is loaded. For
the same reason torch is imported inside functions here.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

PRECISIONS = ("auto", "float32", "bfloat16")
# Values of oneDNN's ONEDNN_MAX_CPU_ISA that let bfloat16 instructions through: "ALL" and those that name one of these.
_ALLOW_BFLOAT16 = ("ALL", "DEFAULT", "BF16", "FP16", "AMX", "AVX10")
MOST_WORKERS = 8  # each holds a photo with all that is made of it, or is a process with torch in it
Work, Result = TypeVar("Work"), TypeVar("Result")


# --- threads ------------------------------------------------------------------------------------------------------


def settle_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let OpenMP's threads sleep while they wait, one on each physical core; what is set already stays.

    A thread that spins takes its core from whatever else wants it. Beside one busy program, two spinning threads were
    12 times as slow as two sleeping ones (a training step, two cores). Without effect once torch is loaded.
    """
    if "torch" in sys.modules:
        return
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    cores = physical_cores()
    if cores is not None:
        environment.setdefault("OMP_NUM_THREADS", str(cores))


def physical_cores(system: Path = Path("/sys")) -> int | None:
    """Cores that this process may use: its affinity and its container's quota count, two threads of a core are one.

    None where the system does not tell (not Linux): torch then decides by itself.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    usable = os.sched_getaffinity(0)
    siblings = (system / f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list" for cpu in usable)
    cores = {file.read_text() if file.is_file() else str(file) for file in siblings}
    quota = system / "fs/cgroup/cpu.max"  # "200000 100000": two cores' worth of microseconds in each period, or "max"
    share = quota.read_text().split() if quota.is_file() else ["max"]
    allowed = len(cores) if share[0] == "max" else int(share[0]) // int(share[1])
    return max(min(len(cores), allowed), 1)


# --- work that cores share ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def crew(most: int = MOST_WORKERS) -> Iterator[Callable[..., Iterable]]:
    """A ``map`` that hands each item to one of torch's threads, at most ``most``; here torch has one thread meanwhile.

    For work of many small operations, which gain nothing from a second thread: beside a busy program they wait for it,
    and a step of a look's search took three times as long. Threads stay, since each prepares its own convolutions.
    """
    import torch

    threads = torch.get_num_threads()
    workers = min(threads, MOST_WORKERS, most)
    if workers <= 1:
        yield map
        return
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    torch.set_num_threads(1)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # also of threads that begin from now on


def side_by_side(
    job: Callable[[Work], Result], items: Sequence[Work], progress: Callable[[Iterable], Iterable] = iter
) -> list[Result]:
    """``[job(item) for item in items]``, at most 8 items at a time, each on one of torch's threads alone.

    A small network on a single face is hardly faster on two threads: PGD took 1.4 seconds a face on one or on two, two
    faces side by side 0.8 each (8 drawn faces, commit 82a3b03). ``progress`` wraps the items, in their order. The first
    exception ends the work as soon as the items that have begun are done.
    """
    with crew(len(items)) as share:
        return [result for _, result in zip(progress(items), share(job, items))]


def spread(
    job: Callable[[Work], Result],
    chunks: Sequence[Work],
    workers: int = 0,
    progress: Callable[[Iterable], Iterable] = iter,
) -> list[Result]:
    """As ``side_by_side``, on ``workers`` processes of one thread each; 0: as many as torch has threads, at most 8.

    For painting, which is many small operations: threads would wait for each other. job must be a function of a module,
    since each process imports it.
    """
    import torch

    workers = min(workers or torch.get_num_threads(), MOST_WORKERS, len(chunks))
    if workers <= 1:
        return [job(chunk) for chunk in progress(chunks)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return [result for _, result in zip(progress(chunks), pool.map(job, chunks))]


# --- precision ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Precision:
    """What a training computes in: ``name`` is "float32" or "bfloat16", ``reason`` says why."""

    name: str
    reason: str
    device: str = "cpu"

    def __str__(self) -> str:
        return f"computes in {self.name}: {self.reason}"

    def autocast(self) -> AbstractContextManager:
        """torch.autocast to bfloat16, or a context that changes nothing."""
        import torch

        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.name == "bfloat16")


def check_precision(asked: str) -> str:
    """One of PRECISIONS, or ValueError."""
    if asked not in PRECISIONS:
        raise ValueError(f"precision is {asked!r}; expected one of {', '.join(PRECISIONS)}")
    return asked


def precision(asked: str = "auto", device: str = "cpu") -> Precision:
    """The precision to train in on ``device``: as asked, and for "auto" bfloat16 where the device has it natively.

    bfloat16 that is asked for and would be emulated is warned of, with how much slower a measured convolution is.
    """
    native, reason = native_bfloat16(device)
    if check_precision(asked) == "auto":
        return Precision("bfloat16" if native else "float32", reason, device)
    if asked == "bfloat16" and not native:
        warnings.warn(
            f"bfloat16 is emulated here ({reason}): a 3 x 3 convolution takes {slowdown(device):.1f} times as long as "
            "in float32; precision 'auto' avoids it",
            stacklevel=2,
        )
    return Precision(asked, "asked for", device)


def native_bfloat16(device: str = "cpu") -> tuple[bool, str]:
    """Whether the device computes bfloat16 itself, and the reason."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        known = f"{torch.cuda.get_device_name(device)} has compute capability {major}.{minor}"
        return major >= 8, f"{known}, and bfloat16 takes 8.0"
    if kind != "cpu":
        return False, f"bfloat16 was not tried on a device of the kind {kind}"
    instructions = [name for name, has in _cpu_capabilities().items() if has and "bf16" in name]
    if not instructions:
        return False, f"this CPU ({torch.backends.cpu.get_cpu_capability()}) has no bfloat16 instructions"
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
    allowed = any(word in limit.upper() for word in _ALLOW_BFLOAT16)
    if not (allowed and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False, f"oneDNN does not use this CPU's bfloat16 instructions (its limit is {limit})"
    return True, f"this CPU has {' and '.join(sorted(instructions))}"


def _cpu_capabilities() -> dict[str, bool]:
    """By name what instructions there are; older versions of torch tell of two kinds alone, those before 2.6 of one."""
    import torch

    if hasattr(torch.cpu, "get_capabilities"):
        return torch.cpu.get_capabilities()
    names = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_bf16": "_is_amx_tile_supported"}
    return {name: getattr(torch.cpu, ask, bool)() for name, ask in names.items()}


def slowdown(device: str = "cpu", repeats: int = 5) -> float:
    """How many times as long a 3 x 3 convolution takes in bfloat16 as in float32: the fastest of each, in turns."""
    import torch

    image = torch.zeros(2, 64, 64, 64, device=device).to(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(64, 64, 3, padding=1, device=device).to(memory_format=torch.channels_last)
    taken: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    with torch.inference_mode():
        for _ in range(repeats + 1):
            for dtype, seconds in taken.items():
                network, given = layer.to(dtype), image.to(dtype)
                begin = time.perf_counter()
                network(given)[0, 0, 0, 0].item()  # reading a value waits for a GPU
                seconds.append(time.perf_counter() - begin)
    return min(taken[torch.bfloat16][1:]) / min(taken[torch.float32][1:])
