"""The benchmarks: what they count, what they compare, and that each of them runs."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from amtgan_lib import paths
from amtgan_lib.models import Generator
from amtgan_lib.reporting import results
from benchmarks import bench as measuring
from benchmarks import measured, published, speed


def test_flops_are_those_of_each_weight_at_each_position():
    picture = torch.randn(1, 4, 8, 8)
    plain, halving = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 6, 4, stride=2, padding=1)
    doubling = nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1)
    network = nn.Sequential(plain, nn.ReLU(), plain.__class__(6, 4, 1))
    assert [layer.flops for layer in speed.layers(network, picture)] == [2 * 4 * 6 * 9 * 64, 2 * 6 * 4 * 64]
    assert speed.Layer(halving, picture).flops == 2 * 4 * 6 * 16 * 16
    assert speed.Layer(doubling, picture).flops == 2 * 4 * 6 * 16 * 64


def test_all_convolutions_of_the_published_generator_are_counted():
    """Counted by hand: stems, downs, 18 convolutions of the blocks, ups, last."""
    network = Generator(width=64).eval()
    with torch.no_grad():
        found = speed.layers(network, *measuring.sides(measuring.pair(64)))
    stems, downs = 2 * 2 * 49 * 3 * 64 * 64**2, 2 * (2 * 16 * 64 * 128 * 32**2 + 2 * 16 * 128 * 256 * 16**2)
    blocks, matrices = 18 * 2 * 9 * 256**2 * 16**2, 2 * 2 * 256 * 16**2
    ups, last = 2 * 16 * 256 * 128 * 16**2 + 2 * 16 * 128 * 64 * 32**2, 2 * 49 * 64 * 3 * 64**2
    assert sum(layer.flops for layer in found) == stems + downs + blocks + matrices + ups + last


def test_the_published_way_draws_the_same_picture():
    torch.manual_seed(0)
    network = Generator(width=8).eval()
    inputs = measuring.sides(measuring.pair(64))
    plain = published.generator_of(network)
    with torch.no_grad():
        expected = plain(*inputs)
        torch.testing.assert_close(network(*inputs), expected, atol=1e-4, rtol=0)
        plain.prepared = published.positions(inputs[4], inputs[2]), published.positions(inputs[5], inputs[3])
        assert torch.equal(plain(*inputs), expected)


def test_works_take_turns_and_the_first_turn_does_not_count(monkeypatch):
    clock, order = [0.0], []

    def work(name: str, seconds: list[float]):
        order.append(name)
        clock[0] += seconds.pop(0)

    monkeypatch.setattr(measuring.time, "perf_counter", lambda: clock[0])
    slow, quick = [100.0, 4.0, 6.0, 5.0], [100.0, 1.0, 1.0, 2.0]
    taken = measuring.Bench(repeats=3).seconds(
        {"slow": lambda: work("slow", slow), "quick": lambda: work("quick", quick)}
    )
    assert taken == {"slow": 5.0, "quick": 1.0} and order == ["slow", "quick"] * 4


def test_small_works_run_and_are_stored_as_rows(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(paths, "MEASURED", tmp_path)
    monkeypatch.setattr(paths, "DOCS", tmp_path)
    page = tmp_path / "performance.md"
    page.write_text("Before.\n<!-- speed:start -->\nold\n<!-- speed:end -->\nAfter.\n")
    speed.main(["histogram", "import", "--repeats", "1", "--store"])
    table = results.read(tmp_path / "speed.csv").set_index(["dataset", "method", "metric"])["value"]
    skin = table[f"histogram loss, skin, {speed.SIZE} px"]
    assert skin["float32", "times as fast"] == pytest.approx(skin["published", "seconds"] / skin["float32", "seconds"])
    assert skin["float32", "times as fast"] > 5
    assert table["import amtgan_lib"].iloc[0] > 0
    said = page.read_text()
    assert said.startswith("Before.\n") and said.endswith("\nAfter.\n") and "old" not in said
    assert "| import amtgan_lib |" in said
    assert "times as fast" in capsys.readouterr().out


def test_stored_again_a_work_replaces_its_own_rows_alone(monkeypatch, tmp_path):
    bench = measuring.Bench()
    for what, value in (("a", 1.0), ("b", 2.0)):
        bench.note(what, "way", "seconds", value)
    file = speed.store(results.frame(speed.stored(bench)), tmp_path / "speed.csv")
    again = measuring.Bench()
    again.note("a", "other way", "seconds", 3.0)
    speed.store(results.frame(speed.stored(again)), file)
    elsewhere = results.frame(speed.stored(again)).assign(device="another")
    speed.store(elsewhere, file)
    other_metric = results.frame(speed.stored(again)).assign(metric="seconds a step")
    speed.store(other_metric, file)
    found = results.read(file)[["dataset", "method", "metric", "value", "device"]].values.tolist()
    here = speed.machine("cpu")
    assert found == [
        ["b", "way", "seconds", 2.0, here],
        ["a", "other way", "seconds", 3.0, here],
        ["a", "other way", "seconds", 3.0, "another"],
        ["a", "other way", "seconds a step", 3.0, here],
    ]


def test_a_profile_says_where_the_time_of_a_step_goes():
    bench = measuring.Bench()
    narrow = {"width": 8, "regularizer_blocks": 1, "regularizer_width": 8, "discriminator_width": 8}
    narrow |= {"bottlenecks": 1, "views": 1}
    speed.profile(bench, 64, precision="float32", **narrow)
    shares = {way: value for _, way, metric, value, _ in bench.rows if metric == "share of the time"}
    assert len(shares) == 10 and 0.5 < sum(shares.values()) <= 1
    assert {"aten::convolution_backward", "aten::mkldnn_convolution"} < set(shares)
    (calls,) = [value for *_, metric, value, _ in bench.rows if metric == "calls"]
    assert calls > 10_000


def test_faces_a_second_are_those_of_whole_batches(monkeypatch):
    monkeypatch.setattr(speed, "SIZE", 64)
    bench = measuring.Bench()

    def seconds(works, _):
        return {way: len(work()) / 8 for way, work in works.items()}

    monkeypatch.setattr(bench, "seconds", seconds)
    speed.inference(bench)
    assert [(what, way, value) for what, way, _, value, _ in bench.rows] == [
        ("generator, 64 px, batch 4", way, 8.0) for way in ("float32", "bfloat16")
    ]


def test_portraits_a_second_are_counted_on_one_thread(monkeypatch):
    drawn, threads = [], []

    def draw(who, worn, moments, size):
        drawn.append(len(who))
        threads.append(torch.get_num_threads())

    monkeypatch.setattr(speed.portraits, "draw", draw)
    before, bench = torch.get_num_threads(), measuring.Bench()
    speed.drawing(bench)
    assert drawn == [2, 32, 32, 32] and set(threads) == {1} and torch.get_num_threads() == before
    ((_, _, metric, value, n),) = bench.rows
    assert metric == "portraits a second" and value > 0 and n == 3


def test_what_a_laptop_has_no_memory_for_is_measured_only_when_named(monkeypatch):
    measured = []
    monkeypatch.setattr(speed, "WORKS", {name: lambda bench, name=name: measured.append(name) for name in speed.WORKS})
    speed.main([])
    assert "memory" not in measured and len(measured) == len(speed.WORKS) - len(speed.LARGE)
    speed.main(["memory"])
    assert measured[-1] == "memory"


def test_a_work_that_there_is_not_is_said(capsys):
    with pytest.raises(SystemExit):
        speed.main(["generatr"])
    assert "no work generatr; there are generator" in capsys.readouterr().err


def stood_in(monkeypatch, tmp_path):
    """`benchmarks.measured` in an empty folder, at a clean commit; its commands write rows and measure nothing."""
    rows, asked = results.read(paths.MEASURED / "procedural.csv"), []

    def run(*words):
        asked.append(words[0])
        if "amtgan_lib" in words:
            folder = paths.RUNS / words[words.index("--run-id") + 1]
            for kind in ("tables", "figures"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
            for name in {name for names in measured.DRAWN.values() for name in names}:
                results.write(rows[(rows.recogniser == "") == (name[:2] == "06")], folder / "tables" / f"{name}.csv")
            (folder / "run.json").touch()
            if asked.count("amtgan_lib") > 1:
                (folder / "figures" / "06_makeup.png").write_bytes(b"picture")
        else:
            results.write(rows, Path(words[-1]) / f"{words[1]}.csv")

    monkeypatch.setattr(measured, "run", run)
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "MEASURED", tmp_path / "measured")
    monkeypatch.setattr(paths, "PREPARED", tmp_path)
    monkeypatch.setattr(results, "commit", lambda: "0123456789")
    for name in ("measured", "figures"):
        (tmp_path / name).mkdir()
    (tmp_path / "open.npz").touch()
    return rows, asked


def test_parts_are_measured_once_a_commit_and_kept_whole_or_not_at_all(monkeypatch, tmp_path, capsys):
    rows, asked = stood_in(monkeypatch, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"06_makeup\.png"):  # interrupted, say
        measured.main(["procedural"])
    measured.main(["--keep"])
    assert "nothing is done" in capsys.readouterr().out and not list((tmp_path / "measured").iterdir())
    measured.main(["natural", "procedural"])
    measured.main(["natural", "procedural"])
    assert asked == ["amtgan_lib", "benchmarks.looks", "amtgan_lib"]
    listed = capsys.readouterr().out
    assert re.search(r"^procedural +done$", listed, re.MULTILINE) and "open-small               about 45" in listed
    measured.main(["--keep"])
    stored = {path.name for path in (tmp_path / "measured").iterdir()}
    assert stored == {"natural.csv", *(f"{name}.csv" for name in measured.DRAWN)}
    assert len(results.read(tmp_path / "measured" / "procedural.csv")) == len(rows)
    assert (tmp_path / "figures" / "procedural_makeup.png").read_bytes() == b"picture"


def test_rows_of_a_changed_checkout_and_parts_that_there_are_not_are_refused(monkeypatch, tmp_path, capsys):
    _, asked = stood_in(monkeypatch, tmp_path)
    for commit, part, said in (
        ("0123-dirty", "natural", "commit what has changed"),
        ("0123", "natual", "no part natual"),
    ):
        monkeypatch.setattr(results, "commit", lambda commit=commit: commit)
        with pytest.raises(SystemExit):
            measured.main([part])
        assert said in capsys.readouterr().err
    assert not asked


def test_every_stored_table_has_a_part_or_is_named_as_having_none():
    made = {Path(file).stem for part in measured.PARTS.values() for file in part.files if file.startswith("measured")}
    assert made | measured.APART == {path.stem for path in paths.MEASURED.glob("*.csv")}
    assert not made & measured.APART
