# SPDX-License-Identifier: AGPL-3.0-or-later
"""A disk that is slow, full or broken, for the server of one test."""

import functools
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


@functools.cache
def library():
    """Builds disk.c once for this process; its folder lives as long."""
    folder = tempfile.TemporaryDirectory(prefix="smp-disk-")
    path = Path(folder.name, "disk.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, SOURCE, "-ldl"], check=True)
    return folder, path


class Disk:
    """What a server's disk does from now on. Faults: `full`, `fail_sync`, `sync_ms` and
    `read_ms` (every sync or read of a body takes so long), `read_only`, `clock_s`, which is for
    set_clock(), and `mono_s`: seconds by which timers are ahead."""

    def __init__(self, server):
        self.temporary = tempfile.TemporaryDirectory(prefix="smp-disk-control-")
        self.folder = Path(self.temporary.name)
        server.environment["SMP_TEST_DISK"] = str(self.folder)
        server.environment["LD_PRELOAD"] = str(library()[1])
        options = [server.environment.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]
        server.environment["ASAN_OPTIONS"] = ":".join(filter(None, options))

    def set(self, fault, value=1):
        """From now on."""
        part = self.folder / f".{fault}"
        part.symlink_to(str(value))
        part.rename(self.folder / fault)

    def set_clock(self, ahead_s):
        """The wall clock jumps: so far from the true one, either way."""
        self.set("clock_s", 1_000_000_000 + ahead_s)

    def clear(self, *faults):
        """Not any more; all faults when none is named."""
        for path in [self.folder / fault for fault in faults] or list(self.folder.iterdir()):
            path.unlink(missing_ok=True)
