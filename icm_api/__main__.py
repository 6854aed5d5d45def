"""`python -m icm_api` is `icm-api`."""

import sys

from icm_api.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
