"""What ``protect`` itself reaches on people of the test: looks by the hints of some recognisers, judged by others.

.venv/bin/python -m benchmarks.looks natural-own --store

Judged as they are, and as a site may publish them again. Needs the photographs that notebook 1 prepares (``--preset
natural``), and dlib. Rows go to results/measured.
"""

import argparse
import itertools
from dataclasses import replace
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from amtgan_lib import datasets, evaluation, experiments, methods, paths, protection, recognizers
from amtgan_lib.faces import FaceCrop
from amtgan_lib.methods import natural
from amtgan_lib.models.rendering import Look, Worn
from amtgan_lib.reporting import results

EDGE_FACES = ("edgeface_xs", "edgeface_xxs")
# Stored table: whose hints, and who judges: none of those that hinted, nor their teachers.
SETS = {
    "natural": (("distilled", *recognizers.OPEN[:2]), (*EDGE_FACES, "dlib")),
    "natural-own": (recognizers.OWN, ("dlib",)),
    "natural-all": (recognizers.OPEN, ("dlib",)),
}
# The same where the photo that recognisers compare with, the owner's other one, is known; and as --stronger searches.
KNOWN, STRONGER = "-known", "-stronger"
SETS |= {name + how: both for name, both in SETS.items() for how in (KNOWN, STRONGER)}
AGAIN = ("jpeg75", "half")


def looks(hinting: tuple[str, ...]) -> dict[str, methods.Method]:
    """The methods to compare: as ``protect`` searches, in a hurry, and for longer and farther; every face bare."""
    guide = protection.guide_to(names=hinting)
    searches = {"natural": natural.Search(), "natural_quick": natural.QUICK, "natural_stronger": natural.STRONGER}
    return {name: methods.bare(natural.method(guide, search)) for name, search in searches.items()}


def told(method: methods.Method, pairs: pd.DataFrame) -> methods.Method:
    """The same method, which is told of each photo the other one of its owner."""
    others = {Path(row.source).name: row.other for row in pairs.itertuples()}

    def wear(crop: FaceCrop, reference: FaceCrop, begin: Look | None = None) -> Worn:
        known = recognizers.Known.on([datasets.file_of(others[crop.name])])
        return method.knowing(known).wear(crop, crop, begin)

    return replace(method, wear=wear)


def measured(name: str, photos: int, quick: bool) -> pd.DataFrame:
    """Result rows of a set on so many test people (0: all)."""
    hinting, judging = SETS[name]
    face_set = datasets.load(paths.PREPARED / "open.npz", "open and own")
    person = datasets.default_target(face_set)
    pairs = datasets.with_files(datasets.test_pairs(face_set.manifest, photos, person, "all"))
    found = looks(hinting)
    chosen = {method: found[method] for method in ("natural", "natural_quick")[: 1 + quick]}
    if name.endswith(KNOWN):
        chosen = {"natural_known": told(found["natural"], pairs)}
    if name.endswith(STRONGER):
        chosen = {"natural_stronger": found["natural_stronger"]}
    folder = paths.RUNS / "looks" / name
    reports, seconds = experiments.protect_each(chosen, pairs, folder, tqdm, datasets.parsed_crops(face_set.manifest))
    print({method: f"{each:.1f} seconds a photo" for method, each in seconds.items()})
    for method, report in reports.items():
        if problems := sorted(filter(None, report.problem)):
            print(f"{method}: {len(problems)} of {len(report)} photos are as they were; the first: {problems[0]}")
    judges = [recognizers.load(each) for each in judging]
    thresholds = {judge.name: judge.thresholds[recognizers.USUAL] for judge in judges}
    facts = {"preset": "natural", "target": person, "seed": 0, "dataset": "celeba_hq test"}
    judge = evaluation.Judgement(face_set, person, pairs.person, thresholds, recognizers.USUAL, held_out=judging)
    probes = evaluation.probes_by_method(reports, face_set.size, tqdm)
    for method, how in itertools.product(reports, AGAIN):
        files = [row.protected or row.source for row in reports[method].itertuples()]
        again = evaluation.republished(files, folder / f"{method} {how}", how)
        probes[f"{method} {how}"] = evaluation.read_probes(again, face_set.size, probes["clean"], tqdm)
    success, _ = judge.table(probes, judges, experiment="black_box_success", **facts)
    crops = datasets.parsed_crops(face_set.manifest)
    pictures = evaluation.picture_table(reports, tqdm, crops, experiment="image_quality", **facts)
    return results.joined(success, pictures)


def main() -> None:
    """Measure a set and print its summary; with --store into results/measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SETS)
    parser.add_argument("--photos", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="also the search of --quick")
    parser.add_argument("--store", action="store_true")
    options = parser.parse_args()
    table = measured(options.name, options.photos, options.quick)
    print(results.summary(table, SETS[options.name][1]))
    if options.store:
        print(results.write(table, paths.MEASURED / f"{options.name}.csv"))


if __name__ == "__main__":
    main()
