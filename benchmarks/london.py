"""The look of ``protect`` on the London set: two photos of one day, and whether it serves some people worse.

.venv/bin/python -m benchmarks.london --into build

Their neutral photos are protected, their smiling ones compared with, among the CelebA-HQ people; groups by the labels
of the set's makers. No weights learnt from these people, but bounds of the looks were chosen on the training split,
which they belong to. Needs what notebook 1 prepares (``--preset natural``), and dlib.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from amtgan_lib import datasets, evaluation, experiments, paths, recognizers
from amtgan_lib.reporting import results
from benchmarks import looks

LABELS = paths.ROOT / "data" / "london_people.csv"


def among_the_others(face_set: datasets.FaceSet) -> datasets.FaceSet:
    """The same faces, with the London people counted among those that are protected."""
    manifest, people = face_set.manifest, datasets.world_of(face_set.manifest).people
    theirs = (manifest["set"] == "london") & manifest["part"].isin(["source", "other"])
    return replace(face_set, manifest=manifest.assign(set=manifest["set"].where(~theirs, people)))


def mistaken(
    face_set: datasets.FaceSet, judges: Sequence[recognizers.Recognizer], labels: pd.DataFrame, **facts: Any
) -> pd.DataFrame:
    """Rows of how often a judge takes two clean people of a group for one: then it hardly lets go of a changed face.

    Of the pairs that one's neutral and another's smiling photo make; without an interval, since pairs share people.
    """
    rows, facts = [], facts | {"commit": results.commit(), "device": results.device_name()}
    sides = [face_set.where(part=part) for part in ("source", "other")]
    for judge, (label, of) in itertools.product(judges, labels.items()):
        own = {"metric": "false accepts", "method": "clean", "recogniser": judge.name, "far": recognizers.USUAL}
        for name in sorted(set(of) - {""}):
            ours = [side.rows(np.flatnonzero(side.manifest["person"].isin(of.index[of == name]))) for side in sides]
            one, other = (evaluation.vectors(side, judge) for side in ours)
            people = [side.manifest["person"].to_numpy() for side in ours]
            strangers = (one @ other.T)[people[0][:, None] != people[1]]
            share = {"value": (strangers > judge.thresholds[recognizers.USUAL]).mean(), "n": len(strangers)}
            own |= {"dataset": f"london, {label}: {name}", "weights_sha256": judge.weights_sha256}
            rows.append(results.Row(**own, **share, **facts))
    return results.frame(rows)


def pairs_of(face_set: datasets.FaceSet, person: str, photos: int) -> pd.DataFrame:
    """Whom to protect: so many London people (0: all) but the target."""
    pairs = datasets.test_pairs(face_set.manifest, split="train")
    pairs = pairs[pairs["person"].str.startswith("london/") & (pairs["person"] != person)]
    return datasets.with_files(pairs.head(photos or len(pairs)))


def measured(photos: int) -> dict[str, pd.DataFrame]:
    """Result rows of so many people (0: all), and the same by group: name -> table."""
    hinting, judging = looks.SETS["natural"]
    faces_at_hand = datasets.load(paths.PREPARED / "open.npz", "open and own")
    face_set, person = among_the_others(faces_at_hand), datasets.default_target(faces_at_hand)
    pairs, crops = pairs_of(face_set, person, photos), datasets.parsed_crops(face_set.manifest)
    ways = {f"natural{way}".replace("-", "_"): looks.WAYS[way] for way in ("", "-known")}
    chosen = {name: looks.looks(hinting, way, pairs, face_set) for name, way in ways.items()}
    reports, _ = experiments.protect_each(chosen, pairs, paths.RUNS / "looks" / "london", tqdm, crops)
    judge, judges = looks.judgement(face_set, person, pairs, judging)
    facts = {"preset": "natural", "target": person, "seed": 0}
    own = facts | {"dataset": "london"}
    probes = evaluation.probes_by_method(reports, face_set.size, tqdm)
    success, scores = judge.table(probes, judges, experiment="black_box_success", **own)
    pictures = evaluation.picture_table(reports, tqdm, crops, experiment="image_quality", **own)
    facts["experiment"] = own["experiment"] = "groups"
    changes = {method: report["mean_change"] for method, report in reports.items()}
    labelled = evaluation.labels(list(pairs["person"]), LABELS)
    groups = evaluation.group_table(scores, judges, judge.thresholds, changes, labelled, judge.far, **own)
    groups = results.joined(groups, mistaken(face_set, judges, labelled, **facts))
    return {"natural-london": results.joined(success, pictures), "groups-london": groups}


def main() -> None:
    """Measure and print; with --into as tables in that folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=0)
    parser.add_argument("--into", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    tables = measured(options.photos)
    print(results.summary(tables["natural-london"], looks.SETS["natural"][1]))
    for name, table in tables.items() if options.into else ():
        print(results.write(table, options.into / f"{name}.csv"))


if __name__ == "__main__":
    main()
