"""What the README says is true: its tables come from the stored results, its files and commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from amtgan_lib import paths, recognizers
from amtgan_lib.reporting import results
from benchmarks.speed import speeds

DOCS = paths.ROOT / "docs"
README = (paths.ROOT / "README.md").read_text(encoding="utf-8")


RUNS = [
    path for path in sorted(paths.MEASURED.glob("*.csv")) if "black_box_success" in path.read_text(encoding="utf-8")
]


def block(name: str, page: Path = paths.ROOT / "README.md") -> str:
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name}:start -->\n(.*?)\n<!-- {name}:end -->", text, re.S)
    assert found, f"{page.name} has no block {name}"
    return found[1].strip()


@pytest.mark.parametrize("name", re.findall(r"<!-- results-([a-z-]+):start -->", README))
def test_the_results_table_is_generated_from_the_stored_rows(name):
    table = results.read(paths.MEASURED / f"{name}.csv")
    judges = sorted(set(table.loc[table["note"] == "held out", "recogniser"]))
    recognizers.refuse_overlap(set(table.loc[table["note"] == "trained against", "recogniser"]), judges)
    assert block(f"results-{name}") == results.summary(table, judges).strip()


def equal_visibility() -> str:
    """The comparison at equal visibility as a table: two limits side by side, means of the two judges."""
    tables = [results.read(paths.MEASURED / f"any-target-equal-{limit}.csv") for limit in ("ssim", "visible")]
    methods = [name for name in dict.fromkeys(tables[0]["method"]) if not name.endswith((" jpeg75", " half"))]
    rates = ("impersonation", "dodging", "rank-1", "rank-5")
    lines = [f"| method | {' | '.join(rates)} | SSIM | visible | seconds |", "| --- |" + " --- |" * 7]
    for method in methods:
        rows = [table[table["method"] == method] for table in tables]
        means = [each.groupby("metric")["value"].mean() for each in rows]
        cells = [" / ".join(f"{100 * mean[rate]:.1f}".removesuffix(".0") for mean in means) for rate in rates]
        for measure, digits in (("ssim", 3), ("visible", 1)):
            cells.append(" / ".join(f"{mean[measure]:.{digits}f}" for mean in means) if measure in means[0] else "")
        seconds = rows[0]["seconds"].dropna()
        cells.append(f"{seconds.iloc[0]:.2f}" if len(seconds) else "")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_comparison_at_equal_visibility_is_that_of_the_stored_rows():
    assert block("equal-visibility") == equal_visibility()


def test_the_speeds_are_the_stored_ones():
    table = results.read(paths.MEASURED / "speed.csv")
    assert block("speed", DOCS / "performance.md") == speeds(table)


def test_every_stored_run_is_in_the_readme():
    stored = {path.stem for path in RUNS}
    assert set(re.findall(r"<!-- results-([a-z-]+):start -->", README)) == stored


def test_the_stored_rows_carry_their_provenance():
    for path in RUNS:
        table = results.read(path)
        assert list(table.columns) == results.COLUMNS
        assert (table["source"] == "measured").all() and (table["n"] > 0).all()
        assert table["commit"].str.fullmatch(r"[0-9a-f]{7,40}(-dirty)?").all(), path
        assert set(table.loc[table["metric"] == "impersonation", "method"]) >= {"clean"}


def test_linked_files_exist():
    for page in (paths.ROOT / "README.md", *DOCS.glob("*.md")):
        for link in re.findall(r"\]\((?!https?:|#)([^)]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link.split("#")[0]).exists(), f"{page.name} links to {link}, which is not there"


def test_named_make_targets_and_commands_exist():
    makefile = (paths.ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.M), f"README.md names make {target}"
    help_text = subprocess.run(
        [sys.executable, "-m", "amtgan_lib", "--help"], capture_output=True, text=True, check=True, cwd=paths.ROOT
    ).stdout
    for command in set(re.findall(r"python -m amtgan_lib ([a-z]+)", README)):
        assert re.search(rf"^  {command}\b", help_text, re.M), f"README.md names the command {command}"


def test_every_notebook_is_in_the_readme():
    for notebook in sorted(Path(paths.NOTEBOOKS).glob("[0-9]*.ipynb")):
        assert notebook.stem in README
