"""Notebooks in a real browser: headless Chromium runs them in JupyterLab and voila, uses widgets, looks at pixels.

Screenshots are kept in the folder that AMTGAN_SCREENSHOTS names, or with the other files of the test run.
"""

import http.server
import os
import threading
import time
import urllib.request
from pathlib import Path
from typing import ClassVar

import browser
import nbformat
import numpy as np
import pytest
from PIL import Image

from amtgan_lib import images, portraits
from amtgan_lib.models.rendering import PARTS

pytest.importorskip("selenium", reason="no browser tests: pip install 'amtgan-lib[dev]'")
pytest.importorskip("voila", reason="no browser tests: pip install 'amtgan-lib[demo]'")
pytestmark = [
    pytest.mark.skipif(bool(browser.missing()), reason=browser.missing()),
    pytest.mark.timeout(1800),  # the browser's own limits are reached before
]


def front_ends(quick: type[browser.Page], other: type[browser.Page]) -> pytest.MarkDecorator:
    """The page in one front end, and with the slow tests in the other one, too."""
    shown = [pytest.param(quick, id=quick.__name__), pytest.param(other, id=other.__name__, marks=pytest.mark.slow)]
    return pytest.mark.parametrize("page", shown, indirect=True)


in_lab, in_voila = front_ends(browser.Lab, browser.Voila), front_ends(browser.Voila, browser.Lab)

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


@pytest.fixture
def page(request, driver, servers, tmp_path):
    page = request.param(driver, servers[request.param], Path(os.environ.get("AMTGAN_SCREENSHOTS") or tmp_path))
    yield page
    try:
        page.check()
    finally:
        page.close()


# ---------------------------------------------------------------- the helpers themselves


@in_voila
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
    page.until("small-words", "colours.png")
    np.testing.assert_array_equal(page.picture("small-shown"), colours)

    (tmp_path / "letter.jpg").write_text("Dear reader, this is no picture.")
    page.upload("small-photo", tmp_path / "letter.jpg")
    page.until("small-words", "no picture")
    assert page.move("small-level", "HOME") == 0
    assert not page.changed_picture("small-shown", colours).any()
    assert page.screenshot("small").stat().st_size > 5000


@in_lab
def test_a_cell_that_fails_is_noticed(page):
    with pytest.raises(browser.BrowserError, match="ZeroDivisionError"):
        page.open("broken.ipynb")
    page.close()


@in_voila
def test_a_callback_that_fails_is_noticed(page):
    page.open("grumpy.ipynb")
    page.move("grumpy-level", "ARROW_RIGHT")
    with pytest.raises(browser.BrowserError, match="ZeroDivisionError"):
        page.wait(page.check, "the callback's error is not noticed", 5)
    page.close()


@pytest.mark.slow
def test_a_server_and_its_kernels_are_stopped_even_if_the_test_fails(driver, tmp_path):
    write(tmp_path / "notebooks" / "small.ipynb", "6 * 7")
    with pytest.raises(RuntimeError, match="a failing test"), browser.lab(tmp_path) as server:
        browser.Lab(driver, server, tmp_path).open("small.ipynb")
        assert len(browser.kernels(server.log.parent)) == 1
        raise RuntimeError("a failing test")
    assert browser.kernels(server.log.parent) == []
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(server.url)


class Stalling(http.server.BaseHTTPRequestHandler):
    """Answers /once from the second time on, /never not at all.

    Whoever is not answered waits until the test is over: an empty answer would make the browser ask again by itself.
    """

    asked: ClassVar[list[str]] = []
    over: ClassVar[threading.Event] = threading.Event()

    def do_GET(self):
        self.asked.append(self.path)
        if self.path == "/never" or self.asked.count("/once") == 1:
            self.over.wait(60)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"here I am")

    def log_message(self, *_):
        pass


@pytest.fixture
def stalling(driver, tmp_path):
    """A page of a server that stalls, in a browser that waits for one second."""
    (tmp_path / "log.txt").touch()
    driver.set_page_load_timeout(1)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stalling) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield browser.Page(
            driver, browser.Server(f"http://127.0.0.1:{server.server_port}", tmp_path / "log.txt"), tmp_path
        )
        Stalling.over.set()
        server.shutdown()
    driver.set_page_load_timeout(browser.LOADING)
    driver.get("about:blank")


