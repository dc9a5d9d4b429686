"""Natural looks: what the search finds, what it may wear, and how it goes into photos and frames."""

from dataclasses import replace

import fakes
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from amtgan_lib import faces, portraits, protection, recognizers
from amtgan_lib.demos import session
from amtgan_lib.faces import FaceError, parts
from amtgan_lib.faces.regions import OVAL
from amtgan_lib.images import to_pil
from amtgan_lib.methods import Guide, MethodError, bare, in_makeup_of, kindness, natural, remembered, targets
from amtgan_lib.methods.kindness import Manners
from amtgan_lib.methods.method import Painting
from amtgan_lib.methods.natural import Adam, Search
from amtgan_lib.models import rendering
from amtgan_lib.models.face_regions import LATTICE
from amtgan_lib.models.rendering import BARE, LIPS, PARTS, Look, mixture
from amtgan_lib.protection import ProtectionError, Protector
from amtgan_lib.recognizers import Known

SHORT = Search(steps=6)


@pytest.fixture(scope="module")
def crop():
    moment = portraits.scenes([11], variety=0.2)
    drawn = portraits.draw(portraits.people([11]), portraits.no_makeup(1), moment, 320)
    return faces.detect_one(to_pil(drawn.image[0]), natural.SIZE)


@pytest.fixture(scope="module")
def reference():
    return faces.detect_one(session.makeups()[0].small, natural.SIZE)


@pytest.fixture(scope="module")
def guide():
    networks = [recognizers.load(name) for name in ("drawn_ir", "drawn_irse")]
    return Guide(networks, targets.nobody(networks))


@pytest.fixture(scope="module")
def painting(crop, guide):
    """What a search of 25 steps and more paints on the bare face."""
    return natural.method(guide, Search(steps=25)).altered(crop, crop)


def similarity(network, crop, image) -> float:
    both = torch.stack([crop.image, image])
    own, changed = network.embed(both, crop.points.expand(2, -1, -1))
    return float(own @ changed)


def test_a_look_that_was_found_before_does_the_same_again(crop, guide):
    for search in (SHORT, Search(steps=2, reach=1.6)):
        method = natural.method(guide, search)
        found = method.wear(crop, crop, None)
        again, once = method.dressed(crop, found.look).fields(), found.fields()
        assert torch.equal(again.flow, once.flow) and torch.equal(again.gain, once.gain)


def test_an_identity_tells_whether_a_search_would_find_the_same(crop, guide):
    def identity(search=SHORT, **changes) -> str:
        return natural.method(replace(guide, **changes), search).identity()

    known = recognizers.Known(crop.image[None], crop.points[None])
    one, two = guide.recognizers
    others = [
        identity(Search(steps=7)),
        identity(known=known),
        identity(known=recognizers.Known(-crop.image[None], crop.points[None])),
        identity(recognizers=[one], target=targets.nobody([one])),
        identity(recognizers=[two, one], target=targets.nobody([two, one])),
        identity(target=targets.Target("nobody", {name: -vector for name, vector in guide.target.embeddings.items()})),
        identity(target=targets.Target("somebody", guide.target.embeddings)),
    ]
    assert len({identity(), *others}) == 1 + len(others)
    assert identity() == natural.method(Guide([one, two], targets.nobody([one, two])), SHORT).identity()


def test_a_search_moves_a_face_from_its_owner_to_the_target(crop, guide, painting):
    found = painting.on(crop)
    short = natural.method(guide, Search(steps=5)).change(crop, crop)
    for network, (target,) in zip(guide.recognizers, zip(guide.target.of(guide.recognizers))):
        assert similarity(network, crop, found) < similarity(network, crop, short) < 0.99
        near = [float(network.embed(each[None], crop.points[None])[0] @ target) for each in (crop.image, found)]
        assert near[1] > near[0]


def test_a_bare_face_wears_no_makeup_and_a_reference_brings_it(crop, reference, guide):
    method = natural.method(guide, SHORT)
    assert set(method.wear(crop, crop, None).look.worn()) == set(BARE)
    dressed = method.wear(crop, reference, None).look.worn()
    assert set(dressed) == set(PARTS)
    assert set(bare(method).wear(crop, reference, None).look.worn()) == set(BARE)


