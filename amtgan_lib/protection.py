"""Whole photo in, whole photo out: every face protected by a trained generator, everything else left as it was."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from amtgan_lib import faces as face_finder
from amtgan_lib import images, paths, recognizers, targets
from amtgan_lib.faces import FaceCrop, SmallFace
from amtgan_lib.hints import HINT_CHANNELS, gradient_hints
from amtgan_lib.images import Photo, PhotoError, open_photo
from amtgan_lib.models import Generator, load_generator
from amtgan_lib.recipes import Recipe, recipe
from amtgan_lib.recognizers import Recognizer
from amtgan_lib.targets import Target

DEFAULT = "generator_any_target.safetensors"
PASSES = 4  # of the default generator: success and visible change against passes are in notebook 12


class ProtectionError(PhotoError):
    """A photo that could not be protected; nothing was written. One sentence for its owner."""


class ProtectionWarning(UserWarning):
    """What a photo's owner should know before trusting a generator or a protected photo; one sentence."""


@dataclass(frozen=True)
class FaceReport:
    """What was done to one face: its box (x0, y0, x1, y1) in the photo, and its crop's mean change in 8-bit levels."""

    box: tuple[float, float, float, float]
    mean_change: float


@dataclass(frozen=True)
class Protected:
    """A protected photo: the picture (same size and mode as the photo) and one report a face.

    too_small: faces that were found and could not be changed; they are in the picture as they were.
    """

    image: Image.Image
    faces: tuple[FaceReport, ...]
    photo: Photo
    too_small: tuple[SmallFace, ...] = ()

    def save(self, path: str | Path, keep_metadata: bool = True) -> Path:
        """Write the picture, moved into place when complete; EXIF is kept unless told otherwise.

        The ICC profile is always kept: without it the same pixels would show other colours.
        JPEG is written at quality 95 without chroma subsampling: coarser files wash the protection out.
        """
        options: dict[str, Any] = {}
        if keep_metadata and self.photo.exif:
            options["exif"] = self.photo.exif
        if self.photo.icc_profile:
            options["icc_profile"] = self.photo.icc_profile
        if Path(path).suffix.lower() in (".jpg", ".jpeg"):
            options |= {"quality": 95, "subsampling": 0}
        return images.save(path, self.image, **options)


@dataclass(frozen=True)
class Protector:
    """A method and what belongs to it; make one with :func:`load` and use it for many photos.

    ``method`` gives the changed crop (3, S, S) in [-1, 1] of a face and a makeup reference. A generator is one
    (:func:`of_generator`); a gradient attack, which looks at no reference, is another. ``guide`` is what an any-target
    generator is told.
    """

    method: Callable[[FaceCrop, FaceCrop], Tensor]
    recipe: Recipe
    size: int
    facts: dict[str, Any]
    guide: Guide | None = None

    def reference(self, photo: str | Path | Image.Image | FaceCrop) -> FaceCrop:
        """The face of a makeup photo, at the generator's size."""
        if isinstance(photo, FaceCrop):
            return photo
        return face_finder.detect_one(photo, self.size)

    def change(self, crop: FaceCrop, reference: FaceCrop, strength: float = 1.0) -> Tensor:
        """The protected crop (3, S, S) in [-1, 1]; ``strength`` scales the whole change, 0 gives the crop back."""
        if crop.size != self.size or reference.size != self.size:
            raise ValueError(f"expected crops of {self.size} px, got {crop.size} and {reference.size}")
        drawn = self.method(crop, reference)
        if self.recipe.stretch_output:
            drawn = images.stretch(drawn[None])[0]
        return (crop.image + strength * (drawn - crop.image)).clamp(-1, 1)

    def protect(
        self,
        photo: str | Path | Image.Image | np.ndarray | Photo,
        reference: str | Path | Image.Image | FaceCrop | None = None,
        *,
        strength: float = 1.0,
        faces: Literal["all", "largest"] = "all",
        found: list[FaceCrop] | None = None,
    ) -> Protected:
        """Protect a photo's faces: those ``found`` in it before, or all that are found now.

        Without a ``reference`` each face stays in its own makeup. Raises ProtectionError (or PhotoError) where no face
        is found, or one fails. Faces too small to be changed are named in the result, and with "all" by a
        ProtectionWarning each; those beside ``found`` are not looked for.
        """
        if faces not in ("all", "largest"):
            raise ProtectionError(f"faces is {faces!r}; expected 'all' or 'largest'")
        if not 0 <= strength <= 1:
            raise ProtectionError(f"strength is {strength}; expected a number from 0 (no change) to 1")
        photo = open_photo(photo)
        makeup = None if reference is None else self.reference(reference)
        crops, small = face_finder.detect_all(photo, self.size) if found is None else (found, [])
        if not crops:
            raise ProtectionError(f"{photo.name}: no face was found, so nothing was protected")
        chosen = crops if faces == "all" else crops[:1]
        changed = [self.change(crop, makeup or crop, strength) for crop in chosen]
        if self.recipe.crop_output:
            return self._as_crop(photo, chosen[0], changed[0])
        for face in small if faces == "all" else ():
            warnings.warn(f"{photo.name}: {face}", ProtectionWarning, stacklevel=2)
        return replace(self._pasted(photo, chosen, changed), too_small=tuple(small))

    def _pasted(self, photo: Photo, crops: list[FaceCrop], changed: list[Tensor]) -> Protected:
        change = sum(crop.change(photo, image) for crop, image in zip(crops, changed))
        reports = tuple(_report(crop, image) for crop, image in zip(crops, changed))
        return Protected(photo.with_change(change), reports, photo)

    def _as_crop(self, photo: Photo, crop: FaceCrop, changed: Tensor) -> Protected:
        """The quirk: the largest face as a square crop, as the released code saves it."""
        return Protected(images.to_pil(changed), (_report(crop, changed),), photo)


