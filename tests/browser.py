"""A real browser on JupyterLab and voila: servers of their own, a notebook run as a person runs it, its widgets used.

Nothing here is a test. The servers work in a copy of the checkout and with settings of their own, on free ports of this
machine only, and are stopped whatever happens. Pictures are read as the pixels that the browser shows.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import io
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from amtgan_lib import paths

COPIED = ("amtgan_lib", "notebooks", "presets", "results")
FLAGS = (
    "--headless",
    "--no-sandbox",  # of root, as in a container, Chromium asks for this
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,1000",
)
# JupyterLab asks about news and updates in a box that would cover the notebook.
LAB_SETTINGS = {"apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}'}
# Watchdogs in seconds, with room for a slow and busy machine: a server, all cells of a notebook, a widget.
STARTING, RUNNING, ANSWERING = 400.0, 500.0, 300.0
# A load has hung once in a hundred runs. Voila's pages are complete when their notebook has run.
LOADING = 240.0
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class BrowserError(AssertionError):
    """What the browser shows is not what a person should see: a server that fell silent, a cell with an error."""


def missing() -> str:
    """What keeps the browser tests from running here, in one sentence; empty if nothing does."""
    programs = {"Chromium": _chromium(), "chromedriver": shutil.which("chromedriver")}
    if absent := [name for name, found in programs.items() if not found]:
        return f"no browser tests: {' and '.join(absent)} not installed (Debian: apt install chromium chromium-driver)"
    return ""


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


# ---------------------------------------------------------------- servers


@dataclass(frozen=True)
class Server:
    """A server that answers at ``url`` and writes its log to ``log``."""

    url: str
    log: Path

    def complaint(self, since: int = 0) -> str:
        """The log from the first traceback after its byte ``since`` on."""
        text = self.log.read_bytes()[since:].decode(errors="replace")
        _, found, rest = text.partition("Traceback (most recent call last)")
        return (found + rest)[:4000]


def checkout(folder: Path) -> Path:
    """A copy of this checkout that notebooks may write into, without data and runs."""
    for name in COPIED:
        shutil.copytree(paths.ROOT / name, folder / name, ignore=shutil.ignore_patterns("runs", "__pycache__"))
    return folder


def uploads(target: str) -> list[str]:
    """The options by which a target of the Makefile lets large uploads through."""
    done = subprocess.run(["make", "-n", target], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    return [word for line in done.stdout.splitlines() for word in shlex.split(line) if ".tornado_settings=" in word]


@contextlib.contextmanager
def lab(root: Path) -> Iterator[Server]:
    """JupyterLab in the checkout ``root``."""
    options = (
        *uploads("lab"),
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        "--IdentityProvider.token=",
        "--expose-app-in-browser",
    )
    command = ("jupyterlab", "--no-browser", *options, "--ServerApp.port_retries=0", "--ServerApp.port={port}")
    with _serving(command, root, "/api/status") as server:
        yield server


@contextlib.contextmanager
def voila(root: Path) -> Iterator[Server]:
    """Voila with the notebooks of the checkout ``root``; an error is shown with its traceback."""
    options = (*uploads("demo"), "--no-browser", "--Voila.ip=127.0.0.1", "--show_tracebacks=True", "--port={port}")
    with _serving(("voila", "notebooks", *options), root, "/voila/static/voila.js") as server:
        yield server


@contextlib.contextmanager
def _serving(command: tuple[str, ...], root: Path, ready: str) -> Iterator[Server]:
    """Start ``python -m command`` on a free port, wait until ``ready`` is answered, and stop it in the end."""
    port, own = _free_port(), root / ".jupyter" / command[0]
    server = Server(f"http://127.0.0.1:{port}", own / "log.txt")
    environment = {**os.environ, "PYTHONPATH": str(root), **_folders(own)}
    arguments = [sys.executable, "-m", *(part.replace("{port}", str(port)) for part in command)]
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            arguments,
            cwd=root,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_the_tests,
        )
    try:
        _until_it_answers(server, ready, process)
        yield server
    finally:
        _stop(process, own)


def _end_with_the_tests() -> None:
    """Have Linux end a server whose tests are killed and so cannot stop it (PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _folders(own: Path) -> dict[str, str]:
    """Jupyter's folders below ``own``: no setting of this machine takes part, and nothing of ours stays behind."""
    settings = own / "settings" / "@jupyterlab"
    for name, text in LAB_SETTINGS.items():
        file = settings / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")
    return {name: str(own / name.lower()) for name in names} | {"JUPYTERLAB_SETTINGS_DIR": str(settings.parent)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _until_it_answers(server: Server, ready: str, process: subprocess.Popen) -> None:
    end = time.monotonic() + STARTING
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(server.url + ready, timeout=5):  # refused, too slow
            return
        time.sleep(0.2)
    state = "is silent" if process.poll() is None else f"ended with status {process.returncode}"
    raise BrowserError(f"{' '.join(process.args)} {state}:\n{server.log.read_text(errors='replace')[-4000:]}")


def _stop(process: subprocess.Popen, own: Path) -> None:
    """Ask the server to end, which ends its kernels; then end what is still there of both."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(60)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)
    for kernel in kernels(own):
        with contextlib.suppress(ProcessLookupError):
            os.kill(kernel, signal.SIGKILL)


def kernels(own: Path) -> list[int]:
    """Process ids of the kernels whose connection files lie below a server's folder (Linux; elsewhere none)."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = file.read_bytes().decode(errors="replace")
            if "ipykernel" in command and str(own) in command:
                found.append(int(file.parent.name))
    return found


# ---------------------------------------------------------------- the browser


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Headless Chromium, as a selenium driver."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = _chromium()
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(120)
    driver.set_page_load_timeout(LOADING)
    driver.command_executor.client_config.timeout = 2 * LOADING  # how long selenium listens, 120 s if nobody says
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _KEEP_KERNEL_ERRORS})
    try:
        yield driver
    finally:
        driver.quit()


