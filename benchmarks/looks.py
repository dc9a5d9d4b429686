"""What ``protect`` itself reaches on people of the test: looks by the hints of some recognisers, judged by others.

.venv/bin/python -m benchmarks.looks natural-own --store

Judged as they are, and as a site may publish them again. Needs the photographs that notebook 1 prepares (``--preset
natural``), and dlib. Rows go to results/measured.
"""

import argparse
import itertools

import pandas as pd
from tqdm.auto import tqdm

from amtgan_lib import datasets, evaluation, experiments, methods, paths, protection, recognizers
from amtgan_lib.methods import natural
from amtgan_lib.reporting import results

EDGE_FACES = ("edgeface_xs", "edgeface_xxs")
# Stored table: whose hints, and who judges: none of those that hinted, nor their teachers.
SETS = {
    "natural": (("distilled", *recognizers.OPEN[:2]), (*EDGE_FACES, "dlib")),
    "natural-own": (recognizers.OWN, ("dlib",)),
    "natural-all": (recognizers.OPEN, ("dlib",)),
}
AGAIN = ("jpeg75", "half")


def looks(hinting: tuple[str, ...]) -> dict[str, methods.Method]:
    """The methods to compare: as ``protect`` searches, and in a hurry; every face bare."""
    guide = protection.guide_to(names=hinting)
    searches = {"natural": natural.Search(), "natural_quick": natural.QUICK}
    return {name: methods.bare(natural.method(guide, search)) for name, search in searches.items()}


def measured(name: str, photos: int, quick: bool) -> pd.DataFrame:
    """Result rows of a set on so many test people (0: all)."""
    hinting, judging = SETS[name]
    face_set = datasets.load(paths.PREPARED / "open.npz", "open and own")
    person = datasets.default_target(face_set)
    pairs = datasets.with_files(datasets.test_pairs(face_set.manifest, photos, person, "all"))
    chosen = {method: look for method, look in looks(hinting).items() if quick or method == "natural"}
    folder = paths.RUNS / "looks" / name
    reports, seconds = experiments.protect_each(chosen, pairs, folder, tqdm, datasets.parsed_crops(face_set.manifest))
    print({method: f"{each:.1f} seconds a photo" for method, each in seconds.items()})
    judges = [recognizers.load(each) for each in judging]
    thresholds = {judge.name: judge.thresholds[0.01] for judge in judges}
    facts = {"preset": "natural", "target": person, "seed": 0, "dataset": "celeba_hq test"}
    judge = evaluation.Judgement(face_set, person, pairs.person, thresholds, 0.01, held_out=judging)
    probes = evaluation.probes_by_method(reports, tqdm, face_set.size)
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
