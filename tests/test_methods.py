"""Methods by name: generators from a run's folder, attacks that look at the recognisers they are told."""

from dataclasses import replace

import fakes
import pandas as pd
import pytest
import torch
from fakes import SIZE, Projection
from torch import Tensor

from amtgan_lib import experiments, faces, methods, recognizers
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.methods import Method, MethodError, attacks, targets
from amtgan_lib.methods.attacks import ATTACKS
from amtgan_lib.models import Generator, save_generator
from amtgan_lib.recipes import RECIPES, RESIDUAL

TRAINED_AGAINST = ("first", "second", "third")


def crop(seed: int, size: int = SIZE) -> faces.FaceCrop:
    """Regions away from the landmarks, which are a grid: makeup alone is looked for where eyes are."""
    masks = torch.zeros(3, size, size)
    masks[0, 22:26, 10:22], masks[1, 6:20, 8:24], masks[2, 2:6, 8:24] = 1, 1, 1
    return replace(fakes.face_crop(fakes.smooth(1, size, seed)[0]), masks=masks)


CLEAN, REFERENCE, TARGET = crop(1), crop(2), crop(3)


@pytest.fixture
def loaded(monkeypatch) -> dict[str, Projection]:
    """The recognisers that were loaded, by name."""
    found: dict[str, Projection] = {}

    def load(name: str) -> Projection:
        assert name in TRAINED_AGAINST
        return found.setdefault(name, Projection(name))

    monkeypatch.setattr(recognizers, "load", load)
    return found


def of(name: str, run, trained_against=TRAINED_AGAINST) -> Method:
    return methods.build(name, run, "drawn_target/1", FaceBatch.of([TARGET]), trained_against)


def cosine(image: Tensor, network: Projection) -> float:
    return (network.embed(image[None], None) @ network.embed(TARGET.image[None], None).T).item()


# --- names --------------------------------------------------------------------------------------------------------


def test_every_recipe_and_every_attack_is_a_method():
    attacks_at_once_and_singly = {f"{name}{singly}" for name in ATTACKS for singly in ("", "_single")}
    assert {*RECIPES, *attacks_at_once_and_singly, "makeup_only", "any_target_nobody"} <= set(methods.NAMES)
    assert all(methods.check(name) == name for name in methods.NAMES)


@pytest.mark.parametrize("name", ["fgsm", "residual_single", "pgd_single_single", "", "_single"])
def test_an_unknown_method_is_refused_before_anything_is_loaded(name, loaded, tmp_path):
    said = f"there is no method '{name}'; there are natural, .*ti_dim_single, tip_im, tip_im_single"
    with pytest.raises(ValueError, match=said):
        methods.check(name)
    with pytest.raises(ValueError, match=said):
        of(name, tmp_path)
    assert not loaded


# --- attacks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", methods.GRADIENT)
def test_an_attack_changes_a_crop_within_its_bound_towards_the_target(name, loaded, tmp_path):
    protector = of(name, tmp_path)
    changed = protector.change(CLEAN, REFERENCE)
    attack = ATTACKS[name.removesuffix("_single")]
    least = 0.2 if attack.naturalness else 0.9  # which keeps it near the clean face
    assert changed.shape == CLEAN.image.shape and changed.abs().max() <= 1
    assert least * attack.bound < (changed - CLEAN.image).abs().max() <= attack.bound + 1e-6
    for network in loaded.values():
        assert cosine(changed, network) > cosine(CLEAN.image, network) + 0.05
    assert torch.equal(protector.change(CLEAN, TARGET), changed)  # the makeup plays no part
    assert torch.equal(protector.change(CLEAN, REFERENCE, strength=0.0), CLEAN.image)


def test_single_looks_at_the_first_recogniser_only(loaded, tmp_path):
    one = of("mi_fgsm_single", tmp_path)
    assert list(loaded) == ["first"] and (one.target, one.recognizers) == ("drawn_target/1", ("first",))
    changed = one.change(CLEAN, REFERENCE)
    all_three = of("mi_fgsm", tmp_path)
    assert list(loaded) == list(TRAINED_AGAINST) and all_three.recognizers == tuple(TRAINED_AGAINST)
    together = all_three.change(CLEAN, REFERENCE)
    first, second = loaded["first"], loaded["second"]
    assert cosine(changed, first) > cosine(together, first)
    assert cosine(changed, second) < cosine(together, second)
    assert torch.equal(of("mi_fgsm_single", tmp_path, ["first"]).change(CLEAN, REFERENCE), changed)