def test_a_page_that_hangs_is_asked_for_once_more(stalling):
    with pytest.warns(UserWarning, match="/once has not loaded after 1 s"):
        stalling.load("/once")
    assert "here I am" in stalling.driver.page_source
    with pytest.warns(UserWarning), pytest.raises(browser.BrowserError, match="/never has twice not loaded after 1 s"):
        stalling.load("/never")
    assert [Stalling.asked.count(address) for address in ("/once", "/never")] == [2, 2]


# ---------------------------------------------------------------- our notebooks


def both(page, after="amtgan-picture", line="amtgan-position"):
    """The picture before and after, by way of the line that divides them; each is called so, and shown as large."""
    page.move(line, "END")
    before = settled(page, after)
    assert page.text("amtgan-sides") == "before"
    size = page.find(f".{after}").size
    page.move(line, "HOME")
    made_up = page.changed_picture(after, before)
    page.until("amtgan-sides", "after")
    assert page.find(f".{after}").size == size, "a scrollbar takes room from the picture"
    return before, made_up


def settled(page, widget):
    """A picture once it has stopped changing for a second."""
    seen = [page.picture(widget)]

    def same():
        time.sleep(1)
        seen.append(page.picture(widget))
        return seen[-1] if np.array_equal(*seen[-2:]) else None

    return page.wait(same, f".{widget} never comes to rest")


def difference(one, other):
    return np.abs(one.astype(int) - other).mean(-1)


def shot(page, name):
    return page.screenshot(f"{name}-{type(page).__name__.lower()}")


def check_it_is_for_visitors(page):
    """In voila nothing is said that only somebody in front of the notebook can use."""
    if isinstance(page, browser.Voila):
        text = page.find("body").text
        assert text and not [
            words
            for words in ("Run all cells", "make demo", "make reproduce", "results/runs", "Keep it")
            if words in text
        ]


def check_the_widget_is_in_view(page):
    """JupyterLab goes to a notebook's last cell before the first one runs."""
    top = "return document.querySelector('.amtgan').getBoundingClientRect().top"
    # Voila shows a page from its top, before the widget is there.
    assert isinstance(page, browser.Voila) or 0 < page.driver.execute_script(top) < 500


def offer_a_letter(page, folder):
    """Upload a text file of 13 MB that is named like a photo; the widget says so, on the ground that problems have."""
    (folder / "letter.jpg").write_text("Dear reader, this is no photo. " * 430_000)
    page.upload("amtgan-photo-upload", folder / "letter.jpg")
    page.until("amtgan-message", "letter.jpg is not an image that can be read")
    ground = page.find(".amtgan-message .problem").value_of_css_property("background-color")
    assert ground == "rgba(251, 230, 220, 1)"


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    """A drawn portrait as a photo to upload: nobody, and of no one's making but ours."""
    drawn = portraits.draw(portraits.people([11]), portraits.no_makeup(1), portraits.scenes([2], variety=0.2), 256)
    return images.save(tmp_path_factory.mktemp("photos") / "portrait.png", drawn.image[0])


