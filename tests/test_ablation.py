"""The ablation: what is trained and judged, what is kept of a run that was interrupted, and what is refused."""

from dataclasses import replace

import fakes
import pandas as pd
import pytest
from PIL import Image

from amtgan_lib import datasets, faces, recognizers, training
from amtgan_lib.evaluation import Judgement
from amtgan_lib.experiments import Ablation, ablation
from amtgan_lib.images import open_photo
from amtgan_lib.reporting import results
from amtgan_lib.training import Run

OUTSIDER, JUDGE = recognizers.DRAWN[0], recognizers.DRAWN[3]
COLOURS = {"drawn/red": (1, 0, 0), "drawn/green": (0, 1, 0), "london/blue": (0, 0, 1)}
GIVEN = {"steps": 2, "start": "", "split": "family"}


def face(file, size: int) -> faces.FaceCrop:
    """Every photo is one face."""
    photo = open_photo(file)
    return fakes.photo_crop(photo, scale=photo.size[0] / size, size=size)


@pytest.fixture
def trained(monkeypatch) -> list[tuple[str, int]]:
    """Recipe and seed of every training, which is a tiny one."""
    begun = []

    def assembled(given) -> Run:
        begun.append((given["recipe"], given["seed"]))
        own = {"recipe": given["recipe"], "seed": given["seed"], "steps": given["steps"]}
        subject = fakes.trainer(recognizers=(OUTSIDER,), **own)
        return Run(subject, fakes.SOURCES, fakes.REFERENCES, {"target": "london/blue", "world": "drawn"})

    monkeypatch.setattr(training, "assembled", assembled)
    return begun


@pytest.fixture
def trial(monkeypatch, tmp_path, trained) -> Ablation:
    """Photos of two people, and a judge who knows faces by the colour of their noses."""
    monkeypatch.setattr(faces, "detect", lambda file, size, **_: [face(file, size)])
    monkeypatch.setattr(datasets, "parsed_crops", lambda _: face)
    people = ["drawn/red", "drawn/green"]
    sources = [tmp_path / f"{person[6:]}.png" for person in people]
    for file, picture in zip(sources, fakes.plain([COLOURS[person] for person in people], 128)):
        Image.fromarray(picture).save(file)
    pairs = pd.DataFrame({"probe": ["0.png", "1.png"], "source": list(map(str, sources)), "reference": str(sources[0])})
    judge = Judgement(fakes.plain_set(COLOURS), "london/blue", people, {JUDGE: 0.9}, 0.01, [JUDGE])
    facts = {"preset": "ablation", "dataset": "drawn test", "target": "london/blue", "experiment": "07_ablation"}
    return Ablation(tmp_path, GIVEN, pairs, judge, [fakes.NoseRecognizer(JUDGE)], facts)


def test_variants_are_trained_once_a_seed_and_share_what_only_writing_tells_apart(trial, trained):
    variants = ["corrected + stretch_output", "corrected", "corrected - H"]
    assert len(trial.trainings(variants, [0, 1])) == 4
    rows = trial.rows(variants, [0, 1])
    assert trained == [("corrected", 0), ("corrected - H", 0), ("corrected", 1), ("corrected - H", 1)]
    assert trial.trainings(variants, [0, 1]) == []
    assert set(rows["method"]) == {"clean", *variants} and set(rows["seed"]) == {0, 1}
    flip = rows[(rows["metric"] == "flip") & (rows["seed"] == 0)].set_index("method")["value"]
    assert len(set(flip[variants])) == 3
    with Image.open(trial.folder("corrected", 0) / "0.png") as whole:
        assert whole.size == (128, 128)


def test_finished_variants_are_kept_and_only_what_is_missing_is_done(trial, trained):
    file = trial.folder("corrected", 0) / "rows.csv"
    first = trial.rows(["corrected"], [0]).assign(commit="of an earlier day")
    results.write(first, file)
    trained.clear()
    both = trial.rows(["corrected", "corrected - gan"], [0])
    assert trained == [("corrected - gan", 0)]
    assert (both["commit"] == "of an earlier day").tolist() == both["method"].isin(["clean", "corrected"]).tolist()
    assert not both.duplicated(["method", "metric", "recogniser", "seed"]).any()


def test_a_generator_that_is_there_is_not_trained_again(trial, trained):
    trial.rows(["corrected"], [0])
    (trial.folder("corrected", 0) / "rows.csv").unlink()
    trained.clear()
    assert len(trial.rows(["corrected"], [0])) and trained == []


def test_other_settings_in_the_same_folder_are_refused(trial, tmp_path):
    trial.rows(["corrected"], [0])
    with pytest.raises(ValueError, match=r"other settings: steps 2 there, 3 here; begin another run"):
        replace(trial, given={**GIVEN, "steps": 3}).rows(["corrected"], [0])
    start = tmp_path / "networks.safetensors"
    start.write_bytes(b"other networks")
    with pytest.raises(ValueError, match="start '' there"):
        replace(trial, given={**GIVEN, "start": str(start)}).rows(["corrected"], [0])


def test_an_unknown_variant_is_refused_before_anything_is_trained(trial, trained):
    with pytest.raises(ValueError, match=r"no variant 'corrected - h'; there are corrected, corrected - H"):
        trial.rows(["corrected", "corrected - h"], [0])
    assert trained == [] and not (trial.run / ablation.NAME).exists()


def test_a_judge_that_took_part_in_training_is_refused(trial):
    insider = replace(trial, judge=replace(trial.judge, held_out=[OUTSIDER]))
    with pytest.raises(ValueError, match=OUTSIDER):
        insider.rows(["corrected"], [0])
    assert not (trial.folder("corrected", 0) / "rows.csv").exists()


def test_the_rows_say_the_photos_the_seed_and_who_judged(trial):
    rows = results.read(results.write(trial.rows(["published"], [7]), trial.run / "07.csv"))
    assert set(rows["seed"]) == {7} and set(rows["n"]) == {2} and set(rows["recogniser"]) == {JUDGE, ""}
    assert {"impersonation", "dodging", "flip", "lip after"} <= set(rows["metric"])
    assert set(rows["note"]) == {"seed=7; held out", "seed=7; "}