def test_an_attack_is_that_of_its_name(loaded, tmp_path):
    networks = [Projection(name) for name in TRAINED_AGAINST]
    targets = [network.embed(TARGET.image[None], None)[0] for network in networks]
    results = {}
    for name, attack in ATTACKS.items():
        results[name] = of(name, tmp_path).change(CLEAN, REFERENCE)
        own = [network.embed(CLEAN.image[None], None) for network in networks]
        expected = attacks.perturb(attack, FaceBatch.of([CLEAN]), targets, networks, own_embeddings=own)[0]
        torch.testing.assert_close(results[name], expected)
    assert not torch.equal(results["pgd"], results["mi_fgsm"])
    assert not torch.equal(results["mi_fgsm"], results["ti_dim"])
    assert not torch.equal(results["mi_fgsm"], results["tip_im"])


def test_an_attack_works_at_the_targets_size_and_writes_whole_photos(loaded, tmp_path):
    protector = of("pgd", tmp_path)
    assert (protector.size, protector.name) == (SIZE, "pgd") and not protector.writes_crops
    with pytest.raises(ValueError, match=r"expected crops of 32 px, got 48 and 32"):
        protector.change(crop(1, 48), REFERENCE)


# --- generators ---------------------------------------------------------------------------------------------------


def test_a_recipe_is_its_runs_generator(loaded, tmp_path):
    torch.manual_seed(0)
    network = Generator(8, 2, output="residual", bound=0.3).eval().requires_grad_(False)
    facts = {"recipe": "residual", "size": SIZE, "seed": 7}
    save_generator(network, tmp_path / "train" / "residual" / "generator.safetensors", facts)
    protector = of("residual", tmp_path)
    assert (protector.recipe, protector.size, protector.details["seed"]) == (RESIDUAL, SIZE, 7)
    sides = (CLEAN.image, REFERENCE.image, CLEAN.masks, REFERENCE.masks, CLEAN.landmarks, REFERENCE.landmarks)
    expected = network(*(side[None] for side in sides))[0]
    changed = protector.change(CLEAN, REFERENCE)
    torch.testing.assert_close(changed, expected.clamp(-1, 1))
    assert not torch.equal(changed, CLEAN.image)
    other = protector.change(CLEAN, replace(REFERENCE, image=-REFERENCE.image))
    assert not torch.equal(other, changed)  # here the makeup plays a part
    assert not loaded  # no recogniser is needed


def test_published_is_stretched_and_can_be_had_without(loaded, tmp_path):
    torch.manual_seed(0)
    network = Generator(8, 2).eval().requires_grad_(False)
    file = tmp_path / "train" / "published" / "generator.safetensors"
    save_generator(network, file, {"recipe": "published", "size": SIZE})
    stretched, level = (of(name, tmp_path) for name in ("published", "published_unstretched"))
    sides = (CLEAN.image, REFERENCE.image, CLEAN.masks, REFERENCE.masks, CLEAN.landmarks, REFERENCE.landmarks)
    drawn = network(*(side[None] for side in sides))[0]
    torch.testing.assert_close(level.change(CLEAN, REFERENCE), drawn)
    changed = stretched.change(CLEAN, REFERENCE)
    assert (changed.min(), changed.max()) == (pytest.approx(-1, abs=1e-5), pytest.approx(1, abs=1e-5))
    assert (level.name, stretched.name) == ("published_unstretched", "published")
    assert level.writes_crops and stretched.writes_crops  # the other quirk stays


def test_makeup_only_moves_lips_and_lids_and_knows_no_recogniser(loaded, tmp_path):
    protector = of("makeup_only", tmp_path)
    changed = protector.change(CLEAN, REFERENCE)
    moved = (changed - CLEAN.image).abs().amax(0) * CLEAN.masks[0]
    assert moved.max() > 0.05
    torch.testing.assert_close(protector.change(CLEAN, CLEAN), CLEAN.image)
    assert not loaded and protector.recognizers == ()


