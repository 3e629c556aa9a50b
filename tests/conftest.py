# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the suites of pytest have in common, so that one call may run several of them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "conformance"))  # the package smp

from smp.server import default_binary  # noqa: E402


def pytest_addoption(parser):
    """Which program to test."""
    parser.addoption("--server-binary", default=default_binary(),
                     help="smp-server to start, relative to the top of the repository")