def test_a_method_that_comes_to_know_a_face_stays_as_it_was_wrapped(crop, reference, guide):
    method, known = natural.method(guide, SHORT), Known(crop.image[None], crop.points[None])

    def worn_by(told):
        return set(told.knowing(known).wear(crop, reference, None).look.worn())

    assert worn_by(method) == set(PARTS)
    assert worn_by(bare(method)) == set(BARE)
    assert worn_by(in_makeup_of(method, crop)) == set(BARE)
    assert worn_by(natural.only(method, ["shape"])) == {"shape"}


def test_a_look_is_drawn_as_it_is_worn(crop, reference, guide):
    for method in (bare(natural.method(guide, SHORT)), natural.only(natural.method(guide, SHORT), ["shape"])):
        torch.testing.assert_close(method.draw(crop, reference).clamp(-1, 1), method.change(crop, reference))


def test_lips_and_lids_begin_as_the_reference_wears_them(crop, reference, guide):
    regions = natural.face_regions(crop.image, crop.mesh)
    colours = natural.reference_colours(crop, regions, reference)
    dressed = natural.worn(crop, guide, reference, replace(SHORT, steps=0)).look
    assert torch.equal(dressed.lips, colours["lips"]) and torch.equal(dressed.lids, colours["lids"])
    assert dressed.lips.abs().max() > 0.1
    itself = natural.reference_colours(crop, regions, crop)
    assert all(colour.abs().max() < 1e-5 for colour in itself.values())


def test_a_mixture_within_the_bounds_gives_its_colour_back():
    numbers = torch.tensor([-0.4, 0.7, 0.2])
    limits = torch.tensor(LIPS)
    shares = numbers.tanh()
    exponent = torch.where(numbers > 0, limits[:, 1], -limits[:, 0]) * shares @ rendering._TINTS
    torch.testing.assert_close(mixture(exponent, LIPS), numbers, atol=1e-4, rtol=1e-4)