@dataclass
class Page:
    """A notebook in the browser; widgets are named by a class that the notebook gave them with ``add_class``."""

    driver: Any
    server: Server
    screenshots: Path

    def __post_init__(self):
        self._since = self.server.log.stat().st_size

    def open(self, notebook: str) -> None:
        """Open a notebook of the folder ``notebooks`` and run all its cells; BrowserError if one fails."""
        raise NotImplementedError

    def load(self, address: str) -> None:
        """Load a page of the server; one that hangs is asked for once more, with a warning, as a person would."""
        from selenium.common.exceptions import TimeoutException

        for _ in range(2):
            try:
                return self.driver.get(self.server.url + address)
            except TimeoutException:
                waited = self.driver.timeouts.page_load
                warnings.warn(f"{address} has not loaded after {waited:.0f} s", stacklevel=2)
        raise BrowserError(f"{self.server.url}{address} has twice not loaded after {waited:.0f} s")

    def close(self) -> None:
        """Leave the notebook and end its kernel; what it complained of is forgotten."""
        self.driver.get("about:blank")
        self._since = self.server.log.stat().st_size

    def check(self) -> None:
        """BrowserError for what the page shows or its kernel reports as an error, or else the server's log.

        What a callback raises is shown nowhere: the kernel's messages alone tell of it.
        """
        told = self.driver.execute_script(_ERRORS)
        if text := "\n".join(told) or self.server.complaint(self._since):
            raise BrowserError(COLOUR.sub("", text))

    def screenshot(self, name: str) -> Path:
        """Keep what the window shows as ``name``.png."""
        self.screenshots.mkdir(parents=True, exist_ok=True)
        file = self.screenshots / f"{name}.png"
        file.write_bytes(self.driver.get_screenshot_as_png())
        return file

    def find(self, selector: str, seconds: float = ANSWERING) -> Any:
        """The first element of a CSS selector that is in the page, brought into view; waits for it."""

        def present() -> Any:
            found = self.driver.find_elements("css selector", selector)
            return found[0] if found else None

        element = self.wait(present, f"there is no {selector}", seconds)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        return element

    def wait(self, ready: Callable[[], Any], complaint: str, seconds: float = ANSWERING) -> Any:
        """What ``ready`` gives once that is something; BrowserError, with a screenshot kept, if it never is."""
        from selenium.common.exceptions import StaleElementReferenceException, TimeoutException

        passing = (StaleElementReferenceException, TimeoutException)  # drawn anew while it was looked at, still loading
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(*passing):
                if (value := ready()) is not None:
                    return value
            time.sleep(0.1)
        self.check()
        raise BrowserError(f"{complaint} after {seconds:.0f} s (see {self.screenshot('waited-in-vain')})")

    def text(self, widget: str) -> str:
        """The text that a widget shows."""
        return self.find(f".{widget}").text

    def until(self, widget: str, words: str) -> None:
        """Wait until a widget's text holds ``words``."""
        self.wait(lambda: words in self.text(widget) or None, f".{widget} does not say {words!r}")

    def click(self, widget: str) -> None:
        """Click a button."""
        self.find(f"button.{widget}").click()

    def choose(self, widget: str, words: str) -> None:
        """Choose an option of a dropdown by its words."""
        from selenium.webdriver.support.select import Select

        Select(self.find(f".{widget} select")).select_by_visible_text(words)

    def read(self, widget: str) -> float:
        """A slider's number."""
        return float(self.find(f".{widget} .noUi-handle").get_attribute("aria-valuenow"))

    def move(self, widget: str, *keys: str) -> float:
        """Press keys (HOME, END, ARROW_RIGHT, ...) on a slider's handle; its number afterwards."""
        from selenium.webdriver.common.keys import Keys

        handle = self.find(f".{widget} .noUi-handle")
        self.driver.execute_script("arguments[0].focus()", handle)
        handle.send_keys(*(getattr(Keys, key) for key in keys))
        return self.read(widget)

    def picture(self, widget: str) -> np.ndarray:
        """The pixels (H, W, 3) uint8 of the picture in a widget, as decoded by the browser, at its own size."""
        element = self.find(f"img.{widget}, .{widget} img")

        def drawn() -> str | None:
            return self.driver.execute_script(_PIXELS, element)

        encoded = self.wait(drawn, f"the picture of .{widget} is not complete").partition(",")[2]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"))

    def changed_picture(self, widget: str, before: np.ndarray) -> np.ndarray:
        """The picture of a widget once it is another one than ``before``."""

        def changed() -> np.ndarray | None:
            now = self.picture(widget)
            return None if np.array_equal(now, before) else now

        return self.wait(changed, f"the picture of .{widget} has not changed")

    def upload(self, widget: str, *files: Path) -> None:
        """Choose files in a FileUpload, as its file dialog would."""
        button = self.find(f"button.{widget}, .{widget} button")
        self.driver.execute_script(_CATCH_FILE_DIALOG)
        button.click()
        chooser = self.driver.execute_script("return window.caughtChooser")
        if chooser is None:
            raise BrowserError(f".{widget} asked for no file")
        chooser.send_keys("\n".join(map(str, files)))
        self.driver.execute_script("window.caughtChooser.remove(); window.caughtChooser = null")


