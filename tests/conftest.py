"""What holds for all tests: one thread for each array library, and hypothesis without deadlines."""

from __future__ import annotations

import os

from hypothesis import settings

# Read when numpy loads, so before any test is imported. Two workers with two threads each hinder one another.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# A deadline measures the machine. With CI set, every run draws the same examples: what failed once fails again.
settings.register_profile("icm", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("icm")
