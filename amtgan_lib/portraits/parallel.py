"""Painting on all cores: it is many small operations, which processes share better than threads do."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import torch

MOST_WORKERS = 8  # each is a process of its own with torch in it
Work, Result = TypeVar("Work"), TypeVar("Result")


def spread(
    job: Callable[[Work], Result],
    chunks: Sequence[Work],
    workers: int = 0,
    progress: Callable[[Iterable], Iterable] = iter,
) -> list[Result]:
    """``[job(chunk) for chunk in chunks]``, on ``workers`` processes of one thread each.

    ``workers`` 0 is one a core, at most 8, and no more than OMP_NUM_THREADS: as many as this run may use beside others.

    job must be a function of a module, since each process imports it. ``progress`` wraps the chunks, in their order.
    """
    workers = min(workers or _cores(), MOST_WORKERS, len(chunks))
    if workers <= 1:
        return [job(chunk) for chunk in progress(chunks)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return [result for _, result in zip(progress(chunks), pool.map(job, chunks))]


def _cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, max(int(allowed), 1)) if allowed.isdigit() else cores