def _report(crop: FaceCrop, changed: Tensor) -> FaceReport:
    return FaceReport(crop.box, float((changed - crop.image).abs().mean() * 127.5))


def of_generator(network: Generator, how: Recipe, size: int, facts: dict[str, Any]) -> Protector:
    """A protector that draws with a generator trained at ``size`` pixels by the recipe ``how``."""

    @torch.no_grad()
    def draw(crop: FaceCrop, reference: FaceCrop) -> Tensor:
        return _drawn(network, crop, reference)[0]

    return Protector(draw, how, size, facts)


_ON_PURPOSE = (
    "that person may have to answer for it; say impersonate=True if that is agreed, or leave the target and the "
    "generator out to be taken for nobody"
)
_GUIDED = {True: "needs a guide, which names the target and the recognisers", False: "takes no other target"}


@dataclass(frozen=True)
class Guide:
    """What an any-target generator is told at use time: the ensemble, the target, and how often to look again.

    ``weights`` say what each recogniser counts (None: all the same); every pass after the first looks at its own result
    and corrects it. ``hinted=False`` leaves the hints out: the control that must fail.
    """

    recognizers: Sequence[Recognizer]
    target: Target
    weights: Sequence[float] | None = None
    passes: int = 1
    hinted: bool = True

    def __post_init__(self):
        if self.passes < 1:
            raise ProtectionError(f"passes is {self.passes}; expected at least 1")
        counts = len(self.recognizers) if self.weights is None else len(self.weights)
        if counts != len(self.recognizers) or not counts:
            raise ProtectionError(
                f"{len(self.recognizers)} recognisers and {counts} weights; expected a weight for each"
            )
        try:
            self.target.of(self.recognizers)
        except ValueError as error:
            raise ProtectionError(str(error)) from None

    def embeddings(self, crop: FaceCrop) -> list[Tensor]:
        """Per recogniser (1,D) of a face: that of the clean one is what later passes move away from."""
        return [each.embed(crop.image[None], crop.points[None]) for each in self.recognizers]

    def hints(self, crop: FaceCrop, own: Sequence[Tensor] | None = None) -> Tensor:
        """(1,6,S,S) for a face as it is now; ``own`` as in ``gradient_hints``."""
        image, points = crop.image[None], crop.points[None]
        if not self.hinted:
            return image.new_zeros(1, HINT_CHANNELS, *image.shape[2:])
        return gradient_hints(image, points, self.recognizers, self.target.of(self.recognizers), own, self.weights)


def of_guided(network: Generator, how: Recipe, size: int, facts: dict[str, Any], guide: Guide) -> Protector:
    """A protector that draws with an any-target generator; without a makeup reference a face keeps its own looks."""

    @torch.no_grad()
    def draw(crop: FaceCrop, reference: FaceCrop) -> Tensor:
        image = _drawn(network, crop, reference, guide.hints(crop))
        own = guide.embeddings(crop) if guide.passes > 1 else None
        for _ in range(guide.passes - 1):
            again = replace(crop, image=image[0])
            image = _drawn(network, again, again, guide.hints(again, own))
        return image[0]

    used = sorted({*facts.get("recognizers", ()), *(each.name for each in guide.recognizers)})
    return Protector(draw, how, size, {**facts, "recognizers": used, "target": guide.target.name}, guide)