class Lab(Page):
    """A notebook in JupyterLab."""

    def open(self, notebook: str) -> None:
        """Open, run through the menu as a person would, and wait until every cell has ended."""
        self.load(f"/lab/tree/notebooks/{notebook}?reset")

        def started() -> bool | None:
            state = self._state()
            return True if state and state["kernel"] == "idle" and state["path"].endswith(notebook) else None

        self.wait(started, f"{notebook} has no kernel", RUNNING)
        self._choose("Run", "runmenu:run-all")
        self.wait(self._all_ran, f"{notebook} has not run to its end", RUNNING)
        self.check()

    def close(self) -> None:
        """As for any page; JupyterLab would keep the kernel alive."""
        if self.driver.execute_script("return Boolean(window.jupyterapp)"):
            self.driver.execute_async_script(_END_KERNELS)
        super().close()

    def _choose(self, menu: str, command: str) -> None:
        titles = self.driver.find_elements("css selector", ".lm-MenuBar-item")
        next(title for title in titles if title.text == menu).click()
        self.find(f'li[data-command="{command}"]').click()

    def _state(self) -> dict[str, Any] | None:
        return self.driver.execute_script(_NOTEBOOK_STATE)

    def _all_ran(self) -> bool | None:
        state = self._state()
        self.check()
        return True if state["kernel"] == "idle" and all(state["ran"]) else None


