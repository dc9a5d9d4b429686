"""A photo in the studio: the picture at any setting of the sliders, and what recognisers say to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from amtgan_lib import evaluation, images, losses
from amtgan_lib.demos.session.face import Face, Settings, Style
from amtgan_lib.demos.session.kits import Kit, StudioError
from amtgan_lib.evaluation import Probes
from amtgan_lib.faces import Box, FaceCrop, overlap
from amtgan_lib.images import OWN_MODES, Photo, open_photo
from amtgan_lib.protection import Protected, none_found, pasted
from amtgan_lib.recognizers import LAX, USUAL, Known

SHOWN = 640  # pixels: the longer side of the picture that is shown and judged, at most
JUDGED = 256  # pixels of the crop that recognisers are shown
AROUND = 1.8  # of the face's crop: how much of the photo is shown
MOST_PIXELS = 50e6  # finding faces in more takes longer than anybody waits
AS_IT_IS = "as shown"


class Studio:
    """One photo, its faces opened once, and its judges.

    photo, known: files, pictures or ``Photo``; known is another photo of the same person, which recognisers compare
    with, and from which looks move away. Without one it is the clean photo itself, which stands for others (see
    ``Recognizer.own_photo``).
    marks: boxes (x0, y0, x1, y1) in photo pixels, in which a face that no detector finds is sought; ``missed`` are
    those of them with nothing in them that can be changed. Raises PhotoError (one sentence) where there is no photo, no
    usable face, or none in ``known``.
    """

    def __init__(
        self,
        photo: str | Path | Image.Image | np.ndarray | Photo,
        kit: Kit,
        known: str | Path | Image.Image | Photo | None = None,
        marks: Sequence[Box] = (),
    ):
        self.photo, self.kit, self.marks = open_photo(photo), kit, tuple(marks)
        _check_size(self.photo)
        crops, self.left = kit.method.detect_all(self.photo, marks)
        if not crops:
            advice = "use a photo that shows one from the front, or mark it"
            raise StudioError(f"{self.photo.name}: {none_found(self.left)}; {advice}")
        self.missed = [face for face in self.left if any(overlap(face.box, box) for box in marks)]
        self.crops = crops
        self.stage, self._place = _staged(self.photo, crops[0])
        self._clean = evaluation.read_probes([self.stage])
        self._in_place = bool(marks) and not self._clean.found[0]  # whether no detector finds the face that is judged
        if self._in_place:
            self._clean = self._seen(self.stage)
        elif not self._clean.found[0]:
            raise StudioError(f"{self.photo.name}: its face is no longer found in the cropped photo; use another photo")
        self.compare_with(known)

    @property
    def fitting(self) -> list[Box]:
        """The marks that are around a face which can be changed."""
        return [mark for mark in self.marks if not any(overlap(mark, face.box) for face in self.missed)]

    def compare_with(self, known: str | Path | Image.Image | Photo | None) -> None:
        """Let recognisers compare with another photo of the same person, or (None) with the clean photo itself.

        The looks are then those that hide from this photo.
        """
        probes = self._clean if known is None else _known(known)
        method = self.kit.method if known is None else self.kit.method.knowing(Known(probes.image, probes.points))
        self.faces = [Face(crop, method) for crop in self.crops]
        self._known = _vectors(probes, self.kit)
        self._before = self._similarities(self._clean)
        self.known, self.compares_with_itself = known, known is None

    def reference(self, photo: str | Path | Image.Image | Photo) -> FaceCrop:
        """The makeup reference in a photo; PhotoError where there is none."""
        photo = open_photo(photo)
        _check_size(photo)
        return self.kit.method.reference(photo)

    @property
    def clean(self) -> Image.Image:
        """The photo as it is shown: cut to the face, at most SHOWN pixels, RGB."""
        return Image.fromarray(self.stage.rgb)

    def picture(self, settings: Settings, first: Style = None, second: Style = None) -> Image.Image:
        """The changed photo as it is shown, in 8-bit RGB; what of a photo is shown whole is what ``protect`` gives."""
        painting = self.faces[0].painting(settings, first, second)
        picture = self.stage.with_change(painting.within(self._place, self.stage))
        return Image.fromarray(open_photo(picture).rgb)

    def judge(self, picture: Image.Image) -> pd.DataFrame:
        """What each recogniser says to a picture, its face found anew in it: in its place where the size is the same.

        A face that was marked, and that no detector finds, is cut out where it was marked.

        Columns: recogniser, role, before and similarity (cosines of the clean and of this picture to the known photo),
        threshold (usual) and lax, verdict.
        """
        similarities = self._similarities(self._seen(picture))
        rows = []
        for judge, before, similarity in zip(self.kit.judges, self._before, similarities):
            known = judge.own_photo if self.compares_with_itself else judge.thresholds
            limits = known[USUAL], known[LAX]
            own = {"recogniser": judge.name, "role": self.kit.role(judge.name), "before": before}
            own |= {"similarity": similarity, "threshold": limits[0], "lax": limits[1]}
            rows.append({**own, "verdict": evaluation.verdict(similarity, *limits)})
        return pd.DataFrame(rows)

    def visible(self, picture: Image.Image) -> float:
        """How much of the picture shown differs, as 1 - SSIM: 0 for the clean photo."""
        both = (images.to_tensor(image)[None] for image in (picture, self.clean))
        return float(1 - losses.ssim(*both))

    def flip(self, picture: Image.Image) -> float:
        """How plainly its face differs for somebody who flips between before and after: 0 for the clean photo."""
        return evaluation.face_flip(self._place, picture)

    def judged(self, picture: Image.Image) -> pd.DataFrame:
        """What ``judge`` says, with columns visible and flip for how plainly the picture differs."""
        return self.judge(picture).assign(visible=self.visible(picture), flip=self.flip(picture))

    def curve(
        self, settings: Settings, first: Style, second: Style, strengths: Sequence[float]
    ) -> Iterator[pd.DataFrame]:
        """What ``judge`` says at each overall strength, one table at a time, and how plainly it is seen."""
        for strength in strengths:
            picture = self.picture(replace(settings, strength=strength), first, second)
            yield self.judged(picture).assign(strength=strength)

    def report(self, picture: Image.Image) -> Iterator[pd.DataFrame]:
        """What ``judge`` says to a picture as it is and as a site may publish it anew, one table a way (column how)."""
        yield self.judge(picture).assign(how=AS_IT_IS)
        for how in evaluation.REPUBLISHED:
            yield self.judge(evaluation.republish(picture, how)).assign(how=how)

    def protect(self, settings: Settings, first: Style = None, second: Style = None) -> Protected:
        """The whole photo at its own size, every face changed as the sliders say but those that are left.

        Raises StudioError where they leave nothing of the look of a face, and where a face that was marked stays as it
        is: that would be passed on as protected.
        """
        if self.missed:
            advice = "cover it, crop it out or remove the mark: nothing is saved"
            raise StudioError(f"{self.photo.name}: {self.missed[0]}; {advice}")
        paintings = [face.painting(settings, first, second) for face in self.faces]
        if not all(any(settings.shares[part] for part in painting.look.worn()) for painting in paintings):
            raise StudioError("strength, or every part of the look, is 0: nothing is protected and nothing is saved")
        return pasted(self.photo, [face.crop for face in self.faces], paintings, self.left)

    def _seen(self, picture: Image.Image | Photo) -> Probes:
        """The face in the picture that is shown, or in one that a site has made of it."""
        if not self._in_place:
            return evaluation.read_probes([picture], clean=self._clean)
        whole = Image.fromarray(open_photo(picture).rgb).resize(self.stage.size)
        image, points = self._place.view(whole, JUDGED)
        return Probes(image[None], points[None], np.ones(1, bool))

    def _similarities(self, probes: Probes) -> list[float]:
        return [float(own @ known) for own, known in zip(_vectors(probes, self.kit), self._known)]


def _vectors(probes: Probes, kit: Kit) -> list[np.ndarray]:
    """Per judge the unit vector (D,) of one face; NaN where none was found."""
    return [evaluation.embed(probes, judge)[0] for judge in kit.judges]


def _known(photo: str | Path | Image.Image | Photo) -> Probes:
    photo = open_photo(photo)
    _check_size(photo)
    probes = evaluation.read_probes([photo])
    if not probes.found[0]:
        raise StudioError(f"{photo.name}: no face was found, so there is nothing to compare with")
    return probes


def _check_size(photo: Photo) -> None:
    if photo.size[0] * photo.size[1] > MOST_PIXELS:
        width, height = photo.size
        raise StudioError(
            f"{photo.name} has {width * height / 1e6:.0f} megapixels; the studio takes up to {MOST_PIXELS / 1e6:.0f}: "
            "make it smaller, or use `protect` for the full size"
        )


def _staged(photo: Photo, crop: FaceCrop) -> tuple[Photo, FaceCrop]:
    """The part of a photo around a face, at most SHOWN pixels, in the photo's own mode; and the face in it."""
    centre = crop.matrix[:, :2] @ np.full(2, (crop.size - 1) / 2) + crop.matrix[:, 2]
    half = AROUND * crop.scale * crop.size / 2
    x0, y0 = np.maximum(np.floor(centre - half), 0).astype(int).tolist()
    x1, y1 = np.minimum(np.ceil(centre + half), photo.size).astype(int).tolist()
    shrink = min(1.0, SHOWN / max(x1 - x0, y1 - y0))
    size = (max(round((x1 - x0) * shrink), 1), max(round((y1 - y0) * shrink), 1))
    # A grey photo of 16 bits is shown in 8.
    original = photo.original if photo.original.mode in OWN_MODES else Image.fromarray(photo.rgb).convert("L")
    picture = original.crop((x0, y0, x1, y1)).resize(size, Image.Resampling.LANCZOS)
    stage, place = replace(open_photo(picture), name=photo.name), crop.within((x0, y0, x1, y1), size)
    return stage, replace(place, image=place.resample(stage))
