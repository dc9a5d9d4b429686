"""Where the runs of a sweep run: side by side on this machine's cores, or on the workers of a Dask cluster."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from amtgan_lib.pipeline import runs
from amtgan_lib.pipeline.jobs import FAILED, Job, Outcome, work
from amtgan_lib.reporting import results

if TYPE_CHECKING:
    from distributed import Client

SECONDS_TO_ANSWER = 20


class NoCluster(Exception):
    """The cluster does not answer, or its workers cannot do these runs."""


@contextmanager
def machines(scheduler: str, workers: int, board: Path) -> Iterator[Local | Cluster]:
    """The cores here, or the cluster of a scheduler's address; at most ``workers`` runs at a time, 0 for all they can.

    Raises NoCluster without Dask, for an address where no scheduler or no worker answers, and for workers that have
    other code of the library or do not see ``board``.
    """
    if not scheduler:
        yield Local(workers)
        return
    try:
        from distributed import Client
    except ImportError:
        raise NoCluster("--scheduler needs Dask: pip install 'amtgan-lib[cluster]'") from None
    try:
        client = Client(scheduler, timeout=SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        raise NoCluster(f"no Dask scheduler answers at {scheduler!r} (such as tcp://HOST:8786): {error}") from error
    with client:
        yield Cluster(client, workers, _checked(client, board))


class Local:
    """joblib's threads, each of which watches the process of a run.

    joblib's process pool would add a process in between, and stop all its workers when one of them is killed.
    """

    work = staticmethod(work)

    def __init__(self, workers: int):
        import joblib

        self.cores = joblib.cpu_count()  # those that this process may use
        self.slots = self.most = workers or self.cores

    def threads(self, jobs: int) -> int:
        """How many threads each of so many runs may use."""
        return max(self.cores // min(self.slots, jobs), 1)

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Outcomes as they come."""
        import joblib

        how = {"backend": "threading", "batch_size": 1, "pre_dispatch": "all", "return_as": "generator_unordered"}
        threads = min(self.most or len(jobs), len(jobs))
        return joblib.Parallel(threads, **how)(joblib.delayed(self.work)(job) for job in jobs)


class Cluster(Local):
    """Workers of a Dask cluster, which see the same checkout, data and results as this machine does.

    joblib's Dask backend is not used: it waits forever if a worker is lost too often (joblib 1.6).
    """

    def __init__(self, client: Client, workers: int, facts: dict[str, dict]):
        self.client, self.facts = client, facts
        self.slots = workers or sum(client.ncores().values())
        self.most = workers  # 0: all are handed over at once, since more workers may join

    def threads(self, jobs: int) -> int:
        """How many threads each run may use: as many on all machines, since another order of sums changes results."""
        taken: dict[str, int] = {}
        for address, slots in self.client.ncores().items():
            host = self.facts.get(address, {}).get("host", "")
            taken[host] = taken.get(host, 0) + slots
        return max(min(fact["cores"] // taken.get(fact["host"], 1) for fact in self.facts.values()), 1)

    def work(self, job: Job) -> Outcome:
        """Run one job to its end. Dask itself restarts a job whose worker was lost."""
        try:
            return self.client.submit(work, job, pure=False).result()
        except Exception as error:  # any trouble of the cluster with this run: the others continue
            return Outcome(job.name, FAILED, reason=f"{type(error).__name__}: {error}", log=str(job.log))


def _checked(client: Client, board: Path) -> dict[str, dict]:
    """Host and cores of each worker by its address; NoCluster if one cannot do our runs."""
    try:
        client.wait_for_workers(1, timeout=SECONDS_TO_ANSWER)
    except TimeoutError:
        raise NoCluster(f"no worker has come to {client.scheduler.address} in {SECONDS_TO_ANSWER} seconds") from None
    facts = client.run(_facts, board, on_error="return")
    for address, fact in facts.items():
        if isinstance(fact, Exception):
            raise NoCluster(f"the worker {address} cannot import amtgan_lib as it is here: {fact!r}")
        if not fact["board"]:
            raise NoCluster(f"the worker {address} does not see {board.parent}: it needs this checkout's own folder")
        if fact["code"] != runs.code():
            raise NoCluster(f"the worker {address} has other code of the library: {fact['commit']}")
    return facts


def _facts(board: Path) -> dict:
    import joblib

    host, cores = socket.gethostname(), joblib.cpu_count()
    return {"host": host, "cores": cores, "board": board.is_dir(), "code": runs.code(), "commit": results.commit()}
