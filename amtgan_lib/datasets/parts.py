"""The parts of an experiment: target, sources, references, test pairs."""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd
import torch

from amtgan_lib import faces, portraits
from amtgan_lib.datasets import drawn
from amtgan_lib.datasets.face_set import FaceBatch, FaceSet, files
from amtgan_lib.datasets.manifest import world_of


def default_target(faces_at_hand: FaceSet) -> str:
    """The target with the smallest checksum among those with both photos: drawn, or of the consenting London people."""
    world = world_of(faces_at_hand.manifest)
    candidates = faces_at_hand.manifest[faces_at_hand.manifest["set"] == world.targets]
    both = [person for person, rows in candidates.groupby("person") if set(rows["part"]) == {"source", "other"}]
    if not both:
        raise faces.FaceError(f"nobody of the set {world.targets!r} has both photos here, so there is no target")
    return min(both, key=lambda person: zlib.crc32(person.encode()))


def training_parts(faces_at_hand: FaceSet, target: str) -> tuple[FaceBatch, FaceSet, FaceSet]:
    """The target's photo for the loss, the sources and the makeup references of training.

    Sources are all photos of training people but the target; test people and the target's other photo, which the
    metric uses, are left out.
    """
    manifest = faces_at_hand.manifest
    chosen = (manifest["split"] == "train") & (manifest["person"] != target)
    chosen &= manifest["part"].isin(["source", "other", "plain"])
    references = faces_at_hand.where(part="reference", split="train")
    loss_photo = faces_at_hand.where(person=target, part=_loss_part(target))
    if not len(loss_photo) or not len(references):
        raise faces.FaceError(f"training needs a photo of {target} and makeup references; have {len(references)}")
    return loss_photo.batch([0]), faces_at_hand.rows(np.flatnonzero(chosen)), references


def any_target_parts(faces_at_hand: FaceSet) -> tuple[FaceBatch, FaceSet, FaceSet]:
    """Pool of targets, sources and makeup references of a generator for any target.

    Nobody of the world's set of targets takes part, so each of them is an unseen target later. The pool has one photo
    of every source person.
    """
    world = world_of(faces_at_hand.manifest)
    _, sources, references = training_parts(faces_at_hand, default_target(faces_at_hand))
    sources = sources.rows(np.flatnonzero(sources.manifest["set"] != world.targets))
    if not len(sources):
        raise faces.FaceError(f"training for any target needs people who are not of the set {world.targets!r}")
    first = sources.manifest.drop_duplicates("person").index.to_numpy()
    return sources.rows(first).batch(), sources, references


def alike(sources: FaceSet, references: FaceSet, choices: int) -> np.ndarray:
    """For each of N sources the ``choices`` references whose skin looks most like its own: positions (N, choices).

    For training, as ``drawn.matched`` is for the test, but of any faces: skin is compared by its mean colour in the
    picture, whatever the light.
    """
    own, other = (_skin(face_set)[:, None] for face_set in (sources, references))
    distances = np.linalg.norm(own - other.swapaxes(0, 1), axis=-1)
    return distances.argsort(axis=1, kind="stable")[:, :choices]


def _skin(face_set: FaceSet) -> np.ndarray:
    """Mean colours (K, 3), in levels, of the skin of K faces."""
    skin = face_set.masks[:, 1, ..., None]
    return (face_set.images * skin).sum(axis=(1, 2)) / np.maximum(skin.sum(axis=(1, 2)), 1)


def target_photo(faces_at_hand: FaceSet, target: str) -> FaceSet:
    """The target's photo for the metric: another one than the loss saw."""
    part = "other" if _loss_part(target) == "source" else "target_metric"
    return faces_at_hand.where(person=target, part=part)


def _loss_part(target: str) -> str:
    return "target" if target.startswith("celeba_hq_target/") else "source"


# Which photos go with which of the paper's targets was never published (AMT-GAN#16): the two readings in use.
PAIRINGS = ("all", "groups")


