"""Messages say "1 row", not "1 rows"."""

import re
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.wording import count_of
from tests.worlds import write_world


@pytest.mark.parametrize(
    ("number", "noun", "plural", "told"),
    [
        (1, "row", None, "1 row"),
        (0, "row", None, "0 rows"),
        (2_000, "row", None, "2,000 rows"),
        (3, "reply", "replies", "3 replies"),
    ],
)
def test_a_count_and_its_noun_agree(number: int, noun: str, plural: str | None, told: str) -> None:
    assert count_of(number, noun, plural) == told


def test_a_run_of_one_step_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_world(tmp_path, "sums", size=8, search='engine = "bootstrap"\nrestarts = 1')
    for verb in (["plan", str(config), "--steps", "1"], ["run", str(config), "--steps", "1"]):
        assert main(verb) == 0
        printed = capsys.readouterr()
        assert "1 step" in printed.out
        assert not re.search(
            r"(?<![\d,.])1 (\w+ )?(steps|requests|examples|rows|labels|restarts|batches)", "".join(printed)
        )
