# SPDX-License-Identifier: AGPL-3.0-or-later
"""A server with the operator's scripts, under a systemctl that stands for systemd's."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from program import TIMEOUT, Program

REPO = Path(__file__).resolve().parents[2]
SCRIPTS = REPO / "packaging" / "scripts"
STUBS = REPO / "tests" / "scripts" / "stubs"


class Service(Program):
    """The program and the scripts in a PATH of their own; the unit is that of the stub."""

    def __init__(self, binary, root):
        super().__init__(binary, root)
        self.stub, self.bin = root / "stub", root / "bin"
        self.stub.mkdir()
        self.bin.mkdir()
        for script in SCRIPTS.iterdir():
            shutil.copy(script, self.bin)
        shutil.copy(STUBS / "systemctl", self.bin)
        (self.bin / "smp-server").symlink_to(self.binary)
        self.environment.update(PATH=f"{self.bin}:{os.environ['PATH']}", STUB=str(self.stub),
                                TMPDIR=str(root))

    def script(self, name, *words, status=0, **options):
        """Runs a script to its end, with nobody to answer unless `input` is given; gives all that it said."""
        options = {"stdin": subprocess.DEVNULL, **options} if "input" not in options else options
        done = subprocess.run([self.bin / name, *map(str, words)], env=self.environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT,
                              check=False, **options)
        assert status in (None, done.returncode), done.stdout
        return done.stdout

    def systemctl(self, *words):
        """As somebody else would."""
        return subprocess.run([self.bin / "systemctl", *words], env=self.environment, check=False,
                              timeout=TIMEOUT, stdin=subprocess.DEVNULL).returncode

    def asked(self):
        """What was asked of systemd that changes something, and forgets it."""
        path = self.stub / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line for line in lines if not line.startswith(("is-", "show"))]

    def kill_service(self):
        """As a power cut would end it; it need not run."""
        try:
            pid = int((self.stub / "pid").read_text())
            os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError):
            return
        while os.path.exists(f"/proc/{pid}"):
            time.sleep(0.01)

    def end(self):
        """Kills what still runs."""
        self.kill_service()
        super().end()