@pytest.fixture
def any_target(tmp_path, monkeypatch):
    """A run with an any-target generator; nobody is a point of its own."""
    torch.manual_seed(0)
    network = Generator(8, 2, output="residual", bound=0.3, transfer="makeup", hint_channels=6)
    torch.nn.init.normal_(network.manet.last.weight, std=0.05)
    facts = {"recipe": "any_target", "size": SIZE, "recognizers": ["first"], "target": "any"}
    save_generator(network, tmp_path / "train" / "any_target" / "generator.safetensors", facts)

    def nobody(networks, known=None) -> targets.Target:
        return targets.Target("nobody", {each.name: torch.linspace(-1, 1, 12) for each in networks})

    monkeypatch.setattr(targets, "nobody", nobody)
    return tmp_path


def test_an_any_target_generator_is_told_whom_to_approach(any_target, loaded):
    person, nobody = of("any_target", any_target), of("any_target_nobody", any_target)
    assert (person.target, nobody.target) == ("drawn_target/1", "nobody")
    assert person.recognizers == nobody.recognizers == tuple(sorted(TRAINED_AGAINST))
    assert not torch.equal(person.change(CLEAN, REFERENCE), nobody.change(CLEAN, REFERENCE))


def test_bare_leaves_the_makeup_off(any_target, loaded):
    dressed, bare = of("any_target", any_target), of("any_target_bare", any_target)
    assert torch.equal(bare.change(CLEAN, REFERENCE), dressed.change(CLEAN, CLEAN))
    assert not torch.equal(bare.change(CLEAN, REFERENCE), dressed.change(CLEAN, REFERENCE))


def test_more_passes_change_more(any_target, loaded):
    target = FaceBatch.of([TARGET])
    once, twice = (
        methods.build("any_target_bare", any_target, "t", target, TRAINED_AGAINST, passes=passes) for passes in (1, 2)
    )
    first, second = (each.change(CLEAN, REFERENCE) for each in (once, twice))
    assert (second - CLEAN.image).abs().mean() > 1.2 * (first - CLEAN.image).abs().mean()


def test_every_face_gets_the_makeup_of_one_reference(any_target, loaded):
    dressed = of("any_target", any_target)
    worn = methods.in_makeup_of(dressed, REFERENCE)
    assert torch.equal(worn.change(CLEAN, CLEAN), dressed.change(CLEAN, REFERENCE))
    assert not torch.equal(worn.change(CLEAN, CLEAN), dressed.change(CLEAN, CLEAN))


def test_a_method_confined_to_a_region_leaves_the_rest():
    brighter = Method("brighter", lambda crop, _: crop.image + 0.3, SIZE)
    for index, method in enumerate(methods.by_region(brighter).values()):
        changed = (method.change(CLEAN, CLEAN) != CLEAN.image).any(dim=0)
        assert changed.any() and not changed[CLEAN.masks[index] == 0].any()


def test_a_share_of_a_method_is_that_share_of_its_change():
    brighter = Method("brighter", lambda crop, _: crop.image.clamp(max=0.5) + 0.4, SIZE)
    whole = brighter.altered(CLEAN, CLEAN).added
    for share in (0, 0.25, 1):
        part = replace(brighter, share=share)
        torch.testing.assert_close(part.altered(CLEAN, CLEAN).added, share * whole)
        torch.testing.assert_close(part.altered(CLEAN, CLEAN, 0.5).added, 0.5 * share * whole)


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_without_the_generator_says_so_in_one_sentence(name, loaded, tmp_path):
    with pytest.raises(MethodError) as caught:
        of(name, tmp_path)
    file = tmp_path / "train" / name / "generator.safetensors"
    assert str(caught.value) == f"{file}: there is no such generator file; notebook 03_train writes one"


# --- side by side -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", methods.VISIBILITY)
def test_a_method_is_weakened_to_the_visibility_that_is_asked_for(loaded, tmp_path, measure):
    strong, faces_at_hand = of("mi_fgsm", tmp_path), [CLEAN, TARGET]
    seen = methods.visibility(strong, faces_at_hand, measure)
    weak = methods.weakened(strong, faces_at_hand, seen / 2, measure)
    assert methods.visibility(weak, faces_at_hand, measure) == pytest.approx(seen / 2, rel=0.02)
    assert 0 < weak.details["strength"] < 1 and "strength" not in strong.details


