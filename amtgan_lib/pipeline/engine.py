"""papermill's engine with two additions: the kernel's last printed line is shown, and no kernel is left behind.

Imported where a notebook is executed only, since papermill takes two seconds.
"""

import asyncio
import copy
import html
import logging
import os
import queue
import re
import sys
import threading
import time
from pathlib import Path

import papermill
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from jupyter_core.utils import ensure_event_loop, run_sync
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError, strip_color
from papermill.log import logger
from tqdm import tqdm

from amtgan_lib import paths
from amtgan_lib.pipeline.parameters import Notebook
from amtgan_lib.pipeline.runs import STEP_VARIABLE

QUIET_SECONDS = 30
"""Between two lines of progress where stderr is no terminal."""
SECONDS_TO_SAVE = 600
"""Given to an interrupted notebook: enough for a training step at full size, and its checkpoint."""


class CellFailed(Exception):
    """Where a notebook stopped, and why."""


def execute(notebook: Notebook, parameters: dict, output: Path, log: Path, step: str) -> None:
    """Execute a notebook as if it were opened in its folder, writing the copy as it goes; CellFailed if it stops.

    The log holds the output of the kernel's process itself, such as why it died.
    """
    node = copy.deepcopy(notebook.node)
    with log.open("w") as kernel_log, Progress(step, len(node.cells) + 1) as progress:
        try:
            done = papermill.execute_notebook(
                node,
                # papermill takes the braces of a path for places to fill in.
                str(output).replace("{", "{{").replace("}", "}}"),
                parameters,
                engine_name="amtgan",
                kernel_name="python3",
                language="python",
                progress_bar=False,
                cwd=paths.NOTEBOOKS,
                progress=progress,
                launch={"env": _environment(step), "stdout": kernel_log, "stderr": kernel_log},
            )
        except PapermillExecutionError as error:
            raise CellFailed(f"{_place(error)}: {error.ename}: {error.evalue}") from error
        except DeadKernelError as error:
            raise CellFailed(f"cell {progress.cell}: the kernel died (out of memory? {log.name} may say)") from error
    if any(cell.metadata.papermill.get("exception") for cell in done.cells):
        # papermill takes `sys.exit()` in a cell for success, though the cells after it have not run.
        raise CellFailed("a cell that called exit: the cells after it have not run")


def _place(error: PapermillExecutionError) -> str:
    """The cell as its failed copy numbers it, and the line that its traceback points to."""
    line = re.search(r"^-+> +(\d+) +(.*)$", strip_color("\n".join(error.traceback)), flags=re.MULTILINE)
    return f"In [{error.exec_count}]" + (f" line {line[1]} `{line[2].strip()}`" if line else "")


def _environment(step: str) -> dict[str, str]:
    """Kernels import this checkout, whatever else is installed; an installed package is found without help."""
    if not paths.IN_CHECKOUT:
        return {**os.environ, STEP_VARIABLE: step}
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(paths.ROOT)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(paths.ROOT), *others]), STEP_VARIABLE: step}


class OwnKernel(AsyncKernelManager):
    """A kernel of the interpreter that runs this, whatever Jupyter's folders hold under the kernel's name."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """The specification that Jupyter would look up."""
        return KernelSpec(**get_kernel_dict())


class Client(PapermillNotebookClient):
    """Tells `progress` of each line that a cell prints."""

    def __init__(self, nb_man, progress: "Progress", **options):
        super().__init__(nb_man, on_cell_start=lambda cell, cell_index: progress.saw(cell_index, ""), **options)
        self.progress = progress

    def papermill_execute_cells(self) -> None:
        """Execute the cells. Ctrl-C is passed on to the kernel, which is given time to save; a second one ends it.

        Tasks that wait for the kernel's answers are cancelled: they would report that the kernel died.
        """
        try:
            super().papermill_execute_cells()
        except KeyboardInterrupt:
            _cancel_waiting()
            try:
                run_sync(self._interrupted)()
            except KeyboardInterrupt:
                _cancel_waiting()
            raise

    async def _interrupted(self) -> None:
        """Interrupt the running cell and wait until the kernel answers again."""
        await self.km.interrupt_kernel()
        question, begun, told = self.kc.kernel_info(), time.monotonic(), False
        while await self.km.is_alive() and (waited := time.monotonic() - begun) < SECONDS_TO_SAVE:
            try:
                answer = await self.kc.get_shell_msg(timeout=0.5)
            except queue.Empty:
                if waited > 1 and not told:
                    tqdm.write("interrupted: waiting for the notebook to save; Ctrl-C ends it at once", sys.stderr)
                    told = True
                continue
            if answer["parent_header"].get("msg_id") == question:
                return

    def process_message(self, msg: dict, cell, cell_index: int):
        """Handle one message of the kernel."""
        self.progress.saw(cell_index, printed(msg))
        return super().process_message(msg, cell, cell_index)


def _cancel_waiting() -> None:
    loop = ensure_event_loop()
    waiting = asyncio.all_tasks(loop)
    for task in waiting:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))


class Engine(NBClientEngine):
    """papermill's own engine with our client, environment and log."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name: str, *, progress: "Progress", launch: dict, **_):
        """Execute; the kernel is gone afterwards, also when it was interrupted while it started."""
        options = {"timeout": None, "startup_timeout": 120, "coalesce_streams": True, "log": logger}
        client = Client(nb_man, progress, kernel_name=kernel_name, kernel_manager_class=OwnKernel, **options)
        try:
            return client.execute(**launch)
        finally:
            if client.km is not None and client.km.has_kernel:
                run_sync(client.km.shutdown_kernel)(now=True)


papermill_engines.register("amtgan", Engine)
# Its errors reach us as exceptions; without a handler Python would print them too.
logger.addHandler(logging.NullHandler())


def printed(message: dict) -> str:
    """Last line that the message prints, "" for none; in a notebook tqdm prints through a widget, as HTML."""
    content = message["content"]
    text = content.get("text", "") if message["msg_type"] == "stream" else ""
    if message["msg_type"] == "comm_msg":
        state = content.get("data", {}).get("state", {})
        value = state.get("value") if isinstance(state, dict) else None
        text = html.unescape(re.sub(r"<[^<>]*>", "", value)) if isinstance(value, str) else ""
    lines = [line.strip() for line in re.split(r"[\r\n]+", strip_color(text))]
    return next((line for line in reversed(lines) if line), "")


class Progress:
    """Cells done, time and the last printed line: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self, name: str, cells: int):
        self.name, self.cells = name, cells
        self.cell, self.line, self.start = 0, "", time.monotonic()
        self.shown, self.stop = self.start, threading.Event()
        # disable=None: off where stderr is no terminal.
        layout = "{desc} {bar:20} cell {n}/{total} {elapsed}{postfix}"
        self.bar = tqdm(total=cells, desc=name, bar_format=layout, leave=False, dynamic_ncols=True, disable=None)
        self.thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Progress":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.bar.close()

    def saw(self, cell_index: int, line: str) -> None:
        """Note which cell runs and what it printed; the clock's thread shows it."""
        self.cell, self.line = cell_index + 1, line or self.line

    def _tick(self) -> None:
        while not self.stop.wait(1):
            if not self.bar.disable:
                self.bar.n = self.cell
                self.bar.set_postfix_str(self.line)
            elif time.monotonic() - self.shown >= QUIET_SECONDS:
                self.shown = time.monotonic()
                elapsed = tqdm.format_interval(self.shown - self.start)
                told = f"{self.name} {elapsed} cell {self.cell}/{self.cells} {self.line}"
                print(told.rstrip(), file=sys.stderr, flush=True)