def _drawn(network: Generator, crop: FaceCrop, reference: FaceCrop, hints: Tensor | None = None) -> Tensor:
    sides = (crop.masks, reference.masks, crop.landmarks, reference.landmarks)
    return network(crop.image[None], reference.image[None], *(side[None] for side in sides), hints).float()


def load(generator: str | Path, guide: Guide | None = None) -> Protector:
    """A protector from a generator file that notebook 03 wrote; ProtectionError where it is none.

    An any-target generator needs a ``guide``, and no other can be guided.
    """
    network, facts, how = _read(generator)
    if how.any_target != (guide is not None):
        raise ProtectionError(f"{generator} is of the recipe {how.name}: it {_GUIDED[how.any_target]}")
    if guide is None:
        return of_generator(network, how, facts["size"], facts)
    return of_guided(network, how, facts["size"], facts, guide)


def _read(generator: str | Path) -> tuple[Generator, dict[str, Any], Recipe]:
    """The network, the facts and the recipe of a generator file."""
    try:
        network, facts = load_generator(generator)
        if missing := {"recipe", "size"} - set(facts):
            raise ValueError(
                f"{generator} does not say its {' and '.join(sorted(missing))}; train it by notebook 03_train"
            )
        return network, facts, recipe(facts["recipe"])
    except ValueError as error:
        raise ProtectionError(str(error)) from None


def guide_to(
    target: Target | str | Path | Image.Image | Sequence[str | Path | Image.Image] | None = None,
    *,
    impersonate: bool = False,
    passes: int = PASSES,
    names: Sequence[str] | None = None,
) -> Guide:
    """What the any-target generator is told: by default to move to nobody, by the hints of all recognisers at hand.

    names: whose hints to take. None: our own recogniser, which comes with the package, and those open ones that lie on
    this machine (``python -m amtgan_lib assets fetch --group weights`` brings them); nothing is fetched.

    target: None for nobody, a :class:`~amtgan_lib.targets.Target`, or one or more photos of a person, who is then
    impersonated. That needs ``impersonate=True``: whoever is matched with your photo may have to answer for it.
    Raises ProtectionError where somebody is named without it.
    """
    _on_purpose(target, impersonate)
    photos = list(target) if isinstance(target, (list, tuple)) else [target]
    if not photos:
        raise ProtectionError("the target is an empty list of photos")
    if names is None:
        names = recognizers.at_hand((*recognizers.OWN, *recognizers.OPEN))
    networks = [recognizers.load(name) for name in names]
    if target is None:
        return Guide(networks, targets.nobody(networks), passes=passes)
    if not isinstance(target, Target):
        target = targets.of_photos(photos, networks, f"the person of {open_photo(photos[0]).name}")
    return Guide(networks, target, passes=passes)


def prepare(
    generator: str | Path | Protector | None = None,
    target: Target | str | Path | Image.Image | Sequence[str | Path | Image.Image] | None = None,
    *,
    impersonate: bool = False,
    passes: int | None = None,
    held_out: Sequence[str] = (),
) -> Protector:
    """The protector that :func:`protect` uses, loaded once for many photos; the arguments are those of ``protect``.

    ``passes`` (None: 4) is how often an any-target generator looks at each face, ``held_out`` names recognisers that
    give it no hints, to judge the result. Raises ProtectionError where a person would be impersonated without
    ``impersonate=True``, for a target or passes that the generator cannot take, and where a recogniser that is to be
    held out took part in its training, or none is left to give hints.
    """
    if isinstance(generator, Protector):
        protector = generator
        if target is not None or passes is not None or held_out:
            raise ProtectionError("a loaded protector has its target and passes already, and its hints: name no others")
    else:
        protector = _aimed(Path(generator or paths.WEIGHTS / DEFAULT), target, impersonate, passes, held_out)
    aim = protector.facts.get("target", targets.NOBODY)
    drawn = protector.facts.get("world") == "drawn"
    if aim != targets.NOBODY and not drawn and not impersonate:
        raise ProtectionError(f"this generator makes recognisers take a face for {aim}: {_ON_PURPOSE}")
    if drawn:
        warnings.warn(
            "this generator was trained on drawn faces: it protects nobody from recognisers of real people",
            ProtectionWarning,
            stacklevel=3,  # whoever called `protect`
        )
    return protector