def test_the_same_seed_finds_the_same_look(crop, guide):
    first, again, other = (natural.method(guide, replace(SHORT, seed=seed)).change(crop, crop) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_search_begins_with_the_look_of_the_frame_before(crop, guide, painting):
    assert isinstance(painting, Painting)
    again = natural.method(guide, Search(steps=25)).altered(crop, crop, begin=painting.look)
    network = guide.recognizers[0]
    assert similarity(network, crop, again.on(crop)) < similarity(network, crop, painting.on(crop)) + 0.1
    half = painting.mixed(again, 0.5)
    torch.testing.assert_close(half.fields.flow, (painting.fields.flow + again.fields.flow) / 2)


def test_strength_scales_a_look_down_to_nothing(crop, guide):
    method = remembered(natural.method(guide, SHORT))
    assert torch.equal(method.change(crop, crop, 0.0), crop.image)
    changes = [(method.change(crop, crop, strength) - crop.image).abs().mean() for strength in (0.3, 1.0)]
    assert 0 < changes[0] < changes[1]


def test_a_look_is_searched_once_and_taken_apart(crop, reference, guide):
    asked = []
    inner = natural.method(guide, SHORT)
    counted = replace(inner, wear=lambda *faces: asked.append(faces) or inner.wear(*faces))
    method = remembered(counted)
    whole = method.change(crop, reference)
    assert torch.equal(method.change(crop, reference), whole) and len(asked) == 1
    shape = natural.only(method, ["shape"]).wear(crop, reference, None).look
    assert list(shape.worn()) == ["shape"] and len(asked) == 1
    method.change(crop, crop)
    assert len(asked) == 2


def test_moved_is_a_share_of_the_eye_distance_within_the_bound(crop, guide):
    look = natural.method(guide, Search(steps=15)).wear(crop, crop, None)
    shares = natural.moved(crop, look)
    assert shares.shape == (478,) and 0.005 < shares.max() < 0.08
    still = natural.Worn(look.regions, Look.plain(look.regions))
    assert natural.moved(crop, still).max() == 0
    farther = natural.moved(crop, natural.method(guide, Search(steps=15, reach=1.6)).wear(crop, crop, None))
    assert 0.08 < farther.max() < 1.6 * 0.08


@pytest.mark.parametrize(("count", "at_once"), [(1, 1), (2, 2), (3, 2), (4, 3)])
def test_of_three_recognisers_or_more_all_are_left_out_in_turn(crop, count, at_once):
    networks = fakes.tiny_recognizers(*map(str, range(count)))
    there = natural.face_regions(crop.image, crop.mesh)
    loss = natural.Loss(crop, there, Guide(networks, targets.nobody(networks)), SHORT, {})
    draw, times = torch.Generator().manual_seed(0), [0] * count
    for step in range(1, 21):
        asked = loss.turn(draw)
        assert len(asked) == len(set(asked)) == at_once
        for each in asked:
            times[each] += 1
        assert max(times) - min(times) <= 1, step


def test_the_recogniser_that_knows_a_face_best_counts_most(crop, guide):
    loss = natural.Loss(crop, natural.face_regions(crop.image, crop.mesh), guide, SHORT, {})
    view = (0.5 * crop.image[None]).requires_grad_(True)
    alone = [loss.known(view, crop.points[None], [number]) for number in (0, 1)]
    both = loss.known(view, crop.points[None], [0, 1])
    low, high = sorted(alone)
    assert high > low + 0.01 and (low + high) / 2 < both < high
    slopes = [torch.autograd.grad(cost, view)[0] for cost in (*alone, both)]
    share = float((both - alone[1]) / (alone[0] - alone[1]))
    torch.testing.assert_close(slopes[2], share * slopes[0] + (1 - share) * slopes[1])


@pytest.mark.parametrize(
    ("above", "below", "axis", "way", "unkind"),
    [
        (0, 159, "y", 1, True),  # brows sink
        (0, 159, "x", -1, True),  # or come together
        (0, 159, "x", 1, True),  # or apart
        (0, 107, "y", -1, True),  # or rise
        (168, 2, "x", 1, True),  # the nose grows broader
        (168, 2, "x", -1, False),
        (195, 0, "y", -1, True),  # its tip turns up
        (13, 152, "y", 1, True),  # corners of the mouth drop
        (13, 152, "y", -1, False),
    ],
)
def test_a_move_is_unkind_that_spoils_an_expression_or_makes_a_nose_larger(crop, above, below, axis, way, unkind):
    """``way``: +1 down, or away from the middle of the face; only rows between two vertices of the mesh move."""
    first, last = int(crop.mesh[above, 0]) if above else 0, int(crop.mesh[below, 0]) - 2
    flow = torch.zeros(1, 2, natural.SIZE, natural.SIZE)
    middle, move = int(crop.mesh[4, 1]), -3.0 * way  # each pixel shows what was on the other side of it
    if axis == "y":
        flow[:, 1, first:last] = move
    else:
        flow[:, 0, first:last] = move * ((torch.arange(natural.SIZE) - middle) / 8).clamp(-1, 1)
    cost = Manners(crop.mesh, crop.size).unkind(flow)
    assert cost > 0.0025 if unkind else cost < 0.0015


def test_where_recognition_weighs_more_an_unkind_move_costs_more_too(crop, guide):
    regions = natural.face_regions(crop.image, crop.mesh)
    look = Look(shape=torch.randn(1, 2, *2 * [LATTICE], generator=torch.Generator().manual_seed(0)))
    costs = {}
    for unkind, weight in ((0.0, 1.0), (25.0, 1.0), (0.0, 9.0), (25.0, 9.0)):
        loss = natural.Loss(crop, regions, guide, Search(unkind=unkind), {})
        loss.weight = weight
        costs[unkind, weight] = float(loss(look, torch.Generator().manual_seed(1)))
    once, more = (costs[25.0, weight] - costs[0.0, weight] for weight in (1.0, 9.0))
    assert once > 0.01 and more == pytest.approx(3 * once, rel=0.01)


def test_a_nose_that_is_bent_aside_is_unkind_and_one_that_moves_is_not(crop):
    costs = []
    for first in (0, int(crop.mesh[195, 0])):
        flow = torch.zeros(1, 2, natural.SIZE, natural.SIZE)
        flow[:, 0, first : int(crop.mesh[2, 0]) + 3] = 3.0
        costs.append(float(Manners(crop.mesh, crop.size).unkind(flow)))
    assert costs[0] < 0.001 and costs[1] > 0.004


@pytest.mark.parametrize("move", [((0.4, 0), (0, 0)), ((0, 0.4), (0, 0)), ((0, 0), (0.3, 0.2))])
def test_strain_is_what_stretches_and_shears_and_not_what_moves(move):
    (right_of_x, down_of_x), (right_of_y, down_of_y) = move
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    flow = torch.stack([3 + right_of_x * x + down_of_x * y, -5 + right_of_y * x + down_of_y * y])[None]
    wanted = sum(each**2 for pair in move for each in pair) / kindness.STRAIN**2
    torch.testing.assert_close(kindness.strain(flow), torch.full((1, 7, 7), wanted), rtol=1e-4, atol=1e-5)


def test_a_look_stretches_skin_less_than_one_that_may_tear_it(crop, guide):
    short = Search(steps=15, more=0)
    looks = (natural.worn(crop, guide, None, replace(short, strained=each)) for each in (short.strained, 0.0))
    strained, torn = (float(kindness.strain(look.fields().flow).max()) for look in looks)
    assert strained < 0.6 * torn


def test_contour_has_bounds_for_each_zone_of_the_face():
    assert list(rendering.CONTOUR) == list(parts.ZONES)


def test_a_face_without_its_mesh_has_no_look(crop, guide):
    with pytest.raises(FaceError, match="was not found by its mesh"):
        natural.method(guide, SHORT).change(replace(crop, mesh=None), crop)


def test_our_adam_is_that_of_torch():
    torch.manual_seed(0)
    start, scale = torch.randn(7), torch.rand(7) + 0.1
    mine, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    ours, usual = Adam(0.1, [mine]), torch.optim.Adam([theirs], 0.1, betas=(0.9, 0.99))
    for _ in range(20):
        ours.step(torch.autograd.grad((scale * mine**2).sum(), [mine]))
        usual.zero_grad()
        (scale * theirs**2).sum().backward()
        usual.step()
    torch.testing.assert_close(mine, theirs)


def test_outside_the_outline_a_protected_photo_is_the_photo(guide):
    photo = np.asarray(fakes.portrait(9))
    result = Protector(natural.method(guide, SHORT)).protect(photo)
    inside = Image.new("1", photo.shape[1::-1])
    ImageDraw.Draw(inside).polygon([tuple(faces.meshes(faces.crops.open_photo(photo))[0][i]) for i in OVAL], fill=1)
    outside = ~np.asarray(inside)
    changed = np.asarray(result.image)
    assert (changed[outside] == photo[outside]).all()
    assert (changed[~outside] != photo[~outside]).any(-1).mean() > 0.3


def test_protect_takes_a_natural_look_unless_a_generator_is_named(monkeypatch):
    monkeypatch.setattr(recognizers, "at_hand", lambda names: [name for name in names if name in recognizers.OWN])
    method = protection.prepare().method
    assert method.name == natural.NAME and method.target == targets.NOBODY
    assert method.recognizers == recognizers.OWN and method.wear is not None
    with pytest.raises(ProtectionError, match="passes apply only to an any-target generator"):
        protection.prepare(passes=3)
    with pytest.raises(MethodError, match="omit the generator, or quick"):
        protection.prepare(natural.__file__, quick=True)
    with pytest.raises(MethodError, match="omit the generator, or stronger"):
        protection.prepare(natural.__file__, stronger=True)
    with pytest.raises(ProtectionError, match="quick and stronger contradict each other"):
        protection.prepare(quick=True, stronger=True)


def test_protect_searches_as_it_is_told(monkeypatch):
    monkeypatch.setattr(recognizers, "at_hand", lambda names: [name for name in names if name in recognizers.OWN])
    searches, method = [], natural.method
    monkeypatch.setattr(natural, "method", lambda guide, search: searches.append(search) or method(guide, search))
    for options in ({}, {"quick": True}, {"stronger": True}):
        protection.prepare(**options)
    assert searches == [natural.Search(), natural.QUICK, natural.STRONGER]
    assert natural.QUICK.steps < natural.Search().steps and natural.STRONGER.more > natural.Search().more


class Answering(torch.nn.Module):
    """A recogniser that gives the same hint for every face."""

    name, thresholds, gain = "answering", {}, torch.ones(1)

    def __init__(self, answer: float):
        super().__init__()
        self.answer = answer

    def embed(self, images, points=None):
        return images.mean((2, 3)) * 0 + self.answer


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [(float("nan"), MethodError, "values that are not finite"), (0.577, ProtectionError, "did not change")],
)
def test_hints_that_say_nothing_or_no_number_protect_nobody(answer, error, said):
    network = Answering(answer)
    nobody = targets.Target(targets.NOBODY, {network.name: torch.eye(3)[0].numpy()})
    subject = Protector(natural.method(Guide([network], nobody), Search(steps=2, visible=0)))
    with pytest.raises(error, match=said):
        subject.protect(fakes.portrait(3))
