"""The two commands: record, and compare."""

from __future__ import annotations

import sys

from tests.goldens.cases import record
from tests.goldens.comparing import compare

USAGE = """\
python -m tests.goldens record FOLDER [GROUP ...]                groups: the functions that `cases.record` lists
python -m tests.goldens compare FOLDER_A FOLDER_B [BEGINNING ...]"""

if __name__ == "__main__":
    match sys.argv[1:]:
        case ["record", folder, *groups]:
            record(folder, groups)
        case ["compare", one, other, *beginnings]:
            sys.exit(compare(one, other, beginnings))
        case _:
            sys.exit(USAGE)
