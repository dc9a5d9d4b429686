"""The published checkpoint of AMT-GAN's authors, used as their released code uses it.

Each of their generators was trained for one person and one recogniser left out. Their archive holds one of the 16:
it was trained against the other three for MobileFace (AMT-GAN#6), and their `demo.py` scores it against photo 047073,
which is the person of 085807. For any other file, the caller states target and recognisers.

Faces are cropped as released (``faces.published_frame``) at 256 px; results are stretched and saved as square crops
(recipe ``published``). What differs: mediapipe finds the face where dlib did, masks are those of its mesh or of a parse
map instead of BiSeNet's, and a crop is saved at 256 px, without the fine detail of a larger photo added back.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from amtgan_lib import assets, faces, recognizers
from amtgan_lib.methods import generator
from amtgan_lib.methods.method import SOMEBODY, Method, MethodError
from amtgan_lib.models import load_published
from amtgan_lib.recipes import PUBLISHED

NAME = "authors"
SUFFIXES = (".pth", ".pt")
SIZE = 256
TARGET, HELD_OUT = "celeba_hq_target/085807", "mobile_face"  # of the generator in the archive


def load(file: str | Path | None = None, target: str = SOMEBODY, knew: Sequence[str] = recognizers.PUBLISHED) -> Method:
    """The method of a published generator (`G.pth`); None is that of the imported archive.

    target, knew: whom and against which recognisers a named file was trained for; it does not say so itself, so by
    default any of the four published ones may be among them. MethodError for a file that holds no published generator,
    AssetError where there is no archive.
    """
    if file is None:
        file, target = assets.published_weights("G"), TARGET
        knew = tuple(name for name in recognizers.PUBLISHED if name != HELD_OUT)
    try:
        network = load_published("generator", file)
    except (ValueError, RuntimeError, EOFError, OSError, AttributeError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        expected = "expected a state dict like G.pth in the archive of AMT-GAN's authors"
        raise MethodError(f"{file} holds no generator ({expected}): {reason}") from error
    facts = {"target": target, "recognizers": list(knew), "size": SIZE}
    drawing = generator.of_generator(network.requires_grad_(False), PUBLISHED, SIZE, facts)
    return replace(drawing, name=NAME, frame=faces.published_frame)