def _aimed(file: Path, target: Any, impersonate: bool, passes: int | None, held_out: Sequence[str]) -> Protector:
    """The protector of a generator file, guided where its recipe takes any target."""
    _on_purpose(target, impersonate)
    network, facts, how = _read(file)
    if took_part := [name for name in facts.get("recognizers", ()) if name in held_out]:
        raise ProtectionError(f"{', '.join(took_part)} cannot be held out: {file} was trained against it")
    if how.any_target:
        options = {} if passes is None else {"passes": passes}
        if held_out:
            options["names"] = _hinting(held_out)
        return of_guided(network, how, facts["size"], facts, guide_to(target, impersonate=impersonate, **options))
    if target is not None:
        raise ProtectionError(f"{file} was trained for one target: name no other")
    if passes is not None:
        raise ProtectionError(f"{file} is of the recipe {how.name}, which looks at a face once: name no passes")
    return of_generator(network, how, facts["size"], facts)


def _hinting(held_out: Sequence[str]) -> tuple[str, ...]:
    """The recognisers at hand that are neither held out nor teachers or students of those."""
    at_hand = recognizers.at_hand((*recognizers.OWN, *recognizers.OPEN))
    names = tuple(name for name in at_hand if not any(recognizers.kin(name, other) for other in held_out))
    if not names:
        raise ProtectionError(f"with {', '.join(held_out)} held out, no recogniser at hand is left to give hints")
    return names


def _on_purpose(target: Any, impersonate: bool) -> None:
    if target is not None and not impersonate:
        raise ProtectionError(f"a target makes recognisers take this face for another person: {_ON_PURPOSE}")


def protect(
    photo: str | Path | Image.Image | np.ndarray,
    reference: str | Path | Image.Image | None = None,
    *,
    target: Target | str | Path | Image.Image | Sequence[str | Path | Image.Image] | None = None,
    impersonate: bool = False,
    generator: str | Path | Protector | None = None,
    strength: float = 1.0,
    faces: Literal["all", "largest"] = "all",
) -> Protected:
    """Protect the faces of ``photo``, in the makeup of ``reference`` or (None) in their own.

    By default the any-target generator that comes with the package moves each face to nobody (see :func:`guide_to`,
    also for ``target``). ``generator`` names another: a file that notebook 03 wrote
    (``results/runs/<id>/train/<recipe>/generator.safetensors``) or a loaded :class:`Protector`. One that was trained
    for one person needs ``impersonate=True``; one that was trained on drawn faces warns: it is no protection from
    recognisers of real people. For many photos :func:`prepare` a protector once: each call loads what it needs anew.
    A face too small to be changed stays as it was: ``too_small`` of the result names it, and so does a warning.
    """
    photo = open_photo(photo)  # a photo that cannot be read is said before anything is loaded or fetched
    protector = prepare(generator, target, impersonate=impersonate)
    return protector.protect(photo, reference, strength=strength, faces=faces)


def protect_pairs(
    protector: Protector,
    pairs: pd.DataFrame,
    folder: Path,
    progress: Callable[[Iterable], Iterable] = iter,
    crop: Callable[[Any, int], FaceCrop] | None = None,
) -> pd.DataFrame:
    """Protect each row's photo with its reference and write PNGs under ``folder``; one report row a photo.

    pairs: columns probe (file name), source and reference (files); others are carried along. The report adds clean
    and protected (files in one framing) and the mean change; a photo that fails has its ``problem`` and no file. Where
    the recipe saves crops (a quirk), the clean crop is written beside it under ``clean/``, and that of a true makeup
    transfer (column truth) under ``truth/``, since a picture can only be compared in its own framing. ``crop`` finds a
    file's largest face: ``datasets.parsed_crops`` knows the parse maps that come with some photos.
    """
    crop = crop or face_finder.detect_one
    references = {file: crop(file, protector.size) for file in pairs["reference"].unique()}
    reports = []
    for row in progress(list(pairs.itertuples(index=False))):
        report = {**row._asdict(), "clean": str(row.source), "protected": "", "problem": "", "mean_change": np.nan}
        try:
            face = crop(row.source, protector.size)
            result = protector.protect(row.source, references[row.reference], found=[face])
        except PhotoError as error:
            report["problem"] = str(error)
        else:
            report["protected"] = str(result.save(folder / row.probe))
            report["mean_change"] = result.faces[0].mean_change
            if protector.recipe.crop_output:
                report["clean"] = str(images.save(folder / "clean" / row.probe, face.image))
                if truth := report.get("truth"):
                    report["truth"] = str(images.save(folder / "truth" / row.probe, face.resample(truth)))
        reports.append(report)
    return pd.DataFrame(reports)