@in_lab
def test_quickstart_protects_a_drawn_portrait_and_an_uploaded_photo(page, portrait, tmp_path):
    """Before and after differ in the face alone; a photo is taken; a letter is refused, and the widget lives on."""
    page.open("00_quickstart.ipynb")
    check_the_widget_is_in_view(page)
    page.picture("amtgan-picture")
    check_it_is_for_visitors(page)
    page.find(".amtgan")
    shot(page, "quickstart")  # as the README shows it: the whole widget, the line still in the middle
    before, after = both(page)
    changed = difference(before, after)
    height, width = changed.shape
    assert changed[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3].mean() > 2
    assert changed[: height // 20].max() == 0

    offer_a_letter(page, tmp_path)
    shot(page, "quickstart-letter")
    assert difference(both(page)[0], before).max() == 0

    page.upload("amtgan-photo-upload", portrait)
    page.move("amtgan-position", "END")
    page.wait(lambda: page.picture("amtgan-picture").shape == (256, 256, 3) or None, "the uploaded photo is not shown")
    clean, protected = both(page)
    assert difference(clean, images.open_photo(portrait).rgb).max() == 0
    assert difference(clean, protected)[85:170, 85:170].mean() > 1
    shot(page, "quickstart-upload")


@in_voila
def test_makeup_strength_answers_its_sliders(page, tmp_path):
    """At strength 0 the picture is the photo, at 1 it is not; meters, curve and report follow; a letter is refused."""
    page.open("demo_makeup_strength.ipynb")
    page.move("amtgan-position", "HOME")
    full = settled(page, "amtgan-picture")
    check_it_is_for_visitors(page)
    similar = meters(page)
    assert page.move("amtgan-strength", "HOME") == 0
    none = page.changed_picture("amtgan-picture", full)
    page.wait(lambda: meters(page) != similar or None, "the meters have not moved")
    assert min(meters(page).values()) > max(similar.values()) - 1e-9
    page.move("amtgan-position", "END")
    assert difference(settled(page, "amtgan-picture"), none).max() == 0, "strength 0 is the photo, bit for bit"
    page.move("amtgan-position", "HOME")
    assert page.move("amtgan-strength", "END") == 1
    page.wait(lambda: difference(page.picture("amtgan-picture"), full).max() == 0 or None, "the picture is not back")

    curve = settled(page, "amtgan-curve")
    assert page.move("amtgan-shape", "HOME") == 0
    makeup = page.changed_picture("amtgan-picture", full)
    assert 0 < difference(makeup, none).mean() < difference(full, none).mean()
    assert curve.std() > 10 and page.changed_picture("amtgan-curve", curve).std() > 10
    page.find(".amtgan-report:not(.amtgan-stale)")
    assert "Similarity" in page.text("amtgan-report")
    page.find(".amtgan-picture")
    shot(page, "makeup-strength")
    page.find(".amtgan-report")
    shot(page, "makeup-strength-report")

    for slider in PARTS[1:]:  # a look need not wear every part: all of them away is the photo
        assert page.move(f"amtgan-{slider}", "HOME") == 0
    page.wait(lambda: difference(page.picture("amtgan-picture"), none).max() == 0 or None, "the photo is not back")
    worn = none
    for slider in ("light", "contour", "shape", "mix"):
        assert page.move(f"amtgan-{slider}", "END") == 1
        worn = page.changed_picture("amtgan-picture", worn)
    offer_a_letter(page, tmp_path)
    shot(page, "makeup-strength-letter")
    assert difference(settled(page, "amtgan-picture"), worn).max() == 0


def meters(page):
    found = page.driver.find_elements("css selector", ".amtgan-meters [data-recogniser]")
    return {each.get_attribute("data-recogniser"): float(each.get_attribute("data-similarity")) for each in found}


@in_voila
def test_stored_results_are_explored(page):
    """Threshold and method move the curves, the rate of false accepts and the photos, which are seen without a run."""
    page.open("demo_results.ipynb")
    curves, photos = settled(page, "results-curves"), page.text("results-photos-of")
    check_it_is_for_visitors(page)
    assert page.move("results-threshold", "HOME") < 0
    lax = page.changed_picture("results-curves", curves)
    assert curves.std() > 20 and lax.std() > 20
    page.until("results-photos-of", "residual: 0 of 63 are refused as their owner")
    page.click("results-far-1")
    page.until("results-photos-of", photos)
    assert "1 %" in page.text("results-far")
    assert difference(settled(page, "results-curves"), curves).max() == 0
    page.find(".results-question button:nth-of-type(2)").click()
    page.until("results-photos-of", "are accepted as the target")

    page.choose("results-method", "pgd")
    assert page.changed_picture("results-curves", curves).std() > 20
    page.until("results-photos-of", "pgd: ")
    photo = page.picture("results-photos-of")
    assert photo.shape == (160, 160, 3) and photo.std() > 20
    shot(page, "results-photos")
    page.find(".results-curves")
    shot(page, "results")
