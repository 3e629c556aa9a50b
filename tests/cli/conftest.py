# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which program to test, and a directory of its own for each test."""

import os
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "conformance"))  # the package smp

from program import Program  # noqa: E402


def pytest_addoption(parser):
    """The same option as the conformance tests have."""
    default = os.environ.get("SMP_SERVER_BINARY") or "build/smp-server"
    parser.addoption("--server-binary", default=default,
                     help="smp-server to test, relative to the top of the repository")


@pytest.fixture
def program(request, tmp_path):
    """The program with empty configuration and state directories; what it started is ended."""
    one = Program(REPO / request.config.getoption("--server-binary"), tmp_path)
    yield one
    one.end()


@pytest.fixture
def ready(program):
    """The same after `init`, on a free port of 127.0.0.1, without password."""
    program.init("--no-password")
    program.set("TRANSPORT", "port", program.port)
    program.set("TRANSPORT", "bind", "127.0.0.1")
    return program
