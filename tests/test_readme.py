"""What README.md and docs/ say is true: numbers are those of the stored rows, named files and commands exist."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from test_dependencies import ORDER

from amtgan_lib import __main__ as command_line
from amtgan_lib import paths
from amtgan_lib.cli import results as command
from amtgan_lib.cli.table import COMMANDS
from amtgan_lib.reporting import front_page, pages, results, stored

PAGES = [paths.ROOT / "README.md", *sorted(paths.DOCS.glob("*.md"))]
PARTS = pages.parts(command.makers())

# (stored table, recogniser) whose rows were judged by other weights than today's, each with its reason. The table must
# be measured again; until then docs/results.md says so below it.
OTHER_WEIGHTS = {
    # Same tensors, other thresholds in its header; it gave hints there and is no judge of any shown rate.
    ("any-target", "distilled"),
}
# Handwritten measurements without stored rows.
UNSTORED = {"performance.md", "gpu.md"}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_pages_and_figures_are_those_of_the_stored_rows(part):
    assert not part.stale(), f"{part.name} is stale: run `make results`"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in UNSTORED], ids=lambda page: page.name)
def test_no_measured_number_is_written_by_hand(page):
    text = page.read_text(encoding="utf-8")
    links, exempt = r"\]\([^)]*\)", r"FAR\)? (of )?0\.01|95 % intervals"
    for generated in (pages.BLOCK, pages.VALUE, r"(?s)```.*?```", r"`[^`]*`", links, exempt):
        text = re.sub(generated, " ", text)
    numbers = r"\d[\d.]* ?%|\b0\.\d+|\d+ (?:of|in) \d+|\d[\d.]* (?:seconds?|minutes?|hours?)\b"
    assert re.findall(numbers, text) == []


def whole_runs():
    """The stored tables of whole runs: those with the rows of notebook 05."""
    files = sorted(paths.MEASURED.glob("*.csv"))
    return [file.stem for file in files if "\nblack_box_success," in file.read_text(encoding="utf-8")]


def test_every_stored_run_is_on_the_page_of_results():
    text = (paths.DOCS / "results.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- results-([\w-]+):start -->", text)) == set(whole_runs())


def test_the_stored_rows_carry_their_provenance():
    for name in whole_runs():
        table = stored.stored(name)
        assert list(table.columns) == results.COLUMNS
        assert (table["source"] == "measured").all() and (table["n"] > 0).all()
        assert table["commit"].str.fullmatch(r"[0-9a-f]{7,40}(-dirty)?").all(), name
        assert set(table.loc[table["metric"] == "impersonation", "method"]) >= {"clean"}


def test_the_stored_rows_were_judged_by_the_weights_of_today():
    tables = {
        file.stem: results.read(file) for file in paths.MEASURED.glob("*.csv") if "weights_sha256" in header(file)
    }
    assert len(tables) > 10
    assert {(name, judge) for name, table in tables.items() for judge in stored.superseded(table)} == OTHER_WEIGHTS


def header(file: Path) -> str:
    return file.read_text(encoding="utf-8").partition("\n")[0]


def test_linked_files_and_sections_exist():
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
            file, _, section = link.partition("#")
            target = page.parent / file if file else page
            assert target.exists(), f"{page.name} links to {link}, which is not there"
            assert not section or section in sections(target), f"{page.name} links to {link}: no such section"


def sections(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_named_make_targets_and_commands_exist():
    makefile = (paths.ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in set(
            re.findall(r"`?make ([a-z-]+)(?=[`\s])", "\n".join(re.findall(r"`[^`]+`|^make .*", text, re.M)))
        ):
            assert re.search(rf"^{target}:", makefile, re.M), f"{page.name} names make {target}"
        assert set(re.findall(r"python -m amtgan_lib ([a-z]+)", text)) <= set(COMMANDS), page.name


def test_every_notebook_is_in_the_readme():
    for notebook in sorted(set(paths.NOTEBOOKS.glob("*.ipynb")) - {paths.NOTEBOOKS / "index.ipynb"}):
        assert notebook.name in PAGES[0].read_text(encoding="utf-8")


def test_the_page_of_design_has_every_layer_in_its_order():
    text = (paths.DOCS / "design.md").read_text(encoding="utf-8")
    layers = text.partition("## Layers")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", layers, re.M)) == ORDER


# ---------------------------------------------------------------- the command


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A copy of the pages, rows and figures, and in README.md a number that is not the rows'."""
    for name in ("docs", "results/measured", "results/figures"):
        shutil.copytree(paths.ROOT / name, tmp_path / name)
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(re.sub(r"\| \d+ to \d+ \|", "| 99 |", text, count=1), encoding="utf-8")
    for name, folder in (
        ("ROOT", ""),
        ("DOCS", "docs"),
        ("MEASURED", "results/measured"),
        ("FIGURES", "results/figures"),
    ):
        monkeypatch.setattr(paths, name, tmp_path / folder)
    return tmp_path


