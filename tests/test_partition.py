"""Partition: who trains and who judges, under both splits."""

import pytest

from amtgan_lib import paths, recognizers
from amtgan_lib.recognizers import DRAWN, OPEN, PUBLISHED, partition, read_shipped, spec


def test_a_family_is_held_out_as_a_whole():
    train, judges = partition("family", "edgeface")
    assert judges == ("edgeface_xs", "edgeface_xxs")
    assert train == ("mobilefacenet_foamliu", "mobilefacenet_xiaoccer")


def test_one_name_is_held_out_and_its_relatives_train():
    train, judges = partition("leave one out", "edgeface_xs")
    assert judges == ("edgeface_xs",)
    assert "edgeface_xxs" in train and len(train) == len(OPEN) - 1


@pytest.mark.parametrize("names", [PUBLISHED, DRAWN], ids=["published", "drawn"])
@pytest.mark.parametrize("family", ["iresnet", "mobilefacenet", "inception_resnet"])
def test_no_family_is_on_both_sides(family, names):
    train, judges = partition("family", family, names)
    assert {spec(name).family for name in judges} == {family}
    assert family not in {spec(name).family for name in train}
    assert sorted(train + judges) == sorted(names)


def test_the_drawn_inception_resnet_judges_the_other_three():
    train, judges = partition("family", "inception_resnet", DRAWN)
    assert (train, judges) == (("drawn_ir", "drawn_irse", "drawn_mobile"), ("drawn_inception",))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_protocol_takes_each_of_its_four_in_turn(name):
    train, judges = partition("leave one out", name, PUBLISHED)
    assert judges == (name,) and sorted((*train, name)) == sorted(PUBLISHED)


def test_a_teacher_and_its_student_never_stand_on_two_sides():
    """The distilled recogniser learnt from both MobileFaceNets, and its file says the same."""
    names = (*OPEN, "distilled")
    assert partition("leave one out", "mobilefacenet_foamliu", names)[0] == (
        "mobilefacenet_xiaoccer",
        "edgeface_xs",
        "edgeface_xxs",
    )
    assert partition("leave one out", "distilled", names)[0] == ("edgeface_xs", "edgeface_xxs")
    assert "distilled" in partition("leave one out", "edgeface_xs", names)[0]
    for train, judge in (("distilled", "mobilefacenet_foamliu"), ("mobilefacenet_foamliu", "distilled")):
        with pytest.raises(ValueError, match=f"{judge} .* cannot judge under the 'leave one out' split"):
            recognizers.refuse_overlap([train], [judge], "leave one out")
    *_, facts = read_shipped(paths.WEIGHTS / spec("distilled").weights)
    assert tuple(facts["teachers"]) == spec("distilled").teachers


def test_names_keep_their_order_and_may_come_from_an_iterator():
    names = ["edgeface_xxs", "mobilefacenet_xiaoccer", "edgeface_xs"]
    assert partition("family", "edgeface", iter(names)) == (
        ("mobilefacenet_xiaoccer",),
        ("edgeface_xxs", "edgeface_xs"),
    )


@pytest.mark.parametrize(
    ("split", "held_out", "names", "message"),
    [
        ("families", "edgeface", OPEN, "split must be one of 'family', 'leave one out', got 'families'"),
        ("family", "edgeface_xs", OPEN, "choose one of edgeface, mobilefacenet$"),
        ("family", "iresnet", OPEN, "held_out is 'iresnet'"),
        ("family", "edgeface", ("edgeface_xs", "edgeface_xxs"), "choose one of edgeface$"),  # nobody would train
        ("family", "edgeface", (), "held_out is 'edgeface'"),
        ("leave one out", "edgeface", OPEN, "choose one of mobilefacenet_foamliu, .*, edgeface_xxs$"),
        ("leave one out", "edgeface_xs", ("edgeface_xs",), "held_out is 'edgeface_xs'"),
        ("family", "edgeface", ("edgeface_xs", "arcface"), "no recogniser 'arcface'"),
    ],
)
def test_an_empty_side_or_an_unknown_name_is_refused(split, held_out, names, message):
    with pytest.raises(ValueError, match=message):
        partition(split, held_out, names)


def test_the_halves_are_checked_for_overlap(monkeypatch):
    asked = []
    monkeypatch.setattr(recognizers.table, "refuse_overlap", lambda *arguments: asked.append(arguments))
    train, judges = partition("family", "edgeface")
    assert asked == [(train, judges, "family")]
