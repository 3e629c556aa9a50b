# SPDX-License-Identifier: AGPL-3.0-or-later
"""The systemd unit, as far as it can be judged without running systemd; `make check-systemd` runs it."""

import re
import shutil
import subprocess

import pytest

# In tenths, as systemd-analyze wants it: 2.0 of 10.
EXPOSURE_MAX = 20

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")


@pytest.fixture(name="unit")
def fixture_unit(binary, staged, tmp_path):
    """The installed unit, with the program where it is here: systemd-analyze looks for it."""
    text = next(staged.rglob("smp-server.service")).read_text()
    path = tmp_path / "smp-server.service"
    path.write_text(re.sub(r"(?<=ExecStart=)\S+", str(binary), text))
    return path


def analyze(*words):
    """Exit status and all that it said."""
    done = subprocess.run(["systemd-analyze", "--no-pager", *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          timeout=300)
    return done.returncode, done.stdout


def verify(unit):
    """What is wrong with a unit, but for what this machine lacks."""
    status, said = analyze("verify", "--man=no", unit)
    lines = [line for line in said.splitlines() if "smp-server" in line or "/smp" in line]
    return status, lines


def test_verify(unit):
    """Nothing is to be remarked on; a word that systemd does not know is seen."""
    assert verify(unit) == (0, [])
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHouse="))
    _, lines = verify(unit)
    assert any("ProtectHouse" in line for line in lines), lines


def exposure(unit):
    """Exit status and the figure."""
    status, said = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", unit)
    return status, float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)[1])


def test_exposure(unit):
    """Below the limit, and the limit is one: without a sandbox it is not kept."""
    status, figure = exposure(unit)
    assert status == 0 and figure * 10 <= EXPOSURE_MAX, figure
    text = unit.read_text()
    unit.write_text(re.sub(r"^(Protect|Private|Restrict|System).*\n", "", text, flags=re.MULTILINE))
    status, figure = exposure(unit)
    assert status != 0 and figure * 10 > EXPOSURE_MAX, figure
