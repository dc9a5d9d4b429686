"""Protocols, the scores of anybody's files, and the leaderboard: what is pinned, what counts, and what is refused."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from amtgan_lib import __main__ as command_line
from amtgan_lib import assets, datasets, paths, recognizers
from amtgan_lib.datasets import drawn, protocol
from amtgan_lib.datasets.protocol import Protocol, ProtocolError
from amtgan_lib.evaluation import leaderboard, submissions, wilson
from amtgan_lib.evaluation.leaderboard import Card, EntryError
from amtgan_lib.evaluation.recognition import provenance
from amtgan_lib.reporting import results

pytestmark = pytest.mark.filterwarnings("ignore:SymbolDatabase")  # mediapipe, about its own code

COMMIT = "0123456789"
PEOPLE = 5
JUDGES = ("drawn_ir", "drawn_mobile")
PLACES = ("photos", "references", "targets")
CARD = Card("mine", "the photos themselves", "https://example.org/mine", ("drawn_mobile",), "all")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder with a protocol of few drawn people, two to a share, and with their photos to protect."""
    folder = tmp_path_factory.mktemp("world")
    whole = protocol.protocol("drawn")
    sources = whole.sources.groupby("group").head(2).head(PEOPLE)
    known = whole.of_role("other")
    known = known[known["person"].isin([*sources["person"], *whole.people])]
    worn = whole.of_role("reference")
    worn = worn[worn["id"].isin(sources["reference"])]  # each photo more takes a moment to draw
    photos = pd.concat([sources, worn, known, whole.of_role("target")], ignore_index=True)
    judges = {name: whole.judges[name] for name in JUDGES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "PROTOCOLS", folder / "protocols")
        protocol.store(replace(whole, name="small", photos=photos, judges=judges))
        protocol.protocol("small").export(folder / "in")
    return folder


@pytest.fixture
def small(world, monkeypatch, tmp_path) -> Iterator[Protocol]:
    """The small protocol, as the only one; entries go to a folder of the test, and nobody has changed the checkout."""
    provenance.cache_clear()
    monkeypatch.setattr(results, "commit", lambda: COMMIT)
    monkeypatch.setattr(paths, "PROTOCOLS", world / "protocols")
    monkeypatch.setattr(paths, "PREPARED", world / "prepared")
    monkeypatch.setattr(paths, "LEADERBOARD", tmp_path / "leaderboard")
    yield protocol.protocol("small")
    provenance.cache_clear()


@pytest.fixture
def given(world, tmp_path) -> Path:
    """A submission: the clean photos, to be changed."""
    return Path(shutil.copytree(world / "in" / "photos", tmp_path / "given"))


def scored(by, folder, target="all"):
    judges = [by.pinned(recognizers.load(name)) for name in by.judges]
    return submissions.scored(submissions.read(folder, by), judges, "mine", target)


def counts(rows, metric, far=0.01, method="mine"):
    """How many photos count, a number a judge."""
    rows = rows[(rows["method"] == method) & (rows["metric"] == metric) & (rows["far"] == far)]
    return (rows["value"] * rows["n"]).round().astype(int).tolist()


def extreme(by):
    """The protocol with thresholds that everybody passes at FAR 0.1, and nobody at 0.001."""
    ends = {0.1: -1.0, 0.001: 1.01}
    judges = {name: replace(row, thresholds=row.thresholds | ends) for name, row in by.judges.items()}
    return replace(by, judges=judges)


def swapped(folder):
    """Every photo becomes that of the next person, whom nobody takes for its owner."""
    files = sorted(folder.iterdir())
    pictures = [Image.open(file).copy() for file in files]
    for file, picture in zip(files, pictures[1:] + pictures[:1]):
        picture.save(file)
    return files


