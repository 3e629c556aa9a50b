# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which program to test; the build folder that it is in is the one that is installed."""

import os
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def binary(request):
    """The program."""
    return REPO / request.config.getoption("--server-binary")


@pytest.fixture(scope="session")
def staged(binary, tmp_path_factory):
    """A staged install of the build folder."""
    root = tmp_path_factory.mktemp("staged")
    subprocess.run(["meson", "install", "--no-rebuild", "-C", binary.parent], check=True,
                   env=dict(os.environ, DESTDIR=str(root)), stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, timeout=300)
    return root
