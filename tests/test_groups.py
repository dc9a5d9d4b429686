"""Rates by group of people, and the gap between two groups."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from amtgan_lib import evaluation, portraits
from amtgan_lib.evaluation import groups, wilson

JUDGE = SimpleNamespace(name="judge", weights_sha256="ab12")


def share(successes: int, n: int) -> groups.Measured:
    return groups.Measured(successes / n, *wilson(successes, n), n)


def test_a_gap_has_newcombes_interval():
    """His example (a) of 1998: 56 of 70 beside 48 of 80, method 10."""
    value, low, high, n = groups.gap(share(56, 70), share(48, 80))
    assert n == 150 and value == pytest.approx(0.2)
    assert (low, high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    turned = groups.gap(share(48, 80), share(56, 70))
    assert (turned.low, turned.high) == (pytest.approx(-high), pytest.approx(-low))


def test_drawn_people_are_labelled_as_they_were_drawn_and_others_not_at_all():
    people = [f"drawn/{number:04d}" for number in (0, 1, 17)]
    labelled = evaluation.labels([*people, "celeba_hq/3", people[0]])
    who = portraits.people([0, 1, 17])
    assert (labelled.loc[people, "skin"] == "darker").tolist() == (who.raw("skin") > 0.5).tolist()
    assert (labelled.loc[people, "age"] == "older").tolist() == (who.raw("age") > 0.5).tolist()
    assert (labelled.loc["celeba_hq/3"] == "").all() and labelled.index.is_unique


def test_labels_of_ones_own_are_read_and_a_wrong_file_is_refused(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("person,hat\na,yes\nb,no\nc,\n")
    assert evaluation.labels(["b", "d", "a"], file)["hat"].tolist() == ["no", "", "yes"]
    for wrong in ("name,hat\na,yes\n", "person\na\n", "person,hat\na,yes\na,no\n"):
        file.write_text(wrong)
        with pytest.raises(ValueError, match="must have a column person"):
            evaluation.labels(["a"], file)
    for unreadable in (tmp_path / "none.csv", tmp_path / "empty.csv"):
        (tmp_path / "empty.csv").touch()
        with pytest.raises(ValueError, match=f"{unreadable.name} cannot be read as a table in CSV"):
            evaluation.labels(["a"], unreadable)


def test_rates_and_changes_by_group_count_its_people_alone():
    people, threshold = list("abcdefgh"), 0.3
    owner = np.array([0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.1])  # a cosine above the threshold is recognised
    scores = pd.DataFrame({"person": people, "target": 0.0, "owner": owner, "owner_rank": np.where(owner > 0.5, 1, 9)})
    trained = scores.assign(method="m", recogniser="trained against", owner=0.0)
    scores = pd.concat([trained, scores.assign(method="m", recogniser="judge")])
    # Nothing is known of h, which was hidden.
    hats = pd.DataFrame({"hat": ["yes"] * 4 + ["no"] * 3 + [""]}, index=people)
    facts = {"experiment": "groups", "preset": "p", "target": "t", "dataset": "test", "seed": 0}
    changes = {"m": [1.0, 3.0, np.nan, 2.0, 5.0, 5.0, 5.0, 9.0]}
    table = evaluation.group_table(scores, [JUDGE], {"judge": threshold}, changes, hats, 0.01, **facts)
    found = {(row.metric, row.dataset): row for row in table.itertuples()}
    assert set(table["weights_sha256"]) == {"ab12", ""} and set(table["recogniser"]) == {"judge", ""}
    assert found["dodging", "test, hat: yes"].value == 0.75 and found["dodging", "test, hat: yes"].n == 4
    assert found["dodging", "test, hat: no"].value == 0.0 and found["rank-1", "test, hat: no"].value == 1.0
    assert found["dodging", "test, hat: no - yes"].value == -0.75 and found["dodging", "test, hat: no - yes"].n == 7
    assert found["mean change", "test, hat: yes"].value == 2.0 and found["mean change", "test, hat: yes"].n == 3
    assert found["mean change", "test, hat: no - yes"].value == 3.0


def test_people_of_whom_nothing_is_known_give_no_rows():
    scores = pd.DataFrame({"person": ["x"], "target": 0.0, "owner": 0.0, "owner_rank": 1.0, "method": "m"})
    labelled = evaluation.labels(["x"])
    scores = scores.assign(recogniser="judge")
    table = evaluation.group_table(scores, [JUDGE], {"judge": 0.3}, {}, labelled, 0.01, dataset="test")
    assert table.empty and "metric" in table