def test_a_method_that_is_hardly_seen_stays_as_it_is(loaded, tmp_path):
    strong = of("mi_fgsm", tmp_path)
    assert methods.weakened(strong, [CLEAN], methods.visibility(strong, [CLEAN]) + 0.01) is strong


def test_a_remembered_method_is_computed_once_a_face_and_reference(loaded, tmp_path):
    counted, asked = [], of("mi_fgsm", tmp_path)
    method = replace(asked, draw=lambda crop, reference: counted.append(crop) or asked.draw(crop, reference))
    remembered = methods.remembered(method)
    first, again = (remembered.change(CLEAN, REFERENCE) for _ in range(2))
    assert torch.equal(first, again) and torch.equal(first, asked.change(CLEAN, REFERENCE)) and len(counted) == 1
    remembered.change(CLEAN, CLEAN), methods.bare(remembered).change(CLEAN, REFERENCE)
    assert len(counted) == 2  # a bare face is its own reference
    assert not torch.equal(remembered.change(TARGET, CLEAN), first) and len(counted) == 3


def test_seconds_a_face_are_the_median_of_calls_after_a_first(loaded, tmp_path, monkeypatch):
    clock, calls = [0.0], []

    def slow(crop, reference):
        calls.append((crop, reference))
        clock[0] += [100.0, 1.0, 2.0, 9.0][len(calls) - 1]
        return crop.image

    monkeypatch.setattr(methods.catalogue.time, "perf_counter", lambda: clock[0])
    method = replace(of("mi_fgsm", tmp_path), draw=slow)
    assert methods.seconds_a_face(method, [CLEAN, TARGET, REFERENCE]) == 2.0
    assert [list(map(id, pair)) for pair in calls] == [
        list(map(id, pair)) for pair in [(CLEAN, CLEAN), (CLEAN, TARGET), (TARGET, REFERENCE), (REFERENCE, CLEAN)]
    ]


def test_each_method_writes_into_a_folder_of_its_name(loaded, tmp_path):
    pairs = pd.DataFrame({"probe": ["p.png"], "source": ["clean"], "reference": ["makeup"]})
    protectors = {name: of(name, tmp_path) for name in ("pgd", "makeup_only")}

    def protect_pairs(method, pairs, folder, progress, crop):
        return pairs.assign(protected=str(folder / "p.png"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments.pairs, "protect_pairs", protect_pairs)
        reports, seconds = experiments.protect_each(protectors, pairs, tmp_path / "out")
    assert [report["protected"][0] for report in reports.values()] == [
        str(tmp_path / "out" / name / "p.png") for name in protectors
    ]
    assert reports["pgd"]["trained_against"][0] == " ".join(TRAINED_AGAINST) and all(s >= 0 for s in seconds.values())


# --- who knew what ------------------------------------------------------------------------------------------------


def test_another_seed_is_another_start(loaded, tmp_path):
    target = FaceBatch.of([TARGET])
    first, second, again = (
        methods.build("pgd", tmp_path, "t", target, TRAINED_AGAINST, seed).change(CLEAN, REFERENCE)
        for seed in (0, 1, 0)
    )
    assert torch.equal(first, again) and not torch.equal(first, second)


def test_a_report_says_what_its_method_knew_and_a_judge_among_them_is_refused(loaded, tmp_path):
    target = FaceBatch.of([TARGET])
    attack = methods.build("pgd", tmp_path, "drawn_target/1", target, ("first", "second"))
    report = experiments.signed(pd.DataFrame({"probe": ["a.png", "b.png"]}), attack)
    assert report["trained_against"].tolist() == ["first second"] * 2
    report["trained_against"] = "drawn_ir drawn_mobile"
    reports = {"pgd": report}
    experiments.check_reports(reports, "drawn_target/1", ["drawn_inception"], "family")
    experiments.check_reports(reports, "drawn_target/1", ["drawn_irse"], "leave one out")
    for judges, split in ((["drawn_mobile"], "leave one out"), (["drawn_irse"], "family")):
        with pytest.raises(ValueError, match=r"^pgd: .*cannot judge.*04_protect"):
            experiments.check_reports(reports, "drawn_target/1", judges, split)
    with pytest.raises(ValueError, match="pgd was made for drawn_target/1, not for drawn_target/2"):
        experiments.check_reports(reports, "drawn_target/2", ["drawn_inception"], "family")