@pytest.fixture(scope="module")
def clean_rows(world):
    """Rows of the clean photos; scoring them takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "PROTOCOLS", world / "protocols")
        patch.setattr(paths, "PREPARED", world / "prepared")
        return scored(protocol.protocol("small"), world / "in" / "photos").rows.assign(commit=COMMIT)


# ---------------------------------------------------------------- what is pinned


def test_the_drawn_protocol_is_what_the_rules_of_the_test_make():
    by, manifest = protocol.protocol("drawn"), drawn.manifest()
    pairs = datasets.test_pairs(manifest)
    assert by.sources[["id", "asset"]].to_numpy().tolist() == pairs[["probe", "source"]].to_numpy().tolist()
    worn = by.of_role("reference").set_index("id")["asset"]
    assert worn[by.sources["reference"]].tolist() == pairs["reference"].tolist()
    assert by.target == datasets.default_target(datasets.FaceSet(manifest, *4 * [np.zeros(0)]))
    shares = {name: datasets.test_pairs(manifest, target=name, pairing="groups") for name in sorted(by.people)}
    going = [(name, probe) for name, share in shares.items() for probe in share["probe"]]
    assert list(zip(by.sources["target"], by.sources["id"])) == going
    others = manifest[(manifest["set"] == "drawn") & (manifest["part"] == "other")]
    assert set(by.of_role("other")["asset"]) > set(others["asset"])


@pytest.mark.parametrize("name", ["drawn", "open"])
def test_a_protocol_names_all_that_it_needs(name):
    by = protocol.protocol(name)
    sources, known = by.sources, by.of_role("other")
    assert by.photos["id"].is_unique and known["person"].is_unique
    assert set(sources["person"]) | set(by.people) <= set(known["person"]) and by.target in by.people
    assert set(sources["reference"]) == set(by.of_role("reference")["id"]) and set(sources["target"]) <= set(by.people)
    assert sources["group"].tolist() == sorted(sources["group"]) and set(sources["group"]) == {1, 2, 3, 4}
    assert (sources.groupby("group")["target"].nunique() == 1).all()
    seen = by.of_role("target").merge(known, on="person")
    assert (seen["asset_x"] != seen["asset_y"]).all()  # a method sees another photo of a target than judges know


def test_what_is_fetched_is_pinned_as_in_the_table_of_assets():
    table = {asset.relative: asset.sha256 for asset in assets.table() if asset.pinned}
    photos = protocol.protocol("open").photos
    assert photos["sha256"].tolist() == [table[asset] for asset in photos["asset"]] and len(photos) > 400
    for name, row in protocol.protocol("open").judges.items():
        assert name in recognizers.JUDGES or row.sha256 == assets.get(name).sha256


def test_judges_are_the_pinned_ones_and_others_are_refused(small):
    judge = recognizers.load(JUDGES[0])
    assert small.pinned(judge).thresholds == small.judges[JUDGES[0]].thresholds
    judge.weights_sha256 = "0" * 64
    with pytest.raises(ProtocolError, match="other weights of drawn_ir"):
        small.pinned(judge)


def test_another_photo_than_the_pinned_one_is_refused_and_a_rounding_is_not(small, monkeypatch, tmp_path):
    (name, file), *_ = protocol.found(small.sources).items()
    line = small.sources[:1]
    pixels, near = np.asarray(Image.open(file)).astype(int), tmp_path / "near.png"
    monkeypatch.setattr(protocol, "files", lambda *_: {line["asset"].item(): near})
    for change, good in ((1, True), (9, False)):
        Image.fromarray((pixels + change).clip(0, 255).astype(np.uint8)).save(near)
        if good:
            assert protocol.found(line) == {name: near}
            continue
        for pinned in (line, line.assign(colours=""), line.assign(sha256="0" * 64)):
            with pytest.raises(ProtocolError, match="not the photo that the protocol pins as"):
                protocol.found(pinned)


def test_the_exported_photos_are_the_pinned_ones_and_show_nothing_that_judges_know(small, world):
    pairs = pd.read_csv(world / "in" / "pairs.csv")
    there = {place: sorted(file.name for file in (world / "in" / place).iterdir()) for place in PLACES}
    assert pairs["photo"].tolist() == small.sources["id"].tolist() == there["photos"]
    for name, file in protocol.found(small.sources).items():
        assert (np.asarray(Image.open(world / "in/photos" / name)) == np.asarray(Image.open(file))).all()
    assert set(pairs["reference"]) <= set(there["references"])
    assert {*pairs["target"], *pairs["target of the group"]} == set(there["targets"])
    assert not list((world / "in").rglob("*other*"))


# ---------------------------------------------------------------- what counts


def test_clean_photos_have_the_scores_of_the_clean_row(clean_rows):
    for metric in ("impersonation", "dodging", "rank-1"):
        assert counts(clean_rows, metric) == counts(clean_rows, metric, method="clean")
    assert counts(clean_rows, "dodging") == [0, 0] and counts(clean_rows, "rank-1") == [PEOPLE, PEOPLE]
    pictures = clean_rows[clean_rows["recogniser"] == ""].set_index("metric")["value"]
    assert pictures.to_dict() == {"psnr": np.inf, "ssim": 1, "visible": 0, "flip": 0}
    row = clean_rows[(clean_rows["metric"] == "rank-1") & (clean_rows["method"] == "mine")].iloc[0]
    assert (row.ci_low, row.ci_high) == wilson(PEOPLE, PEOPLE)
    assert set(clean_rows["far"].dropna()) == {0.1, 0.01, 0.001}


def test_what_cannot_be_scored_is_said_and_counts_as_recognised(small, given):
    missing, damaged, other, faceless, *rest = swapped(given)
    missing.unlink()
    damaged.write_bytes(damaged.read_bytes()[:500])
    Image.open(other).resize((80, 80)).save(other)
    Image.new("RGB", (160, 160), (90, 120, 90)).save(faceless)
    (given / "notes.txt").touch()
    submission = submissions.read(given, small)
    said = dict(zip(("missing", "damaged", "other", "extra"), submission.complaints, strict=True))
    assert said["missing"] == f"{missing.name} is missing"
    assert said["damaged"].startswith(f"{damaged.name} is damaged or incomplete")
    assert said["other"] == f"{other.name} has 80 x 80 pixels where its clean photo has 160 x 160"
    assert said["extra"] == "notes.txt is not a name of the protocol small, so it is not scored"
    scores = scored(extreme(small), given, "nobody")
    assert scores.faceless == (faceless.name,)
    assert counts(scores.rows, "dodging") == counts(scores.rows, "dodging", 0.001) == [len(rest)] * 2
    assert counts(scores.rows, "rank-1") == [PEOPLE - len(rest)] * 2
    assert set(scores.rows.loc[scores.rows["recogniser"] == "", "n"]) == {len(rest) + 1}
    assert "impersonation" not in set(scores.rows["metric"])


def test_nothing_to_score_is_refused(small, tmp_path):
    with pytest.raises(ProtocolError, match=r"can be scored: drawn-\d+.png is missing"):
        submissions.read(tmp_path, small)


def test_each_photo_is_compared_with_the_target_that_its_reading_has(small, given, world):
    """Every photo becomes the very one of its group's target."""
    pairs = pd.read_csv(world / "in" / "pairs.csv")
    for name, target in zip(pairs["photo"], pairs["target of the group"]):
        shutil.copyfile(world / "in" / "targets" / target, given / name)
    assert len(set(small.sources["target"])) > 1
    scores = scored(extreme(small), given, "groups")
    assert counts(scores.rows, "impersonation") == [PEOPLE] * 2
    assert counts(scores.rows, "impersonation", 0.001) == [0] * 2 == counts(scores.rows, "dodging", 0.1)
    assert counts(scores.rows, "dodging", 0.001) == [PEOPLE] * 2
    assert small.targets("all") == small.targets("nobody") == small.targets(small.target) == [small.target] * PEOPLE
    assert small.targets(small.people[1]) == [small.people[1]] * PEOPLE
    with pytest.raises(ProtocolError, match="'nobdy' is no target of the protocol small: choose from all, groups, nob"):
        small.targets("nobdy")


