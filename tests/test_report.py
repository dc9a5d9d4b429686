"""The page about a run: what it shows, of a run that is done, failed, interrupted, or half gone."""

import json
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from amtgan_lib.pipeline import report, report_tables, runs
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import Row

VOID = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    """Tags that are closed in their order, links, text, and the tables as lists of lines."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tags, self.links, self.text, self.tables = [], [], [], "", []
        self.feed(text)
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("href", "src")]
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += f"{data} "

    def line(self, first: str) -> list[str]:
        """Cells of the line that has this cell."""
        lines = [[cell.strip() for cell in line] for table in self.tables for line in table]
        return next(line for line in lines if first in line)


def png(path: Path, width: int, height: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(head))
    )
    return path


def rate(method, recogniser, metric, value, note="held out", dataset="drawn test", **more):
    keys = {"experiment": "black_box_success", "preset": "procedural", "target": "drawn/1", "far": 0.01, "n": 63}
    ends = {"ci_low": max(value - 0.1, 0), "ci_high": min(value + 0.1, 1)}
    own = {"method": method, "recogniser": recogniser, "metric": metric, "value": value, "note": note}
    return Row(**{**keys, **ends, **own, "dataset": dataset, **more})


def table_1(**more):
    return results.frame(
        rate(method, name, metric, value, note, **more)
        for name, note in (("judge", "held out"), ("cousin", "trained against"))
        for method, value in (("clean", 0.0), ("residual <b>", 0.175))
        for metric in ("impersonation", "dodging")
    )


def table_2():
    values = {"psnr": 29.386, "ssim": 0.9476, "lip before": 33.36, "lip after": 13.99, "lip error before": 32.8}
    values |= {"lip error after": 14.58, "face error before": 4.95, "face error after": 11.547}
    return results.frame(
        rate("residual", "", metric, value, note="", far=None, ci_low=value * 0.9, ci_high=value * 1.1)
        for metric, value in values.items()
    )


@pytest.fixture
def run_dir(tmp_path):
    """The folder of a run whose name must be quoted, as a run leaves it."""
    folder = tmp_path / "procedural #1"
    results.write(table_1(), folder / "tables" / "05_black_box_success.csv")
    results.write(table_2(), folder / "tables" / "06_image_quality.csv")
    (folder / "tables" / "02_thresholds.csv").write_text(
        "recogniser,far,threshold,ci_low,ci_high,people,impostor_pairs\n"
        "judge,0.1,0.2071,0.19,0.22,117,13572\njudge,0.01,0.41696,0.389,0.453,117,13572\n"
    )
    (folder / "tables" / "05_scores.csv").write_text("target\n" + "0.5\n" * 1764)
    (folder / "notebooks").mkdir()
    for name in ("05_black_box_success", "04_protect-residual"):
        (folder / "notebooks" / f"{name}.ipynb").write_text("{}")
    runs.register_output(folder, png(folder / "figures" / "a b.png", 1600, 400), "Table 1 <as> a figure")
    runs.register_output(folder, png(folder / "figures" / "c.png", 400, 400), "Before and after")
    runs.register_output(folder, folder / "tables" / "05_scores.csv", "Raw scores", kind="table")
    done = {"status": "done", "seconds": 30.4, "parameters": {"preset": "procedural"}}
    with runs.edit(folder) as state:
        state |= {"run_id": folder.name, "preset": "procedural", "commit": "dba41eb-dirty", "status": "done"}
        state |= {"started": runs.now(), "finished": "2026-11-25T00:31:34.975401+00:00", "machine": "CPU x, 2 cores"}
        state |= {"parameters": {}, "overrides": {"seed": "1"}, "versions": {"torch": "2.11.0", "timm": None}}
        state["plan"] = ["04_protect-residual", "05_black_box_success"]
        state["notebooks"] = {
            "04_protect-residual": {**done, "parameters": {"method": "residual", "preset": "procedural"}},
            "05_black_box_success": {**done, "seconds": 61},
        }
        for output in state["outputs"]:
            output["step"] = "05_black_box_success"
    return folder


def written(folder: Path) -> Page:
    path = report.write(folder)
    assert path == folder / "report.html" and not list(folder.glob(".report*"))
    return Page(path.read_text(encoding="utf-8"))


# A run that is done


def test_the_head_names_preset_commit_date_machine_and_time(run_dir):
    text = written(run_dir).text
    for words in (
        "procedural",
        "dba41eb-dirty",
        "25 November 2026, 00:31 UTC",
        "CPU x, 2 cores",
        "1:31 in 2 note",
    ):
        assert words in text


def test_nothing_of_a_network_and_no_script_is_in_the_page(run_dir):
    page = written(run_dir)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not [link for link in page.links if re.match(r"[a-z]+:|//|/", link)]
    text = (run_dir / "report.html").read_text()
    assert "url(" not in text and "@import" not in text


def test_every_link_leads_to_something(run_dir):
    (run_dir / "values").mkdir()
    page = written(run_dir)
    anchors = {link[1:] for link in page.links if link.startswith("#")}
    text = (run_dir / "report.html").read_text()
    assert anchors == {"tables", "figures", "notebooks", "provenance"}
    assert all(f'id="{anchor}"' in text for anchor in anchors)
    files = [link for link in page.links if not link.startswith("#")]
    assert {"figures/a%20b.png", "notebooks/04_protect-residual.ipynb", "tables/05_scores.csv"} <= set(files)
    assert [link for link in files if not (run_dir / unquote(link)).exists()] == []


def test_rates_are_in_per_cent_with_their_intervals(run_dir):
    page = written(run_dir)
    assert page.line("residual <b>") == ["residual <b>", "17.5 7.5 - 27.5", "17.5 7.5 - 27.5"]
    assert page.line("clean") == ["clean", "0.0 0.0 - 10.0", "0.0 0.0 - 10.0"]
    assert "width:20.0%" in (run_dir / "report.html").read_text()


def test_held_out_recognisers_come_first_and_the_others_are_folded_away(run_dir):
    written(run_dir)
    text = (run_dir / "report.html").read_text()
    assert "Recognisers that took no part in training: judge" in text
    held_out, trained = text.index("took no part in training: judge"), text.index("<summary>Recognisers that took part")
    assert text.index("Table 1: are") < held_out < trained < text.index("Table 2: what") < text.index("Thresholds of")


def test_before_and_after_stand_side_by_side_with_the_same_digits(run_dir):
    page = written(run_dir)
    quality = next(table for table in page.tables if "PSNR (dB) " in table[0])
    assert [cell.strip() for cell in quality[0]] == ["method", "PSNR (dB)", "SSIM", "lip before", "lip after"]
    assert [cell.split()[0] for cell in quality[1]] == ["residual", "29.4", "0.948", "33.4", "14.0"]
    errors = page.tables[page.tables.index(quality) + 1]
    assert [cell.strip() for cell in errors[0]] == ["method", "lip before", "lip after", "face before", "face after"]
    assert [cell.split()[0] for cell in errors[1]] == ["residual", "32.8", "14.6", "5.0", "11.5"]


def test_thresholds_stand_one_line_a_recogniser(run_dir):
    assert written(run_dir).line("0.207 0.190 - 0.220") == ["", "0.207 0.190 - 0.220", "0.417 0.389 - 0.453"]


def test_a_long_table_is_named_and_not_shown(run_dir):
    page = written(run_dir)
    assert "05_scores.csv (1764 rows)" in page.text
    assert max(len(table) for table in page.tables) < 20


def test_figures_are_escaped_shaped_and_under_their_notebook(run_dir):
    page = written(run_dir)
    text = (run_dir / "report.html").read_text()
    assert '<figure class="wide"><a href="figures/a%20b.png">' in text and 'width="1600" height="400"' in text
    assert '<figure><a href="figures/c.png">' in text
    assert "Table 1 <as> a figure" in page.text and "<as>" not in text


def test_a_figure_that_is_gone_is_said_to_be_gone(run_dir):
    (run_dir / "figures" / "c.png").unlink()
    assert "Before and after: figures/c.png is not there any more." in written(run_dir).text


def test_notebooks_are_listed_with_status_time_and_what_they_were_given(run_dir):
    page = written(run_dir)
    assert page.line("04_protect-residual") == ["04_protect-residual", "done", "0:30", "method = residual"]
    assert page.line("05_black_box_success") == ["05_black_box_success", "done", "1:01", ""]


def test_the_page_says_what_a_run_was_given_and_ran_with(run_dir):
    text = written(run_dir).text
    assert "seed 1" in text and "torch 2.11.0" in text and "timm" not in text


# Numbers about drawn faces


def test_numbers_about_drawn_faces_are_labelled_wherever_they_stand(run_dir):
    written(run_dir)
    text = (run_dir / "report.html").read_text()
    label = '<span class="label">drawn faces</span>'
    assert "they say nothing about recognisers of real people" in text
    assert f"05_black_box_success {label}" in text  # over its figures
    for name in ("05_black_box_success.csv", "06_image_quality.csv"):
        assert f'{label} <a href="tables/{name}">' in text


def test_photographs_are_not_called_drawn(run_dir):
    results.write(table_1(dataset="celeba_hq test"), run_dir / "tables" / "05_black_box_success.csv")
    (run_dir / "tables" / "06_image_quality.csv").unlink()
    with runs.edit(run_dir) as state:
        state["preset"] = "open-small"
    assert "drawn faces</span>" not in written(run_dir).text
    assert 'class="label"' not in (run_dir / "report.html").read_text()


# Runs that did not end well


def test_a_failure_comes_first_with_its_cell_and_its_copy(run_dir):
    failed = {"status": "failed", "seconds": 3, "parameters": {}, "error": "In [5] line 3 `x < y`: ValueError: no"}
    (run_dir / "notebooks" / "06_image_quality.failed.ipynb").write_text("{}")
    (run_dir / "notebooks" / "06_image_quality.failed.log").write_text("")
    with runs.edit(run_dir) as state:
        state["status"] = "failed"
        state["plan"] += ["06_image_quality", "10_paper_figures"]
        state["notebooks"]["06_image_quality"] = failed
    page = written(run_dir)
    text = (run_dir / "report.html").read_text()
    assert '<span class="chip failed">failed</span></h1>' in text
    assert "In [5] line 3 `x < y`: ValueError: no" in page.text
    assert text.index('class="problem"') < text.index('id="tables"')
    assert {"notebooks/06_image_quality.failed.ipynb", "notebooks/06_image_quality.failed.log"} <= set(page.links)
    assert page.line("06_image_quality") == ["06_image_quality", "failed", "0:03", ""]
    assert page.line("10_paper_figures") == ["10_paper_figures", "not run", "", ""]


def test_an_interruption_is_seen(run_dir):
    with runs.edit(run_dir) as state:
        state["status"] = "interrupted"
        state["notebooks"]["05_black_box_success"]["status"] = "interrupted"
    page = written(run_dir)
    assert "05_black_box_success: interrupted" in page.text and "--resume" in page.text


@pytest.mark.parametrize("content", [b"", b'a,b\n1,2,3\n4,5,6,7\n"', b"\xff\xfe\x00bad", b"x"])
def test_a_table_that_cannot_be_read_does_not_hide_the_rest(run_dir, content):
    (run_dir / "tables" / "05_black_box_success.csv").write_bytes(content)
    page = written(run_dir)
    assert "29.4" in page.text
    assert "This table could not be read" in page.text or content == b"x"


def test_a_run_that_made_nothing_has_a_page(tmp_path):
    with runs.edit(tmp_path / "r") as state:
        state |= {"preset": "small", "status": "failed", "started": runs.now(), "notebooks": {}, "outputs": []}
    text = written(tmp_path / "r").text
    assert "small" in text and "failed" in text and "Figures" not in text


def test_an_older_run_without_plan_and_machine_has_a_page(run_dir):
    results.write(table_1(device="CPU y, 8 cores"), run_dir / "tables" / "05_black_box_success.csv")
    with runs.edit(run_dir) as state:
        del state["plan"], state["machine"]
    page = written(run_dir)
    assert "CPU y, 8 cores" in page.text and page.line("04_protect-residual")[1] == "done"


# Sweeps


def test_a_sweep_has_a_page_that_leads_to_its_runs(run_dir, tmp_path):
    report.write(run_dir)
    run_dir.rename(tmp_path / "sweep-a")
    sweep = tmp_path / "sweep"
    rows = [table_1().assign(note=[f"seed={seed}; {note}" for note in table_1().note]) for seed in (0, 1)]
    results.write(pd.concat(rows), sweep / "tables" / "05_black_box_success.csv")
    page = written(sweep)
    assert "../sweep-a/report.html" in page.links and "done" in page.text
    assert page.line("seed=0")[:2] == ["seed=0", "clean"] and page.line("seed=1")[:2] == ["seed=1", "clean"]


# Tables alone


def test_an_infinite_psnr_and_a_missing_interval_are_written_as_what_they_are(tmp_path):
    unknown = {"ci_low": None, "ci_high": None}
    rows = [rate("clean", "", "psnr", float("inf"), note="", **unknown), rate("clean", "a", "dodging", 0.5, **unknown)]
    for row, cell in zip(rows, (">∞</td>", "50.0</span></span></td>")):
        read = report_tables.read(results.write(results.frame([row]), tmp_path / "t.csv"))
        assert cell in report_tables.wide(read) and "<small>" not in report_tables.wide(read)


def test_a_key_is_written_where_it_changes():
    rows = results.frame(rate(method, name, "dodging", 0.5) for name in ("a", "b") for method in ("clean", "residual"))
    table = Page(report_tables.wide(rows)).tables[0]
    assert [[cell.strip() for cell in line[:2]] for line in table[1:]] == [
        ["a", "clean"], ["", "residual"], ["b", "clean"], ["", "residual"]
    ]  # fmt: skip


def test_a_small_table_of_another_form_is_shown_whole(tmp_path):
    path = tmp_path / "tables" / "note.csv"
    path.parent.mkdir()
    path.write_text("name,far,value,n\n<a>,0.001,12.345,3\nb,0.1,,4\n")
    table = Page(report_tables.html(report_tables.read(path))).tables[0]
    assert [[cell.strip() for cell in line] for line in table] == [
        ["name", "far", "value", "n"], ["<a>", "0.001", "12.3", "3"], ["b", "0.1", "", "4"]
    ]  # fmt: skip


def test_the_state_of_a_run_stays_json(run_dir):
    report.write(run_dir)
    assert json.loads((run_dir / "run.json").read_text())["status"] == "done"
