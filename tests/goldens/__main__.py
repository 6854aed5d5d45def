"""`python -m tests.goldens record FOLDER` and `python -m tests.goldens compare FOLDER_A FOLDER_B`."""

from __future__ import annotations

import sys

from tests.goldens.cases import record
from tests.goldens.comparing import compare

USAGE = "python -m tests.goldens record FOLDER [GROUP ...] | python -m tests.goldens compare FOLDER_A FOLDER_B"

if __name__ == "__main__":
    match sys.argv[1:]:
        case ["record", folder, *groups]:
            record(folder, groups)
        case ["compare", one, other]:
            sys.exit(compare(one, other))
        case _:
            sys.exit(USAGE)
