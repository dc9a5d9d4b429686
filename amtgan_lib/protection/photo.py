"""Whole photo in, whole photo out: every face changed by a method, everything else left as it was."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from amtgan_lib import formats, images, losses, metadata
from amtgan_lib.faces import Box, DoubtfulFace, FaceCrop, SmallFace, sorted_out
from amtgan_lib.images import Photo, in_levels, open_photo
from amtgan_lib.methods.method import Alteration, Method
from amtgan_lib.methods.targets import Target
from amtgan_lib.models.rendering import Look
from amtgan_lib.protection.consent import Aim, ProtectionError, aimed, check_method
from amtgan_lib.recognizers import Known

SHOWN = 640  # pixels: the longer side of the picture that a notebook shows, at most


class ProtectionWarning(UserWarning):
    """What a photo's owner should know before trusting a generator or a protected photo; one sentence."""


@dataclass(frozen=True)
class FaceReport:
    """What was done to one face: its box (x0, y0, x1, y1) in the photo, and how its crop has changed in the mean.

    mean_change: in 8-bit levels; visible: in S-CIELAB (see ``losses.colour_difference``), about 1 is just noticeable.
    """

    box: tuple[float, float, float, float]
    mean_change: float
    visible: float


@dataclass(frozen=True)
class Protected:
    """A protected photo: the picture (same size and mode as the photo) and one report a face.

    too_small: faces that were found and could not be changed; doubtful: what may be a face and could not be changed.
    Both are in the picture as they were.
    """

    image: Image.Image
    faces: tuple[FaceReport, ...]
    photo: Photo
    too_small: tuple[SmallFace, ...] = ()
    doubtful: tuple[DoubtfulFace, ...] = ()

    def __repr__(self) -> str:
        width, height = self.image.size
        changes = ", ".join(f"{face.visible:.1f}" for face in self.faces)
        left = f", {len(self.too_small)} too small to change" if self.too_small else ""
        left += f", {len(self.doubtful)} to be looked at" if self.doubtful else ""
        faces = f"{len(self.faces)} face{'' if len(self.faces) == 1 else 's'}"
        return f"<Protected {self.photo.name}: {width} x {height}, {faces}, visible change {changes} (S-CIELAB){left}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the picture, reduced if it is large, and the facts below it."""
        picture = Image.fromarray(open_photo(self.image).rgb)
        picture.thumbnail((SHOWN, SHOWN))
        address = images.data_url(images.encoded(picture), "png")
        return f'<img src="{address}" alt="protected photo"><br><small>{escape(repr(self))}</small>'

    def save(self, path: str | Path, keep_metadata: bool = True, keep_location: bool = False) -> Path:
        """Write the picture, moved into place when complete; EXIF is kept unless told otherwise, the place is not.

        The ICC profile is always kept: without it the same pixels would show other colours.
        JPEG is written at quality 95 without chroma subsampling, WebP without loss: coarser files wash the protection
        out. Raises PhotoError for a file that cannot hold the picture (see :mod:`amtgan_lib.formats`).
        """
        kind, picture = formats.format_of(path), formats.fitted(self.image, path)
        options: dict[str, Any] = dict(formats.OPTIONS.get(kind, {}))
        if keep_metadata:
            options |= metadata.options(kind, self.photo.exif, self.photo.comment, keep_location, self.photo.dpi)
        if self.photo.icc_profile and (picture.mode[0] == self.image.mode[0] or picture.mode == "L"):
            options["icc_profile"] = self.photo.icc_profile  # that of greys says nothing about RGB values
        return images.save(path, picture, **options)