def test_pairs(
    manifest: pd.DataFrame, limit: int = 0, target: str = "", pairing: str = "all", split: str = "test"
) -> pd.DataFrame:
    """What is protected and judged: each test person's source photo with a test makeup reference.

    Drawn people get references of a similar complexion (``drawn.matched``), photographs theirs in turn.

    Columns: probe (file name), person, source, other, reference (assets). ``limit`` keeps the first so many people.
    ``pairing`` says who goes with the ``target``: "all" people, or with "groups" one share of them, as many shares as
    the set of the target has people with both photos; ValueError for another word, or a target without a share.
    ``split`` "train" gives the same of the training people, from whom an adversary may learn.
    """
    photos = manifest[(manifest["set"] == world_of(manifest).people) & (manifest["split"] == split)]
    wide = photos.pivot(index="person", columns="part", values="asset").dropna()
    references = manifest[(manifest["part"] == "reference") & (manifest["split"] == split)]["asset"].tolist()
    if not references or not len(wide):
        raise faces.FaceError(f"the test needs people and references; have {len(wide)} and {len(references)}")
    wide = wide.reset_index().rename_axis(columns=None).head(limit or len(wide))
    if drawn.is_drawn(references[0]):
        wide["reference"] = drawn.matched(wide["source"].tolist(), references)
    else:
        wide["reference"] = [references[position % len(references)] for position in range(len(wide))]
    wide["probe"] = [person.replace("/", "-") + ".png" for person in wide["person"]]
    kept = wide if pairing == "all" else _share_of(wide, manifest, target, pairing)
    return kept[["probe", "person", "source", "other", "reference"]].reset_index(drop=True)


def _share_of(pairs: pd.DataFrame, manifest: pd.DataFrame, target: str, pairing: str) -> pd.DataFrame:
    """Of as many shares of the pairs as there are targets, that of this one."""
    people = manifest[manifest["set"] == target.rpartition("/")[0]].groupby("person")["part"].nunique()
    targets = people[people == 2].index.sort_values().tolist()
    if pairing not in PAIRINGS or target not in targets:
        raise ValueError(
            f"pairing is {pairing!r} and the target {target!r}; expected one of {', '.join(PAIRINGS)}, and for groups "
            f"a target of {', '.join(targets) or 'a set of targets'}"
        )
    index = targets.index(target)
    return pairs.iloc[index * len(pairs) // len(targets) : (index + 1) * len(pairs) // len(targets)]


def with_files(pairs: pd.DataFrame) -> pd.DataFrame:
    """Test pairs with the files of their assets in the columns source, reference and truth.

    truth is the source photo with its person in the reference's makeup: drawn faces have it, photographs do not ("").
    """
    sides = zip(pairs["source"], pairs["reference"])
    table = pairs.assign(truth=[drawn.truth(*pair) if drawn.is_drawn(pair[0]) else "" for pair in sides])
    columns = ("source", "reference", "truth")
    paths = {asset: str(file) for asset, file in files(asset for column in columns for asset in table[column]).items()}
    return table.assign(**{column: [paths.get(asset, "") for asset in table[column]] for column in columns})


def drawn_pair(size: int) -> FaceBatch:
    """Two drawn people in makeup, a source and a reference of ``size`` px: to measure on, no detector is asked."""
    drawing = portraits.draw(portraits.people([0, 1]), portraits.makeups([0, 1]), portraits.scenes([0, 1]), size)
    regions = zip(drawing.parse.numpy(), drawing.landmarks, strict=True)
    masks = torch.stack([faces.region_masks(parse, landmarks) for parse, landmarks in regions])
    return FaceBatch(drawing.image, masks, drawing.landmarks.round(), drawing.points)


def found_table(manifest: pd.DataFrame, face_set: FaceSet) -> pd.DataFrame:
    """Photos and faces found, per set."""
    photos, prepared = (table.groupby("set").size() for table in (manifest, face_set.manifest))
    return pd.DataFrame({"photos": photos, "found": prepared}).fillna(0).astype(int)


def examples(face_set: FaceSet, count: int) -> list[list[str]]:
    """Assets to look at: ``count`` photos of every set, spread over it."""
    groups = [rows["asset"].tolist() for _, rows in face_set.manifest.groupby("set")]
    return [[assets_of[i * len(assets_of) // count] for i in range(count)] for assets_of in groups]
