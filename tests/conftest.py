# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the suites of pytest have in common, so that one call may run several of them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "conformance"))  # the package smp

from smp.postgres import Postgres  # noqa: E402
from smp.server import default_binary  # noqa: E402


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL of our own, for all tests of this process; each makes databases of its own."""
    server = Postgres()
    yield server
    server.end()


def pytest_addoption(parser):
    """Which program to test."""
    parser.addoption("--server-binary", default=default_binary(),
                     help="smp-server to start, relative to the top of the repository")