class Voila(Page):
    """A notebook in voila, which runs it by itself."""

    def open(self, notebook: str) -> None:
        """Open and wait until the page is complete."""
        self.load(f"/voila/render/{notebook}")

        def complete() -> bool | None:
            return self.driver.execute_script(_VOILA_READY)

        self.wait(complete, f"voila has not shown {notebook}", RUNNING)
        self.check()


# ---------------------------------------------------------------- what runs in the page

# Runs before anything else of a page, and listens to all that its kernel says: errors, and tracebacks that it logs.
_KEEP_KERNEL_ERRORS = r"""
window.kernelErrors = [];
const Socket = window.WebSocket;
window.WebSocket = class extends Socket {
  constructor(...options) {
    super(...options);
    this.addEventListener('message', ({data}) => {
      const text = data instanceof ArrayBuffer ? new TextDecoder().decode(data) : String(data);
      if (!/"msg_type":\s*"error"|Traceback \(most recent call last\)/.test(text)) return;
      const lines = /"traceback":\s*(\[(?:"(?:[^"\\]|\\.)*"(?:,\s*)?)*\])/.exec(text);
      window.kernelErrors.push(lines ? JSON.parse(lines[1]).join('\n') : text);
    });
  }
};
"""
# The kernel's errors, the outputs that are errors, and the widgets that could not be shown.
_ERRORS = """
const shown = '[data-mime-type="application/vnd.jupyter.error"], .jupyter-widgets-error-widget';
return [...window.kernelErrors || [], ...[...document.querySelectorAll(shown)].map(each => each.innerText)];
"""
_NOTEBOOK_STATE = """
const panel = window.jupyterapp?.shell.currentWidget;
const cells = panel?.content?.model?.cells;
if (!cells || !panel.sessionContext?.isReady) return null;
const code = [...cells].filter(cell => cell.type === 'code' && cell.sharedModel.source.trim());
return {
  path: panel.context.path,
  kernel: panel.sessionContext.session?.kernel?.status,
  ran: code.map(cell => cell.executionCount !== null && cell.executionState !== 'running'),
};
"""
_END_KERNELS = """
const done = arguments[0];
window.jupyterapp.serviceManager.sessions.shutdownAll().then(() => done(true), problem => done(String(problem)));
"""
_VOILA_READY = """
const loading = document.getElementById('loading');
const hidden = !loading || getComputedStyle(loading).display === 'none';
return document.readyState === 'complete' && hidden ? true : null;
"""
_PIXELS = """
const picture = arguments[0];
if (!picture.complete || !picture.naturalWidth) return null;
const canvas = document.createElement('canvas');
canvas.width = picture.naturalWidth;
canvas.height = picture.naturalHeight;
canvas.getContext('2d').drawImage(picture, 0, 0);
return canvas.toDataURL('image/png');
"""
# FileUpload's <input type=file> is not part of the page, and a headless browser has no file dialog.
_CATCH_FILE_DIALOG = """
if (!window.catchesChoosers) {
  const click = HTMLInputElement.prototype.click;
  HTMLInputElement.prototype.click = function () {
    if (this.type !== 'file') return click.call(this);
    window.caughtChooser = this;
    document.body.append(this);
  };
  window.catchesChoosers = true;
}
window.caughtChooser = null;
"""
