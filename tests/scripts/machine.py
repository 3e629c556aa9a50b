# SPDX-License-Identifier: AGPL-3.0-or-later
"""A machine where install.sh installs, and releases for it."""

import os
import shutil
import subprocess

from service import REPO, SCRIPTS, STUBS, Service
from smp_client import drain, fill

OLD = "#!/bin/sh\n# an older version\nexec {} \"$@\"\n"
SYSTEM = 'ID=debian\nVERSION_ID="12"\n'


class Machine(Service):
    """A service whose program, unit and scripts are where install.sh has them, below the root."""

    def __init__(self, binary, root):
        super().__init__(binary, root)
        for script in [*self.bin.glob("simplex-*"), self.bin / "install.sh", self.bin / "smp-server"]:
            script.unlink()
        self.units, self.info = root / "units", root / "info"
        # The packages and users of the machine that tests run on are not theirs to change.
        (root / "system").mkdir()
        for name in ("useradd", "userdel", "getent", "chown"):
            (root / "system" / name).symlink_to(STUBS / "users")
        for name in ("apt-get", "apt-cache"):
            (root / "system" / name).write_text("#!/bin/sh\nexit 1\n")
            (root / "system" / name).chmod(0o755)
        (root / "os-release").write_text(SYSTEM)
        self.environment.update(PATH=f"{self.bin}:{root / 'system'}:{os.environ['PATH']}",
                                SIMPLEX_BIN=str(self.bin), SIMPLEX_UNITS=str(self.units),
                                SIMPLEX_INFO=str(self.info), SIMPLEX_OS_RELEASE=str(root / "os-release"),
                                SIMPLEX_BACKUPS=str(root / "kept"), STUB_PROGRAM=str(self.bin / "smp-server"))

    def install_old(self):
        """An older version that runs, with a message in `self.queue`."""
        program = self.bin / "smp-server"
        program.write_text(OLD.format(self.binary))
        program.chmod(0o755)
        self.units.mkdir()
        (self.units / "smp-server.service").write_text("[Service]\n# old\n")
        self.init("--no-password")
        self.set("TRANSPORT", "port", self.port)
        assert self.systemctl("start", "smp-server") == 0
        self.queue = fill(self, [b"kept"])
        self.asked()

    def users(self):
        """Who was added; nobody but root adds any."""
        path = self.stub / "users"
        return path.read_text().split() if path.exists() else []

    def is_old(self):
        """Nothing was replaced, and it runs with what it had."""
        assert "an older version" in (self.bin / "smp-server").read_text()
        assert "# old" in (self.units / "smp-server.service").read_text()
        assert drain(self, self.queue) == [b"kept"]
        return True

    def install(self, *words, status=0, **options):
        """install.sh of the tree or of a release."""
        shutil.copy(getattr(self, "installer", SCRIPTS / "install.sh"), self.bin / "install.sh")
        said = self.script("install.sh", *words, status=status, **options)
        (self.bin / "install.sh").unlink()
        return said


def make_release(folder, keys, binary, version="v0.2.0", key="release"):
    """A release of the program for Debian 12, made by the release script."""
    folder.mkdir()
    for arch in ("x86-64", "aarch64"):
        shutil.copy(binary, folder / f"smp-server-debian-12-{arch}")
    environment = dict(keys, RELEASE_VERSION=version, RELEASE_BASE_URL="https://releases.invalid/smp",
                       RELEASE_GPG_KEY=f"{key}@example.com", RELEASE_MINISIGN_KEY=f"{keys['GNUPGHOME']}/minisign")
    subprocess.run([REPO / "scripts/release", folder], env=environment, check=True, capture_output=True, timeout=120)
    return folder