def test_check_finds_what_is_stale_and_writes_nothing(checkout, capsys):
    before = (checkout / "README.md").read_bytes()
    assert command_line.main(["results", "--check"]) == 1
    stale = [line for line in capsys.readouterr().out.splitlines() if "stale" in line]
    assert [line.partition(":")[0] for line in stale] == ["README.md"]
    assert (checkout / "README.md").read_bytes() == before
    assert command_line.main(["results", "--check", "--only", "results.md"]) == 0


def test_results_makes_the_pages_again_and_then_finds_them_up_to_date(checkout):
    assert command_line.main(["results", "--only", "README.md"]) == 0
    assert (checkout / "README.md").read_bytes() == PAGES[0].read_bytes()
    assert command_line.main(["results", "--check"]) == 0


def test_a_figure_is_stale_when_its_rows_have_changed(checkout):
    rows, name = checkout / "results" / "measured" / "open-small.csv", "open-small_success.png"
    table = results.read(rows)
    results.write(table.assign(value=table["value"].where(table["metric"] != "dodging", 0.5)), rows)
    assert command_line.main(["results", "--check", "--only", name]) == 1
    assert command_line.main(["results", "--only", name]) == 0
    assert command_line.main(["results", "--check", "--only", name]) == 0
    with Image.open(checkout / "results" / "figures" / name) as picture:
        assert picture.width > 1000


def test_a_file_that_is_not_generated_is_refused(capsys):
    assert command_line.main(["results", "--only", "result.md"]) == 2
    assert "results.md" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<!-- = any-target; any_target; dodging -->1<!-- / --> %", "92"),
        ("<!-- = any-target; clean; rank-1 -->1<!-- / --> %", "88 to 89"),
        ("<!-- = any-target; any_target; ssim -->1<!-- / -->", "0.934"),
    ],
)
def test_a_number_in_a_sentence_is_that_of_the_held_out_judges(text, expected):
    assert f"-->{expected}<!--" in pages.rendered(text, {})


@pytest.mark.parametrize(
    "text", ["<!-- = any-target; nobody; ssim -->1<!-- / -->", "<!-- nothing:start -->\n\n<!-- nothing:end -->"]
)
def test_what_no_row_has_is_refused(text):
    with pytest.raises(ValueError, match="no"):
        pages.rendered(text, {})


def test_an_empty_block_is_filled():
    empty = "<!-- mine:start -->\n<!-- mine:end -->"
    whole = "<!-- mine:start -->\nrows\n<!-- mine:end -->"
    for text in (empty, whole):
        assert pages.rendered(text, {"mine": lambda: "rows"}) == whole


def test_a_notebook_without_stored_minutes_has_none(monkeypatch):
    speed = stored.stored("speed")
    rows = speed.iloc[:2].assign(
        dataset="run, procedural", method=["03_train-residual", "03_train-published"], value=90.0
    )
    # README.md speaks of machines with native bfloat16, whichever was measured first.
    slow, native = rows.assign(device="CPU, AVX2", value=600.0), rows.assign(device="CPU, AVX512, bfloat16")
    both = pd.concat([slow, native])
    for table, minutes in ((rows, "3.0"), (rows.iloc[:0], ""), (both, "3.0"), (both[::-1], "3.0")):
        monkeypatch.setattr(front_page, "stored", lambda _, table=table: table)
        cells = [line.split(" | ") for line in front_page.notebooks().splitlines() if "03_train" in line]
        assert cells[0][-1].strip(" |") == minutes
