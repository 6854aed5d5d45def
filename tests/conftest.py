"""What holds for all tests: one thread for each array library, no deadlines of hypothesis, and Ctrl-C that is heard."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# Read when numpy loads, so before any test is imported. Two workers with two threads each hinder one another.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# A deadline measures the machine. With CI set, every run draws the same examples: what failed once fails again.
settings.register_profile("icm", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("icm")

# A shell starts what it runs in the background deaf to Ctrl-C, and so would be every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
