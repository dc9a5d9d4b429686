"""dlib's face recogniser, that of the package ``face_recognition``: a judge that many people really use.

Its network is dlib's own (King 2017, blog.dlib.net/2017/02/high-quality-face-recognition-with-deep.html), and so is the
way from a face to its input: in the rectangle that a detector gives, a shape predictor finds five landmarks (corners of
the eyes, base of the nose), around which a chip of 150 pixels is cut out, with a quarter of it as margin. No gradient
comes back, so it can neither give hints nor train.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from amtgan_lib.images import to_uint8
from amtgan_lib.recognizers.alignment import similarity, template

PACKAGES = ("dlib", "face_recognition_models")
NETWORK, LANDMARKS = "dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"
CHIP = 150  # pixels
OWN_LIMIT = 0.6  # descriptors nearer than this are of one person, say dlib and face_recognition
# Centre (x, y) and side of the rectangle that dlib's detector gives, in pixels of the 112 px template: means of 198
# training photographs (London, CelebA-HQ). Descriptors are then 0.04 away from those that follow the detector, and at
# most 0.11 (60 photographs).
RECTANGLE_XY, RECTANGLE_SIDE = (54.0, 72.0), 84.0


def installed() -> bool:
    """Whether the extra ``dlib`` is there; nothing is imported."""
    return all(find_spec(name) for name in PACKAGES)


def file(name: str) -> Path:
    """A file of ``face_recognition_models``: NETWORK or LANDMARKS. FileNotFoundError without the extra ``dlib``."""
    if not installed():
        raise FileNotFoundError('dlib is not installed: uv pip install "amtgan-lib[dlib]"')
    # The package itself is not imported: it needs pkg_resources, which new versions of setuptools no longer have.
    (folder,) = find_spec("face_recognition_models").submodule_search_locations
    return Path(folder) / "models" / name


class DlibNetwork(nn.Module):
    """Faces in, descriptors out, by dlib on the CPU, one by one. FileNotFoundError without the extra ``dlib``."""

    def __init__(self):
        super().__init__()
        landmarks, network = str(file(LANDMARKS)), str(file(NETWORK))
        import dlib

        self.predictor, self.encoder = dlib.shape_predictor(landmarks), dlib.face_recognition_model_v1(network)

    def forward(self, images: Tensor, points: Tensor | None = None) -> Tensor:
        """Descriptors (N,128), float32, not normalised, of images (N,3,H,W) in [-1,1], which are rounded to 8 bit.

        points (N,5,2) as (y, x) pixels, order as ``TEMPLATE_XY``. Without, the images are chips of CHIP pixels.
        """
        pictures = [np.ascontiguousarray(picture) for picture in to_uint8(images)]
        if points is None:
            descriptors = [self.encoder.compute_face_descriptor(picture) for picture in pictures]
        else:
            shapes = [self.predictor(picture, box) for picture, box in zip(pictures, rectangles(points))]
            descriptors = [self.encoder.compute_face_descriptor(*face) for face in zip(pictures, shapes)]
        return torch.from_numpy(np.array(descriptors, np.float32).reshape(-1, 128)).to(images.device)


def rectangles(points: Tensor) -> list:
    """Where dlib's detector would find faces with these points (N,5,2): dlib rectangles. ValueError for no face."""
    import dlib

    scale, shift = similarity(points.detach().cpu(), template())
    centres = (complex(*RECTANGLE_XY) - shift) / scale
    boxes = []
    for centre, zoom in zip(centres.tolist(), scale.abs().tolist()):
        half = RECTANGLE_SIDE / zoom / 2
        sides = (centre.real - half, centre.imag - half, centre.real + half, centre.imag + half)
        boxes.append(dlib.rectangle(*map(round, sides)))
    return boxes
