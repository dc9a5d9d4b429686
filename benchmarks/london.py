"""The look of ``protect`` on the London set: two photos of one day, and whether it serves some people worse than others.

.venv/bin/python -m benchmarks.london --into build

Their neutral photos are protected, their smiling ones compared with, among the CelebA-HQ people; groups by the labels
of the set's makers. No weights learnt from these people, but bounds of the looks were chosen on the training split,
which they belong to. Needs what notebook 1 prepares (``--preset natural``), and dlib.
"""

import argparse
from dataclasses import replace
from pathlib import Path

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


def measured(photos: int) -> dict[str, pd.DataFrame]:
    """Result rows of so many people (0: all), and the same by group: name -> table."""
    hinting, judging = looks.SETS["natural"]
    faces_at_hand = datasets.load(paths.PREPARED / "open.npz", "open and own")
    face_set, person = among_the_others(faces_at_hand), datasets.default_target(faces_at_hand)
    pairs = datasets.test_pairs(face_set.manifest, split="train")
    pairs = pairs[pairs["person"].str.startswith("london/") & (pairs["person"] != person)]
    pairs = datasets.with_files(pairs.head(photos or len(pairs)))
    chosen = {"natural": looks.looks(hinting, looks.WAYS[""], pairs, face_set)}
    crops = datasets.parsed_crops(face_set.manifest)
    reports, _ = experiments.protect_each(chosen, pairs, paths.RUNS / "looks" / "london", tqdm, crops)
    judges = [recognizers.load(each) for each in judging]
    thresholds = {judge.name: judge.thresholds[recognizers.USUAL] for judge in judges}
    facts = {"preset": "natural", "target": person, "seed": 0, "dataset": "london"}
    judge = evaluation.Judgement(face_set, person, pairs.person, thresholds, recognizers.USUAL, held_out=judging)
    probes = evaluation.probes_by_method(reports, face_set.size, tqdm)
    success, scores = judge.table(probes, judges, experiment="black_box_success", **facts)
    pictures = evaluation.picture_table(reports, tqdm, crops, experiment="image_quality", **facts)
    changes = {method: report["mean_change"] for method, report in reports.items()}
    labelled = evaluation.labels(list(pairs.person), LABELS)
    facts["experiment"] = "groups"
    groups = evaluation.group_table(scores, judges, thresholds, changes, labelled, recognizers.USUAL, **facts)
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
