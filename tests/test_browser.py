"""Notebooks in a real browser: headless Chromium runs them in JupyterLab and voila, uses widgets, looks at pixels.

Screenshots are kept in the folder that AMTGAN_SCREENSHOTS names, or with the other files of the test run.
"""

import os
import urllib.request
from pathlib import Path

import browser
import nbformat
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("selenium", reason="no browser tests: pip install 'amtgan-lib[dev]'")
pytest.importorskip("voila", reason="no browser tests: pip install 'amtgan-lib[demo]'")
pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())

# One slider, one picture and one upload, which say what became of them.
SMALL = """
import io
import ipywidgets
from PIL import Image, UnidentifiedImageError

level = ipywidgets.IntSlider(100, 0, 255, 5, description="grey")
shown, photo, words = ipywidgets.Image(), ipywidgets.FileUpload(), ipywidgets.Label("nothing chosen")
for name, widget in {"level": level, "shown": shown, "photo": photo, "words": words}.items():
    widget.add_class(f"small-{name}")

def show(picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    shown.value = file.getvalue()

def chosen(change):
    try:
        show(Image.open(io.BytesIO(photo.value[0].content)).convert("RGB"))
        words.value = photo.value[0].name
    except UnidentifiedImageError:
        words.value = "this is no picture"

level.observe(lambda change: show(Image.new("RGB", (40, 30), (change.new,) * 3)), "value")
photo.observe(chosen, "value")
show(Image.new("RGB", (40, 30), (100, 100, 100)))
ipywidgets.VBox([level, photo, words, shown])
"""
GRUMPY = """
import ipywidgets

level = ipywidgets.IntSlider()
level.add_class("grumpy-level")
level.observe(lambda change: 1 / 0, "value")
level
"""


PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A copy of the checkout for the servers, with the small notebook of this file."""
    folder = browser.checkout(tmp_path_factory.mktemp("checkout"))
    for name, code in {"small": SMALL, "broken": "1 / 0", "grumpy": GRUMPY}.items():
        write(folder / "notebooks" / f"{name}.ipynb", code)
    return folder


def write(notebook: Path, code: str) -> None:
    """A notebook of one cell."""
    notebook.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)], metadata=PYTHON), notebook)


@pytest.fixture(scope="module")
def driver():
    with browser.chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def servers(root):
    with browser.lab(root) as lab, browser.voila(root) as voila:
        yield {browser.Lab: lab, browser.Voila: voila}


@pytest.fixture(params=[browser.Lab, browser.Voila], ids=["lab", "voila"])
def page(request, driver, servers, tmp_path):
    page = request.param(driver, servers[request.param], Path(os.environ.get("AMTGAN_SCREENSHOTS") or tmp_path))
    yield page
    try:
        page.check()
    finally:
        page.close()


# ---------------------------------------------------------------- the helpers themselves


def test_widgets_are_moved_filled_and_seen(page, tmp_path):
    """Keys on the slider, a photo and a text file in the upload: the pixels in the browser say what came of it."""
    page.open("small.ipynb")
    before = page.picture("small-shown")
    assert before.shape == (30, 40, 3) and (before == 100).all()
    assert page.move("small-level", "ARROW_RIGHT") == 105
    after = page.changed_picture("small-shown", before)
    assert (after == 105).all()
    assert page.move("small-level", "END") == 255
    assert (page.changed_picture("small-shown", after) == 255).all()

    colours = np.random.default_rng(0).integers(0, 256, (20, 50, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / "colours.png")
    page.upload("small-photo", tmp_path / "colours.png")
    page.wait(lambda: "colours.png" in page.text("small-words") or None, "the photo's name is not shown")
    np.testing.assert_array_equal(page.picture("small-shown"), colours)

    (tmp_path / "letter.jpg").write_text("Dear reader, this is no picture.")
    page.upload("small-photo", tmp_path / "letter.jpg")
    page.wait(lambda: "no picture" in page.text("small-words") or None, "nothing is said about the letter")
    assert page.move("small-level", "HOME") == 0
    assert not page.changed_picture("small-shown", colours).any()
    assert page.screenshot("small").stat().st_size > 5000


def test_a_cell_that_fails_is_noticed(page):
    with pytest.raises(browser.BrowserError, match="ZeroDivisionError"):
        page.open("broken.ipynb")
    page.close()


def test_a_callback_that_fails_is_noticed(page):
    page.open("grumpy.ipynb")
    page.move("grumpy-level", "ARROW_RIGHT")
    with pytest.raises(browser.BrowserError, match="ZeroDivisionError"):
        page.wait(page.check, "the callback's error is not noticed", 5)
    page.close()


def test_a_server_and_its_kernels_are_stopped_even_if_the_test_fails(driver, tmp_path):
    write(tmp_path / "notebooks" / "small.ipynb", "6 * 7")
    with pytest.raises(RuntimeError, match="a failing test"), browser.lab(tmp_path) as server:
        browser.Lab(driver, server, tmp_path).open("small.ipynb")
        assert len(browser.kernels(server.log.parent)) == 1
        raise RuntimeError("a failing test")
    assert browser.kernels(server.log.parent) == []
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(server.url)


# ---------------------------------------------------------------- our notebooks


def test_quickstart_runs(page):
    page.open("00_quickstart.ipynb")
    page.screenshot(f"quickstart-{type(page).__name__.lower()}")