@dataclass(frozen=True)
class Protector:
    """A method for whole photos; ``prepare`` makes the one that ``protect`` uses.

    Raises ProtectionError for a method that makes people pass as a real person, unless ``impersonate`` says that this
    is agreed. ``experiment``: a face may stay as it was, which a control of an experiment does; else that is an error.
    """

    method: Method
    impersonate: bool = False
    experiment: bool = False

    def __post_init__(self) -> None:
        check_method(self.method, self.impersonate)

    @property
    def known(self) -> Known | None:
        """The faces of other photos that recognisers may compare with."""
        return self.method.guide.known if self.method.guide else None

    def protect(
        self,
        photo: str | Path | Image.Image | np.ndarray | Photo,
        reference: str | Path | Image.Image | FaceCrop | None = None,
        *,
        strength: float = 1.0,
        faces: Literal["all", "largest"] = "all",
        found: list[FaceCrop] | None = None,
        add_faces: Sequence[Box] = (),
    ) -> Protected:
        """Protect a photo's faces: those ``found`` in it before (cropped as by the method), or all that are found now.

        Without a ``reference``, each face keeps its own makeup. Raises ProtectionError (or PhotoError) if no face
        is found, or one fails or stays unchanged. Faces too small to change and doubtful ones are listed in the
        result and, with "all", named in a ProtectionWarning each; with ``found``, no others are looked for.
        ``add_faces``: boxes (x0, y0, x1, y1) in photo pixels, in which to look for a face that no detector finds.
        """
        if faces not in ("all", "largest"):
            raise ProtectionError(f"faces is {faces!r}; expected 'all' or 'largest'")
        if not 0 <= strength <= 1:
            raise ProtectionError(f"strength is {strength}; expected a number from 0 (no change) to 1")
        photo = open_photo(photo)
        makeup = None if reference is None else self.method.reference(reference)
        crops, left = self.method.detect_all(photo, add_faces) if found is None else (found, [])
        if not crops:
            raise ProtectionError(f"{photo.name}: {none_found(left)}, so nothing was protected")
        chosen = crops if faces == "all" else crops[:1]
        altered = [self.altered(crop, makeup or crop, strength) for crop in chosen]
        if self.method.writes_crops:
            # The quirk: the largest face as a square crop, as the released code saves it.
            changed = altered[0].on(chosen[0])
            return Protected(images.to_pil(changed), (_report(chosen[0], changed),), photo)
        for face in left if faces == "all" else ():
            warnings.warn(f"{photo.name}: {face}", ProtectionWarning, stacklevel=2)
        result = pasted(photo, chosen, altered, left)
        for crop in chosen if strength and not self.experiment else ():
            if _same_within(crop.box, result.image, photo.original):
                raise unchanged(crop)
        return result

    def altered(self, crop: FaceCrop, reference: FaceCrop, strength: float, begin: Look | None = None) -> Alteration:
        """What the method does to a face (see ``Method.altered``); ProtectionError where that is nothing at all."""
        alteration = self.method.altered(crop, reference, strength, begin)
        if strength and not self.experiment and torch.equal(alteration.on(crop), crop.image):
            raise unchanged(crop)
        return alteration


def unchanged(crop: FaceCrop) -> ProtectionError:
    """The error for a face that a method left as it was, which must not pass for protected."""
    x0, y0, *_ = crop.box
    return ProtectionError(f"{crop.name}: the face at ({x0:.0f}, {y0:.0f}) did not change, so it is not protected")


def _same_within(box: tuple[float, float, float, float], one: Image.Image, other: Image.Image) -> bool:
    x0, y0, x1, y1 = (max(round(edge), 0) for edge in box)
    return np.array_equal(np.asarray(one)[y0:y1, x0:x1], np.asarray(other)[y0:y1, x0:x1])


def none_found(left: Sequence[SmallFace | DoubtfulFace]) -> str:
    """That no face was found, or none but doubtful ones, in words."""
    return "; ".join(["no face was found", *map(str, left)])


def pasted(
    photo: Photo,
    crops: Sequence[FaceCrop],
    altered: Sequence[Alteration],
    left: Sequence[SmallFace | DoubtfulFace] = (),
) -> Protected:
    """The photo with its faces altered, and what was done to each; ``left`` are those that stay as they are."""
    first, *others = (alteration.within(crop, photo) for crop, alteration in zip(crops, altered))
    reports = tuple(_report(crop, alteration.on(crop)) for crop, alteration in zip(crops, altered))
    picture = photo.with_change(sum(others, first))
    if picture.size != photo.size:
        raise ProtectionError(f"{photo.name} has {photo.size} pixels, its new picture {picture.size}: not protected")
    return Protected(picture, reports, photo, *sorted_out(left))


def _report(crop: FaceCrop, changed: Tensor) -> FaceReport:
    levels = float(in_levels((changed - crop.image).abs().mean()))
    return FaceReport(crop.box, levels, float(losses.colour_difference(changed[None], crop.image[None]).mean()))


