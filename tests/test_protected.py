"""What a protected photo looks like in a notebook, and in a line of text."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

import amtgan_lib
from amtgan_lib.faces import SmallFace
from amtgan_lib.images import open_photo
from amtgan_lib.protection import FaceReport, Protected


def protected(picture: Image.Image, faces: int = 2, name: str = "me.jpg", **more) -> Protected:
    photo = open_photo(picture)
    photo = type(photo)(photo.rgb, photo.original, name)
    return Protected(picture, tuple(FaceReport((0, 0, 9, 9), 9.0, 2.5 + n) for n in range(faces)), photo, **more)


def test_its_text_is_short_and_tells_size_faces_and_change():
    text = repr(protected(Image.new("RGB", (300, 200))))
    assert len(text) < 100 and "\n" not in text
    for words in ("me.jpg", "300 x 200", "2 faces", "2.5", "3.5"):
        assert words in text
    assert "1 face," in repr(protected(Image.new("RGB", (30, 20)), faces=1))
    small = SmallFace((0, 0, 5, 5), 4.0)
    assert "1 too small" in repr(protected(Image.new("RGB", (30, 20)), too_small=(small,)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "I;16"])
def test_a_notebook_shows_its_picture(mode):
    level = 257 * 90 if mode == "I;16" else (90,) * len(mode)
    html = protected(Image.new(mode, (1500, 1000), level), name="<me>")._repr_html_()
    with Image.open(io.BytesIO(base64.b64decode(re.search('base64,([^"]+)"', html)[1]))) as shown:
        assert shown.width <= 800 and shown.width / shown.height == pytest.approx(1.5, abs=0.01)
        assert (np.asarray(shown.convert("RGB")) == 90).all()
    assert "&lt;me&gt;" in html and "<me>" not in html


def test_the_package_offers_protect():
    assert "protect" in dir(amtgan_lib)
