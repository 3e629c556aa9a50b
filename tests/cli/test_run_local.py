# SPDX-License-Identifier: AGPL-3.0-or-later
"""`make run`: the server that it makes, and the program for its other commands."""

import shutil
import subprocess
import time
from pathlib import Path

from program import TIMEOUT

TOOL = Path(__file__).resolve().parents[2] / "tools" / "run-local"


def test_run_local(program, tmp_path):
    """`run/smp-server check` looks at that server, whatever the environment says."""
    (tmp_path / "tools").mkdir()
    tool = shutil.copy(TOOL, tmp_path / "tools")
    with open(tmp_path / "out", "w", encoding="utf-8") as out:
        process = subprocess.Popen([tool, program.binary], cwd=tmp_path, stdout=out, stderr=out,
                                   stdin=subprocess.DEVNULL)
    wrapper = tmp_path / "run" / "smp-server"
    deadline = time.monotonic() + TIMEOUT
    try:
        # `init` says it, and `start` again; the program for the other commands is made in between.
        while (tmp_path / "out").read_text().count("Fingerprint: ") < 2 and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        done = subprocess.run([wrapper, "check"], env=program.environment, capture_output=True,
                              text=True, timeout=TIMEOUT, check=False)
    finally:
        process.terminate()
        assert process.wait(TIMEOUT) in (0, 1)  # 1: somebody else has port 5223
    assert done.stdout.startswith(f"Checking {tmp_path}/run/etc/smp-server.ini\n")
