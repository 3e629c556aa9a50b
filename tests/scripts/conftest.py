# SPDX-License-Identifier: AGPL-3.0-or-later
"""The operator's scripts, and the program that they care for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "tests" / "cli"))  # program, smp_client
from machine import make_release  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture(scope="session")
def binary(request):
    """The program."""
    return REPO / request.config.getoption("--server-binary")


@pytest.fixture(scope="session", name="keys")
def fixture_keys(tmp_path_factory):
    """Two keys of gpg, one of minisign."""
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    environment = dict(os.environ, GNUPGHOME=str(home))
    for name in ("release", "other"):
        subprocess.run(["gpg", "--batch", "--passphrase", "", "--quick-gen-key", f"{name}@example.com", "ed25519",
                        "sign", "never"], env=environment, check=True, capture_output=True, timeout=60)
    subprocess.run(["minisign", "-G", "-W", "-s", home / "minisign", "-p", home / "minisign.pub"], check=True,
                   capture_output=True, timeout=60)
    yield environment
    subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False, timeout=60)


@pytest.fixture(scope="session", name="release")
def fixture_release(binary, keys, tmp_path_factory):
    """A good release; not to be changed."""
    return make_release(tmp_path_factory.mktemp("release") / "v0.2.0", keys, binary)
