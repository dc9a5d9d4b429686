"""Known faces: whom recognisers take for the same person, how a look moves away from them, and what a verdict says."""

import json
from dataclasses import replace

import fakes
import pytest
import torch
from PIL import Image

from amtgan_lib import __main__ as command_line
from amtgan_lib import datasets, evaluation, faces, protection, recognizers
from amtgan_lib.faces import FaceError
from amtgan_lib.images import open_photo
from amtgan_lib.losses import mirrored
from amtgan_lib.methods import Guide, generator, natural, targets
from amtgan_lib.protection import ProtectionError
from amtgan_lib.recognizers import Known

pytest.importorskip("mediapipe")


@pytest.fixture(scope="module")
def pairs():
    """Photos of two drawn people: (one, another) of each."""
    table = datasets.test_pairs(datasets.manifest_of("drawn")).iloc[[1, 4]]
    files = datasets.files([*table.source, *table.other])
    return [(files[one], files[other]) for one, other in zip(table.source, table.other)]


@pytest.fixture(scope="module")
def networks():
    return [recognizers.load(name) for name in ("drawn_ir", "drawn_irse", "drawn_mobile")]


@pytest.fixture(scope="module")
def crop(pairs):
    return faces.detect_one(pairs[0][0], natural.SIZE)


def side_by_side(path, *photos):
    """The photos in one picture."""
    opened = [Image.open(photo).convert("RGB") for photo in photos]
    picture = Image.new("RGB", (sum(each.width for each in opened), opened[0].height))
    for number, each in enumerate(opened):
        picture.paste(each, (number * each.width, 0))
    picture.save(path)
    return path


def test_each_recogniser_embeds_the_faces_and_their_mirror_images_once(crop):
    (network,) = fakes.tiny_recognizers("one")
    known = Known(crop.image[None], crop.points[None])
    found = known.embedded(network)
    views = [(crop.image[None], crop.points[None]), mirrored(crop.image[None], crop.points[None])]
    for number, view in enumerate(views):
        torch.testing.assert_close(found[:, number], network.embed(*view))
    assert known.embedded(network) is found and not torch.equal(found[:, 0], found[:, 1])


def test_all_faces_of_the_photos_are_known_and_those_of_one_person_are_told_apart(pairs, crop, networks, tmp_path):
    group = side_by_side(tmp_path / "group.png", pairs[1][1], pairs[0][1])
    known = Known.on([group, pairs[1][0]])
    assert len(known.images) == 3 and len(Known.on(str(group)).images) == 2
    own = [network.embed(crop.image[None], crop.points[None])[0] for network in networks]
    shown = known.showing(own, networks)
    (place,) = [at for at in range(3) if torch.equal(known.images[at], shown.images[0])]
    assert len(shown.images) == 1 and place < 2
    assert all(torch.equal(shown.embedded(each)[0], known.embedded(each)[place]) for each in networks)
    assert Known.on([pairs[1][0]]).showing(own, networks) is None


def test_without_thresholds_every_known_face_counts(pairs, crop):
    networks = [each.with_thresholds({}) for each in fakes.tiny_recognizers("one", "two")]
    own = [network.embed(crop.image[None], crop.points[None])[0] for network in networks]
    assert len(Known.on([pairs[1][0]]).showing(own, networks).images) == 1


def test_a_look_hides_from_known_faces_of_the_same_person_alone(pairs, crop, networks):
    there, search = natural.face_regions(crop.image, crop.mesh), natural.Search()

    def loss(*known):
        guide = Guide(networks, targets.nobody(networks), known=Known.on(known) if known else None)
        return natural.Loss(crop, there, guide, search, {})

    alone, stranger, same = loss(), loss(pairs[1][0]), loss(pairs[0][1])
    assert all(torch.equal(*both) for both in zip(alone.owners, stranger.owners))
    assert alone.towards == stranger.towards == search.towards > same.towards == search.towards_if_known
    assert [torch.equal(*both) for both in zip(Known.on([pairs[0][1]]).embedded(networks[0]), same.owners[0])] == [True]
    assert all(torch.equal(*both) for both in zip(alone.clean, same.clean))


def test_known_photos_need_a_face(pairs, tmp_path, monkeypatch):
    wall = tmp_path / "wall.png"
    Image.new("RGB", (120, 120), (90, 120, 90)).save(wall)
    with pytest.raises(FaceError, match=r"wall\.png: no face was found, so nobody is known by these photos"):
        Known.on([wall])
    known = Known.on([wall, pairs[0][1]])
    assert len(known.images) == 1 and known.faceless == ("wall.png",)
    monkeypatch.setattr(recognizers, "at_hand", lambda names: names[:1])
    with pytest.warns(protection.ProtectionWarning, match=r"wall\.png: no face was found"):
        assert protection.prepare(known=[wall, pairs[0][1]]).known.faceless


