"""What ``protect`` itself reaches on people of the test: looks by the hints of some recognisers, judged by others.

.venv/bin/python -m benchmarks.looks natural-own --into build

Judged as they are, and as a site may publish them again. Needs the photographs that notebook 1 prepares (``--preset
natural``), and dlib. ``benchmarks.measured`` measures all sets that are stored.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from amtgan_lib import datasets, evaluation, experiments, methods, paths, protection, recognizers
from amtgan_lib.faces import FaceCrop
from amtgan_lib.methods import natural, targets
from amtgan_lib.models.rendering import Look, Worn
from amtgan_lib.reporting import results

EDGE_FACES = ("edgeface_xs", "edgeface_xxs")
# Stored table: whose hints, and who judges: none of those that hinted, nor their teachers.
SETS = {
    "natural": (("distilled", *recognizers.OPEN[:2]), (*EDGE_FACES, "dlib")),
    "natural-own": (recognizers.OWN, ("dlib",)),
    "natural-all": (recognizers.OPEN, ("dlib",)),
}


@dataclass(frozen=True)
class Way:
    """How a look is found: known: the photo that recognisers compare with, the owner's other one, is known; makeup: in
    that of a reference; person: towards the target of the table, and not towards nobody.
    """

    search: natural.Search
    known: bool = False
    makeup: bool = False
    person: bool = False


SEARCHES = {"": natural.Search(), "-quick": natural.QUICK, "-stronger": natural.STRONGER}
WAYS = {search + known: Way(found, bool(known)) for search, found in SEARCHES.items() for known in ("", "-known")}
WAYS |= {"-makeup": Way(SEARCHES[""], makeup=True), "-person": Way(SEARCHES[""], person=True)}
NAMES = {name + way: (name, way) for name in SETS for way in WAYS}
AGAIN = ("jpeg75", "half")


def looks(hinting: tuple[str, ...], way: Way, pairs: pd.DataFrame, face_set: datasets.FaceSet) -> methods.Method:
    """The look of ``protect`` by these hints, found in this way."""
    guide = protection.guide_to(names=hinting)
    if way.person:
        name = datasets.default_target(face_set)
        face = datasets.training_parts(face_set, name)[0]
        guide = replace(guide, target=targets.of_faces(face.image, face.points, guide.recognizers, name))
    method = natural.method(guide, way.search)
    method = method if way.makeup else methods.bare(method)
    return told(method, pairs) if way.known else method


def told(method: methods.Method, pairs: pd.DataFrame) -> methods.Method:
    """The same method, which is told of each photo the other one of its owner."""
    others = {Path(row.source).name: row.other for row in pairs.itertuples()}

    def wear(crop: FaceCrop, reference: FaceCrop, begin: Look | None = None) -> Worn:
        known = recognizers.Known.on([datasets.file_of(others[crop.name])])
        return method.knowing(known).wear(crop, crop, begin)

    return replace(method, wear=wear)


def judgement(
    face_set: datasets.FaceSet, person: str, pairs: pd.DataFrame, judging: Sequence[str]
) -> tuple[evaluation.Judgement, list[recognizers.Recognizer]]:
    """Who judges the people of these pairs at the usual rate: all of them held out."""
    judges = [recognizers.load(each) for each in judging]
    thresholds = {judge.name: judge.thresholds[recognizers.USUAL] for judge in judges}
    return evaluation.Judgement(
        face_set, person, pairs["person"], thresholds, recognizers.USUAL, held_out=judging
    ), judges


def measured(name: str, photos: int) -> pd.DataFrame:
    """Result rows of one of NAMES on so many test people (0: all)."""
    group, way = NAMES[name]
    hinting, judging = SETS[group]
    face_set = datasets.load(paths.PREPARED / "open.npz", "open and own")
    person = datasets.default_target(face_set)
    pairs = datasets.with_files(datasets.test_pairs(face_set.manifest, photos, person, "all"))
    chosen = {f"natural{way}".replace("-", "_"): looks(hinting, WAYS[way], pairs, face_set)}
    folder = paths.RUNS / "looks" / name
    reports, seconds = experiments.protect_each(chosen, pairs, folder, tqdm, datasets.parsed_crops(face_set.manifest))
    print({method: f"{each:.1f} seconds a photo" for method, each in seconds.items()})
    for method, report in reports.items():
        if problems := sorted(filter(None, report.problem)):
            print(f"{method}: {len(problems)} of {len(report)} photos are as they were; the first: {problems[0]}")
    facts = {"preset": "natural", "target": person, "seed": 0, "dataset": "celeba_hq test"}
    judge, judges = judgement(face_set, person, pairs, judging)
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
    """Measure a set and print its summary; with --into as a table in that folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--photos", type=int, default=0)
    parser.add_argument("--into", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    table = measured(options.name, options.photos)
    print(results.summary(table, SETS[NAMES[options.name][0]][1]))
    if options.into:
        print(results.write(table, options.into / f"{options.name}.csv"))


if __name__ == "__main__":
    main()