def prepare(
    generator: str | Path | Protector | None = None,
    target: Target | str | Path | Image.Image | Sequence[str | Path | Image.Image] | None = None,
    *,
    impersonate: bool = False,
    passes: int | None = None,
    held_out: Sequence[str] = (),
    quick: bool = False,
    stronger: bool = False,
    known: str | Path | Image.Image | Sequence[str | Path | Image.Image] = (),
) -> Protector:
    """The protector that :func:`protect` uses, loaded once for many photos; the arguments are those of ``protect``.

    ``passes`` (None: 4) is the number of passes of an any-target generator over each face; ``held_out`` names
    recognisers that give no hints, so that they can judge the result; ``quick`` finds a look in fewer steps,
    ``stronger`` one that hides better and shows more. Raises FaceError if no known photo shows a face, and
    ProtectionError if a person would be impersonated without ``impersonate=True``, for an option that the generator
    cannot take, if it was trained against a held-out recogniser, or if none is left to give hints.
    """
    if isinstance(generator, Protector):
        if target is not None or passes is not None or held_out or quick or stronger or known:
            raise ProtectionError("a loaded protector already has its target, hints and all else: omit these arguments")
        check_method(generator.method, impersonate)
        protector = generator
    else:
        aim = Aim(target, impersonate, passes, held_out, quick, stronger, known)
        protector = Protector(aimed(None if generator is None else Path(generator), aim), impersonate)
    for name in protector.known.faceless if protector.known else ():
        warnings.warn(f"{name}: no face was found, so nobody is known by it", ProtectionWarning, stacklevel=3)
    if protector.method.world:
        warnings.warn(
            "this generator was trained on drawn faces: it does not protect from recognisers of real people",
            ProtectionWarning,
            stacklevel=3,  # whoever called `protect`
        )
    return protector


def protect(
    photo: str | Path | Image.Image | np.ndarray,
    reference: str | Path | Image.Image | None = None,
    *,
    known: str | Path | Image.Image | Sequence[str | Path | Image.Image] = (),
    target: Target | str | Path | Image.Image | Sequence[str | Path | Image.Image] | None = None,
    impersonate: bool = False,
    generator: str | Path | Protector | None = None,
    strength: float = 1.0,
    faces: Literal["all", "largest"] = "all",
    add_faces: Sequence[Box] = (),
) -> Protected:
    """Protect the faces of ``photo``, in the makeup of ``reference`` or (None) in their own.

    By default, each face gets the wearable look that moves it furthest from its owner (see
    :mod:`amtgan_lib.methods.natural`, and :func:`guide_to` for ``target``). ``generator`` selects another method: a
    file that notebook 03 wrote (``results/runs/<id>/train/<recipe>/generator.safetensors``), the published ``G.pth``,
    which gives square crops, or a loaded :class:`Protector`. One that was trained for one person needs
    ``impersonate=True``; one that was trained on drawn faces gives a warning, because it does not protect from
    recognisers of real people. For many photos, :func:`prepare` a protector once: each call loads everything again.

    A face too small to change is left as it was, listed in ``too_small`` of the result and named in a warning. The
    same goes for ``doubtful``: what a second detector takes for a face, or you marked, but no landmarks fit.

    Args:
        photo: a file, a PIL image or an array (H,W,3) uint8.
        reference: a photo whose makeup is applied to every face.
        known: one or more other photos of the people in it that are public, or may be: recognisers will compare with
            these, so that a look which moves away from them hides better.
        target: one or more photos of the person to be taken for; needs ``impersonate=True``.
        impersonate: whether that person has agreed.
        generator: a generator file, or a loaded protector.
        strength: how much of the change, from 0 to 1.
        faces: "all", or "largest" for only that one.
        add_faces: boxes (x0, y0, x1, y1) in photo pixels, around faces that no detector finds.

    Returns:
        The protected photo: ``image`` has the photo's size and mode, ``faces`` one report a face; ``save`` writes it.

    Raises:
        PhotoError: the photo, the reference, a known photo or a target cannot be read, or shows no face.
        ProtectionError: no face was found, a person would be impersonated without consent, or arguments contradict
            each other. It is a PhotoError, too; nothing is written.

    Example:
        >>> result = protect("me.jpg")
        >>> result
        <Protected me.jpg: 1024 x 768, 1 face, visible change 2.6 (S-CIELAB)>
        >>> result.save("me_protected.png")
    """
    opened = open_photo(photo)  # an unreadable photo is refused before anything is loaded or fetched
    protector = prepare(generator, target, impersonate=impersonate, known=known)
    return protector.protect(opened, reference, strength=strength, faces=faces, add_faces=add_faces)