# ---------------------------------------------------------------- cards and entries


@pytest.mark.parametrize(
    ("hints", "took_part"),
    [
        ((), []),
        (("drawn_ir",), ["drawn_ir", "drawn_irse"]),  # one family
        (("mobilefacenet",), ["drawn_mobile", "mobilefacenet_foamliu"]),
        (("distilled_plain",), ["mobilefacenet_foamliu", "edgeface_xs"]),  # its teachers
    ],
)
def test_judges_that_are_related_to_a_hint_took_part(hints, took_part):
    asked = ["drawn_ir", "drawn_irse", "drawn_mobile", "mobilefacenet_foamliu", "edgeface_xs", "dlib"]
    assert [name for name in asked if replace(CARD, hints=hints).took_part(name)] == took_part


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hints": ["edgefce_xs"]}, "hints has edgefce_xs: choose from"),
        ({"hints": "drawn_ir"}, "hints must be a list"),
        ({"method": "a b"}, "method is 'a b'"),
        ({"about": "a | b"}, "about is to be one sentence"),
        ({"about": "<!-- leaderboard-drawn:end -->"}, "about is to be one sentence"),
        ({"link": "http://example.org"}, "link is 'http://example.org'"),
        ({"link": "../README.md"}, "link is"),
        ({"hint": []}, "there is no field hint"),
        ({"method": 7}, "method must be text"),
        ({"link": None}, "link must be text"),
    ],
)
def test_a_wrong_card_is_refused(tmp_path, change, said):
    file = tmp_path / "card.yaml"
    told = asdict(CARD) | {"hints": list(CARD.hints)}
    file.write_text(yaml.safe_dump(told))
    assert leaderboard.read_card(file) == CARD
    file.write_text(yaml.safe_dump(told | change))
    with pytest.raises(EntryError, match=said):
        leaderboard.read_card(file)


