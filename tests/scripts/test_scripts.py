# SPDX-License-Identifier: AGPL-3.0-or-later
"""The operator's scripts, as text: what shellcheck and the shells of the distributions make of them."""

import shutil
import subprocess

import pytest
from service import REPO, SCRIPTS, STUBS

ALL = [*sorted(SCRIPTS.iterdir()), *sorted(STUBS.iterdir()),
       *(REPO / f"packaging/container/{name}" for name in ("entrypoint", "make-root"))]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
@pytest.mark.parametrize("script", ALL, ids=lambda path: path.name)
def test_shellcheck(script):
    """It has nothing to say."""
    done = subprocess.run(["shellcheck", script], text=True, check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("script", ALL, ids=lambda path: path.name)
def test_can_be_run(script):
    """Its shell reads it, and it may be executed."""
    shell = script.read_text().split("\n", 1)[0].removeprefix("#!")
    done = subprocess.run([shell, "-n", script], text=True, check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert script.stat().st_mode & 0o777 == 0o755