def test_a_look_moves_away_from_a_known_photo(pairs, crop, networks):
    known, nobody = Known.on([pairs[0][1]]), targets.nobody(networks)

    def nearest(guide):
        image = natural.method(
            guide, natural.Search(20, more=0, towards=0, towards_if_known=0, visible=0, unkind=0)
        ).change(crop, crop)
        return sum(float(known.embedded(n)[0, 0] @ n.embed(image[None], crop.points[None])[0]) for n in networks)

    assert nearest(Guide(networks, nobody, known=known)) < nearest(Guide(networks, nobody)) - 0.02


def test_a_search_goes_on_where_only_the_clean_photo_is_recognised(pairs, crop, networks):
    guide = Guide(networks, targets.nobody(networks), known=Known.on([pairs[0][1]]))
    loss = natural.Loss(crop, natural.face_regions(crop.image, crop.mesh), guide, natural.Search(), {})
    plain = natural.Look.plain(loss.regions)
    loss.owners = [-owner for owner in loss.owners]
    assert loss.still_known(plain)
    loss.clean = [-clean for clean in loss.clean]
    assert not loss.still_known(plain)


def test_a_verdict_is_about_the_known_photo_that_is_most_similar(pairs, crop, networks):
    photo = open_photo(pairs[0][0])
    known = Known.on([pairs[0][1], pairs[1][0], pairs[0][0]])
    alone = evaluation.same_face(crop, photo, photo, networks, 0.01, known=Known.on([pairs[0][1]]))
    for answer, network in zip(alone, networks):
        other = known.embedded(network)[0, 0]
        mine = network.embed(*(each[None] for each in crop.view(photo, 256)))[0]
        assert answer.known == 1 and answer.before == pytest.approx(float(other @ mine), abs=1e-4)
        assert answer.before == pytest.approx(answer.after, abs=1e-5) and answer.before < 0.99
    both = evaluation.same_face(crop, photo, photo, networks, 0.01, known=known)
    assert all(answer.known == 2 and answer.before > 0.99 for answer in both)
    strangers = evaluation.same_face(crop, photo, photo, networks, 0.01, known=Known.on([pairs[1][0]]))
    assert all(answer.known == 0 and answer.before == pytest.approx(1, abs=1e-5) for answer in strangers)


def test_without_known_photos_a_verdict_is_about_a_typical_other_photo(pairs, crop, networks):
    """The clean photo is more like the protected one than any other: it counts where others would match, too."""
    photo = open_photo(pairs[0][0])
    (known,), (alone,) = (
        evaluation.same_face(crop, photo, photo, networks[:1], 0.01, known=faces)
        for faces in (Known.on([pairs[0][1]]), None)
    )
    (usual, lax), likeness = (known.threshold, known.lax), networks[0].spec.likeness
    assert 0.5 < likeness < 1 and (usual, lax) == (networks[0].thresholds[0.01], min(networks[0].thresholds.values()))
    assert (alone.threshold, alone.lax) == pytest.approx((usual / likeness, lax / likeness))
    assert alone.verdict == "not protected" and replace(alone, after=usual + 0.01).verdict == "weak"
    strict = networks[0].with_thresholds({0.01: 0.95})
    assert strict.own_photo[0.01] == pytest.approx(0.975), "a threshold that no cosine reaches would pass anything"


def test_only_a_search_takes_known_photos(pairs):
    with pytest.raises(ProtectionError, match="known applies only to the search for a look"):
        protection.prepare(generator.SHIPPED, known=[pairs[0][1]])
    tiny = fakes.tiny_recognizers("one")
    loaded = protection.Protector(natural.method(Guide(tiny, targets.nobody(tiny))))
    with pytest.raises(ProtectionError, match="already has its target, hints and all else"):
        protection.prepare(loaded, known=[pairs[0][1]])


def test_protect_is_told_known_photos_and_says_whom_they_show(pairs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    side_by_side(tmp_path / "us.png", pairs[0][0], pairs[1][0])
    side_by_side(tmp_path / "mine.png", pairs[0][1])
    drawn = Guide([recognizers.load("drawn_ir")], targets.nobody([recognizers.load("drawn_ir")]))
    given = {}

    def prepare(*_, known, **__):
        given["known"] = known
        method = natural.method(replace(drawn, known=Known.on(known)), natural.Search(steps=1, more=0))
        return protection.Protector(method)

    monkeypatch.setattr(protection, "prepare", prepare)
    words = ["protect", "us.png", "--known", "mine.png", "--ask", "drawn_irse", "--keep-recognised"]
    command_line.main([*words, "--report"])
    out = capsys.readouterr().out
    assert [path.name for path in given["known"]] == ["mine.png"]
    assert out.count("compared with 1 known face") == 1
    assert out.count("on none of the known photos: similarity is that to this photo itself") == 1
    command_line.main([*words, "--overwrite", "--json"])
    told = json.loads(capsys.readouterr().out)["photos"][0]["faces"]
    assert sorted(face["known_faces"] for face in told) == [0, 1]
    assert all((face["answers"][0]["before"] == 1) is not bool(face["known_faces"]) for face in told)


def test_a_known_photo_that_is_not_there_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (120, 120)).save("me.png")
    assert command_line.main(["protect", "me.png", "--known", "other.png"]) == 2
    assert "there is no file or folder other.png" in capsys.readouterr().err