@pytest.mark.parametrize(
    ("text", "said"), [("a: [", "no method card in YAML"), ("- a", "has the fields method, about,")]
)
def test_what_is_no_card_is_refused(tmp_path, text, said):
    file = tmp_path / "card.yaml"
    file.write_text(text)
    with pytest.raises(EntryError, match=said):
        leaderboard.read_card(file)


def test_an_entry_comes_back_as_it_was_stored(small, clean_rows):
    entry = leaderboard.read(leaderboard.store(CARD, small, clean_rows), small)
    assert entry.card == CARD and entry.independent() == ["drawn_ir"]
    own = clean_rows[clean_rows["method"] == "mine"]
    assert entry.rows["value"].tolist() == pytest.approx(own["value"].tolist(), abs=1e-8)
    assert entry.ends("dodging") == (0, 0) and entry.ends("rank-1") == (1, 1)


def number(told, **where):
    return next(row for row in told["numbers"] if all(row[key] == value for key, value in where.items()))


def value(amount, **where):
    """A change of one number, with the interval that belongs to it."""

    def change(told):
        low, high = wilson(round(amount * PEOPLE), PEOPLE)
        number(told, **where).update(value=amount, ci_low=low, ci_high=high)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told.update(protocol_sha256="0" * 64), "another state of the protocol small"),
        (lambda told: told.update(commit="main"), "commit is 'main'"),
        (lambda told: told.update(commit=f"{COMMIT}-dirty"), "whose files are as they were committed"),
        (lambda told: told.update(place=1), "there is no field place"),
        (lambda told: told.pop("device"), "device is missing"),
        (lambda told: told.update(hints=["me"]), "hints has me"),
        (lambda told: told.update(target="drawn_target/1"), "is no target of the protocol"),
        (lambda told: told.update(target="nobody"), "lacks a number of a judge, or has one too many"),
        (lambda told: told["numbers"].pop(), "lacks a number"),
        (lambda told: told["numbers"].append(told["numbers"][0]), "one too many"),
        (lambda told: number(told, metric="rank-1").pop("n"), "n is missing"),
        (lambda told: number(told, metric="rank-1").update(n=7), "is of 7 photos where there are 5"),
        (lambda told: number(told, metric="dodging").update(value=0.1, ci_high=0.5), "no share of 5 photos"),
        (lambda told: number(told, metric="dodging").update(ci_high=0.2), "another interval than Wilson's"),
        (lambda told: number(told, metric="flip").update(value=1.5), "flip is 1.5: it must be from 0 to 1"),
        (lambda told: number(told, metric="flip").update(ci_low=0.1, ci_high=0.2), "not within its interval"),
        (lambda told: number(told, metric="ssim").update(n=7), "ssim is of 7 photos"),
        (lambda told: number(told, metric="ssim").update(value=0.5, ci_low=0.4), "psnr is to be empty"),
        (value(0.4, metric="dodging", far=0.1), "refuses more photos at a lower threshold"),
        (value(1, metric="impersonation", far=0.001), "accepts fewer photos at a lower threshold"),
        (value(0, metric="rank-1", far=0.1), "finds other photos at rank 1"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(small, clean_rows, change, said):
    file = leaderboard.store(CARD, small, clean_rows)
    told = json.loads(file.read_text())
    change(told)
    file.write_text(json.dumps(told))
    with pytest.raises(EntryError, match=said):
        leaderboard.read(file, small)


def test_an_entry_has_the_name_of_its_method_and_is_json(small, clean_rows):
    file = leaderboard.store(CARD, small, clean_rows)
    with pytest.raises(EntryError, match="name the file after it"):
        leaderboard.read(file.rename(file.with_name("yours.json")), small)
    file.write_text("{")
    with pytest.raises(EntryError, match=f"{file}: "):
        leaderboard.read(file, small)


def entry_of(small, rows, card, dodging, flip):
    """Store an entry with other shares at all thresholds, a share a judge, and another FLIP."""
    rows = rows[rows["method"] == "mine"].assign(method=card.method)
    for judge, share in zip(JUDGES, dodging):
        low, high = wilson(round(share * PEOPLE), PEOPLE)
        at = (rows["recogniser"] == judge) & (rows["metric"] == "dodging")
        rows.loc[at, ["value", "ci_low", "ci_high"]] = share, low, high
    rows.loc[rows["metric"] == "flip", ["value", "ci_low", "ci_high"]] = flip, flip, flip
    leaderboard.store(card, small, rows)


def test_the_board_ranks_by_the_worst_judge_that_took_no_part(small, clean_rows):
    """`loud` fools the judge that gave it hints, `quiet` both a little, `vain` two of such; `gone` is no photo."""
    assert leaderboard.board("small") == "There is no entry yet."
    for name, hints, dodging, flip in (
        ("loud", ("drawn_mobile",), (0, 1), 0.1),
        ("quiet", (), (2 / 5, 2 / 5), 0.1),
        ("vain", JUDGES, (1, 1), 0.1),
        ("gone", (), (1, 1), 0.6),
    ):
        entry_of(small, clean_rows, replace(CARD, method=name, hints=hints), dodging, flip)
    board = leaderboard.board("small")
    lines = [[cell.strip() for cell in line.split("|")[1:3]] for line in board.splitlines()[2:6]]
    linked = [(place, name.partition("]")[0].strip("[")) for place, name in lines]
    assert linked[:2] == [("1", "quiet"), ("2", "loud")] and set(linked[2:]) == {("", "vain"), ("", "gone")}
    assert "| loud | drawn_mobile * |" in board and "| loud | drawn_ir |" in board


@pytest.mark.parametrize("name", [name for name in protocol.names() if (paths.LEADERBOARD / name).is_dir()])
def test_every_entry_of_the_leaderboard_is_valid(name):
    by = protocol.protocol(name)
    found = {entry.card.method: entry for entry in leaderboard.entries(by)}
    assert len(found) == len(list(paths.LEADERBOARD.glob(f"{name}/*"))), "a folder of entries holds nothing else"
    assert "clean" in found, "no rate means anything without that of the clean photos"
    pictures = found["clean"].rows.set_index("metric")["value"]
    assert (pictures["flip"], pictures["ssim"]) == (0, 1) and found["clean"].card.hints == ()
    assert f"<!-- leaderboard-{name}:start -->" in (paths.DOCS / "leaderboard.md").read_text(encoding="utf-8")


# ---------------------------------------------------------------- the commands


def run(*words) -> int:
    return command_line.main([str(word) for word in words])


def test_from_the_photos_to_an_entry(small, monkeypatch, tmp_path, capsys):
    """As somebody would who knows the commands alone."""
    assert run("protocol", "small", tmp_path / "in") == 0
    assert run("protocol", "small", tmp_path / "in") == 2 and "not an empty folder" in capsys.readouterr().err
    card = tmp_path / "card.yaml"
    card.write_text(yaml.safe_dump(asdict(CARD) | {"hints": list(CARD.hints)}))
    words = ("evaluate", tmp_path / "in" / "photos", "--protocol", "small", "--card", card, "--submit", "--json")
    assert run(*words) == 0
    shown = capsys.readouterr()
    told = json.loads(shown.out, parse_constant=pytest.fail)
    assert told["protocol_sha256"] == small.sha256 and told["card"]["hints"] == ["drawn_mobile"]
    assert {row["recogniser"] for row in told["rows"]} == {*JUDGES, ""} and told["complaints"] == []
    assert "drawn_mobile *" in shown.err and "drawn_ir *" not in shown.err
    (entry,) = leaderboard.entries(small)
    assert entry.card == CARD
    monkeypatch.setattr(results, "commit", lambda: f"{COMMIT}-dirty")
    assert run(*words) == 1 and "whose files are as they were committed" in capsys.readouterr().err
    monkeypatch.setattr(results, "commit", lambda: COMMIT)
    next((tmp_path / "in" / "photos").iterdir()).unlink()
    assert run(*words) == 1
    shown = capsys.readouterr()
    assert "is missing." in shown.err and "use the clean photo where the method fails" in shown.err and not shown.out
    assert run(*words[:4], "--ask", "drawn_ir") == 1
    shown = capsys.readouterr().out
    assert "4 of 5 photos scored; the others count as recognised." in shown and "No hints are declared" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("given", "give the protected photo or folder as well, or a --protocol."),
        ("given --protocol smal", "there is no protocol 'smal': choose from small."),
        ("given given --protocol small", "--protocol takes one folder"),
        ("card.yaml --protocol small", "but card.yaml is not one."),
        ("given given --card card.yaml", "--card and --submit need --protocol."),
        ("given --protocol small --submit", "--submit needs --card"),
        ("given --protocol small --card card.yaml --submit --ask drawn_ir", "omit --ask."),
        ("given --protocol small --card card.yaml", "card.yaml: a method card has the fields method, about,"),
        (
            "given --protocol small --ask edgeface_xs",
            "edgeface_xs is not a judge of the protocol small: choose from drawn_ir,",
        ),
        ("given --protocol small --far 0.5", "--far is 0.5: choose from 0.1, 0.01, 0.001."),
    ],
)
def test_wrong_arguments(small, given, monkeypatch, capsys, words, said):
    monkeypatch.chdir(given.parent)
    Path("card.yaml").write_text("- nothing")
    assert run("evaluate", *words.split()) == 2
    assert said in capsys.readouterr().err
