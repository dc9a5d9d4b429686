"""docs/limits.md names a test for each promise, and each of them exists."""

import re

import test_fail_closed

from amtgan_lib import paths

TEXT = (paths.DOCS / "limits.md").read_text(encoding="utf-8")


def rows(title: str) -> list[list[str]]:
    """The cells of the table in a section, without its head."""
    section = TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return lines[1:]


def test_every_promise_names_a_test_that_exists():
    promised = rows("What is promised and how it is tested")
    assert len(promised) > 10
    for promise, tests in promised:
        named = re.findall(r"`(test_\w+)\.py(?:::(\w+))?`", tests)
        assert named, promise
        for file, test in named:
            text = (paths.ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8")
            assert not test or f"def {test}(" in text, f"{file}.py has no {test}"


def test_the_table_of_faults_is_that_of_the_tests():
    stages = {stage: int(count) for stage, count, *_ in rows("What happens when something fails")}
    expected: dict[str, int] = {}
    for name in test_fail_closed.FAULTS:
        stage = test_fail_closed.stage(name)
        expected[stage] = expected.get(stage, 0) + 1
    assert stages == expected
