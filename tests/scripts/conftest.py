# SPDX-License-Identifier: AGPL-3.0-or-later
"""The operator's scripts, and the program that they care for."""

import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "tests" / "cli"))  # program, smp_client


@pytest.fixture(scope="session")
def binary(request):
    """The program."""
    return REPO / request.config.getoption("--server-binary")
