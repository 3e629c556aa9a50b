# SPDX-License-Identifier: AGPL-3.0-or-later
"""install.sh, simplex-servers-update and -uninstall: releases that are good, and those that are not."""

import functools
import http.server
import os
import re
import shutil
import threading

import pytest
from machine import Machine, make_release
from service import SCRIPTS, Service
from smp_client import drain


@pytest.fixture(name="machine")
def fixture_machine(binary, tmp_path, release):
    """A machine with nothing installed, and the install.sh of the release."""
    one = Machine(binary, tmp_path)
    one.installer = release / "install.sh"
    yield one
    one.end()


def test_first_install(machine, release):
    """Program, unit and scripts are there, nothing runs, and it says what to do. Then it is up to date."""
    said = machine.install("--yes", "--from", release)
    assert "smp-server init" in said and machine.asked() == ["daemon-reload"]
    names = {path.name for path in machine.bin.iterdir()}
    assert {"smp-server", "simplex-servers-update", "simplex-servers-uninstall", "simplex-servers-stopscript",
            "simplex-servers-backup", "simplex-servers-certs", "simplex-servers-health"} == names - {"systemctl"}
    assert "ExecStart=/usr/local/bin/smp-server start\n" in (machine.units / "smp-server.service").read_text()
    assert (machine.info / "release").read_text() == "local_version_smp='v0.2.0'\n"
    before = machine.files()
    said = machine.script("simplex-servers-update", "--from", release)
    assert "installed already" in said
    assert {k: v for k, v in machine.files().items() if "stub" not in k} == {
        k: v for k, v in before.items() if "stub" not in k}


@pytest.mark.parametrize("before", ["v0.1.9", "v6.5.5"])
def test_update(machine, release, before):
    """The server is stopped and started once, and serves what it had; the old program is kept. The
    reference, which has other versions, is replaced too: it knows no `check`."""
    machine.install_old()
    if before == "v6.5.5":
        program = machine.bin / "smp-server"
        program.write_text(program.read_text().replace("exec", 'if [ "$1" = check ]; then exit 1; fi\nexec'))
    (machine.info).mkdir()
    (machine.info / "release").write_text("local_version_smp='v6.4.5'\nlocal_version_xftp='v6.4.5'\n"
                                          f"local_version_smp='{before}'\n")
    machine.install("--yes", "--from", release)
    assert machine.asked() == ["stop smp-server.service", "daemon-reload", "start smp-server.service"]
    assert drain(machine, machine.queue) == [b"kept"]
    assert "an older version" in (machine.bin / "smp-server.old").read_text()
    assert (machine.info / "release").read_text() == "local_version_xftp='v6.4.5'\nlocal_version_smp='v0.2.0'\n"
    assert "installed already" in machine.script("simplex-servers-update", "--from", release)
    assert machine.asked() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root installs no libraries")
def test_libraries(machine, keys, tmp_path, binary):
    """Those that the program misses are installed, under the names that the distribution has."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n[ -e {machine.stub}/libraries ] || exit 127\nexec {binary} \"$@\"\n")
    program.chmod(0o755)
    for name, text in (("apt-get", f'echo "$*" >{machine.stub}/libraries'), ("apt-cache", '[ "$2" != libllhttp9.2 ]')):
        (machine.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (machine.bin / name).chmod(0o755)
    release = make_release(tmp_path / "v0.2.0", keys, program)
    machine.installer = release / "install.sh"
    machine.install("--yes", "--from", release)
    names = (machine.stub / "libraries").read_text().split()
    assert names[0] == "install" and {"libhttp-parser2.9", "libbrotli1", "libuv1"} < set(names) and "libllhttp9.2" not in names


def test_dry_run(machine, release):
    """It says what it would do."""
    machine.install_old()
    assert "smp-server.service" in machine.install("--dry-run", "--from", release)
    assert machine.asked() == [] and machine.is_old()


def test_asks(machine, release):
    """Without --yes nobody to answer ends it, and so does any answer but 1."""
    assert "--yes" in machine.install("--from", release, status=1)
    machine.environment["SIMPLEX_ASK"] = "1"
    assert "nothing is changed" in machine.install("--from", release, status=1, input="\n")
    assert not (machine.bin / "smp-server").exists()
    machine.install("--from", release, input="1\n")
    assert (machine.bin / "smp-server").exists()


def change(path, text):
    """Another content."""
    path.write_text(text)


DAMAGES = {
    "program": (lambda r: change(r / "smp-server-debian-12-x86-64", "#!/bin/sh\n"), "SHA-256 differs"),
    "script": (lambda r: change(r / "simplex-servers-backup", "#!/bin/sh\n"), "SHA-256 differs"),
    "unit": (lambda r: change(r / "smp-server.service", "[Unit]\n"), "SHA-256 differs"),
    "list": (lambda r: change(r / "_sha256sums", (r / "_sha256sums").read_text() + "\n"), "no good signature"),
    "signature": (lambda r: change(r / "_sha256sums.asc", "nonsense"), "no good signature"),
    "unsigned": (lambda r: (r / "_sha256sums.asc").unlink(), "has no _sha256sums.asc"),
    "missing": (lambda r: (r / "smp-server.service").unlink(), "has no smp-server.service"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_bad_release(machine, release, damage):
    """Nothing is stopped or changed."""
    machine.install_old()
    copy = machine.root / "release"
    shutil.copytree(release, copy)
    spoil, text = DAMAGES[damage]
    spoil(copy)
    assert text in machine.install("--yes", "--from", copy, status=1)
    assert machine.asked() == [] and machine.is_old()
    assert not (machine.bin / "simplex-servers-backup").exists()


def test_other_key(machine, binary, keys):
    """A list signed by somebody else is refused."""
    machine.install_old()
    other = make_release(machine.root / "other", keys, binary, key="other")
    assert "no good signature" in machine.install("--yes", "--from", other, status=1)
    assert machine.asked() == [] and machine.is_old()


def test_older_version(machine, binary, keys, release):
    """A release that was signed once is not installed over a newer one, unless that is asked for."""
    machine.install("--yes", "--from", release)
    older = make_release(machine.root / "older", keys, binary, version="v0.1.9")
    assert "to go back" in machine.install("--yes", "--from", older, status=1)
    machine.environment["VER"] = "v0.3.0"
    assert "not v0.3.0" in machine.install("--yes", "--from", older, status=1)
    machine.environment["VER"] = "v0.1.9"
    machine.install("--yes", "--from", older)
    assert "v0.1.9" in (machine.info / "release").read_text()


@pytest.mark.parametrize("program, text", [
    ("#!/bin/sh\nexit 1\n", "does not run here"),
    ('#!/bin/sh\ncase $1 in -v) echo v9 ;; check) echo "Error: storage: not readable"; exit 1 ;; esac\n', "not readable")])
def test_program_that_would_not_start(machine, program, text):
    """It is found out before anything is stopped."""
    machine.install_old()
    path = machine.root / "built"
    path.write_text(program)
    assert text in machine.install("--yes", "--from", path, status=1)
    assert machine.asked() == [] and machine.is_old()


def test_program_that_does_not_start(machine, release):
    """What could not be found out before: the old program and unit are put back and serve."""
    machine.install_old()
    machine.install("--yes", "--from", release, "--dry-run")
    path = machine.root / "built"
    path.write_text(f'#!/bin/sh\nif [ "$1" = start ]; then exit 1; fi\nexec {machine.binary} "$@"\n')
    said = machine.install("--yes", "--from", path, status=1)
    assert "put back" in said
    assert machine.asked() == ["stop smp-server.service", "start smp-server.service", "stop smp-server.service",
                               "daemon-reload", "start smp-server.service"]
    assert machine.is_old()


def test_server_that_does_not_answer(machine, binary, keys):
    """It starts and serves nobody as itself: put back, unit too."""
    machine.install_old()
    broken = machine.root / "broken"
    broken.write_text(f"""#!/bin/sh
if [ "$1" = start ]; then echo 'creating new queues'; exec sleep 300; fi
exec {binary} "$@"
""")
    broken.chmod(0o755)
    folder = make_release(machine.root / "r", keys, broken)
    machine.environment["PATH"] = f"{machine.bin}:{machine.environment['PATH']}"
    sleep = machine.bin / "sleep"
    sleep.write_text('#!/bin/sh\ncase $1 in 2) exit ;; esac\nexec /usr/bin/sleep "$@"\n')
    sleep.chmod(0o755)
    assert "put back" in machine.install("--yes", "--from", folder, status=1)
    assert machine.is_old()


@pytest.fixture(name="site")
def fixture_site(release, tmp_path):
    """The release on a web server of this machine, laid out as releases are; `site.cut` bytes are sent."""
    root = tmp_path / "site"
    (root / "releases" / "latest").mkdir(parents=True)
    (root / "releases" / "latest" / "download").symlink_to(release)

    class Handler(http.server.SimpleHTTPRequestHandler):
        """Cuts what it sends when it is told to."""

        def copyfile(self, source, outputfile):
            if server.cut:
                outputfile.write(source.read(server.cut))
                self.close_connection = True
            else:
                super().copyfile(source, outputfile)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=root))
    server.cut = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_download(machine, site):
    """From a web server: the newest; a cut download changes nothing; a version that is not there neither."""
    machine.install_old()
    machine.environment["SIMPLEX_BASE_URL"] = f"http://127.0.0.1:{site.server_port}"
    site.cut = 1000
    assert "cannot be downloaded" in machine.install("--yes", status=1)
    assert machine.asked() == [] and "an older version" in (machine.bin / "smp-server").read_text()
    site.cut = 0
    machine.environment["VER"] = "v7.7.7"
    assert "cannot be downloaded" in machine.install("--yes", status=1)
    del machine.environment["VER"]
    machine.install("--yes")
    assert drain(machine, machine.queue) == [b"kept"]
    said = machine.script("simplex-servers-update", "download", cwd=machine.root)
    assert "verified" in said and (machine.root / "smp-server").stat().st_mode & 0o100


def test_other_systems(machine, release):
    """Which systems there are programs for, and what to do elsewhere."""
    (machine.root / "os-release").write_text("ID=fedora\nVERSION_ID=40\n")
    said = machine.install("--yes", "--from", release, status=1)
    assert "fedora-40" in said and "--from build/smp-server" in said


def test_scripts_of_the_reference(machine, release):
    """They are kept for its other servers; removing ours puts them back."""
    machine.install_old()
    (machine.bin / "xftp-server").touch()
    for name in ("simplex-servers-stopscript", "simplex-servers-update"):
        (machine.bin / name).write_text(f"#!/bin/sh\necho reference {name} $*\n")
        (machine.bin / name).chmod(0o755)
    machine.install("--yes", "--from", release)
    assert "reference" in machine.script("simplex-servers-stopscript", "xftp-server")
    machine.script("simplex-servers-uninstall", "--yes")
    assert "reference" in machine.script("simplex-servers-update")
    assert not (machine.bin / "simplex-servers-backup").exists()


def test_key_in_the_tree(machine, release):
    """The install.sh of the tree has no key, and says so."""
    machine.installer = SCRIPTS / "install.sh"
    assert "has no key" in machine.install("--yes", "--from", release, status=1)
    assert "knows no address" in machine.install("--yes", status=1)


# ---- uninstall ----

@pytest.fixture(name="installed")
def fixture_installed(machine, release):
    """A machine where the release runs."""
    machine.install_old()
    machine.set("TRANSPORT", "host", "smp.example.com")
    machine.install("--yes", "--from", release)
    machine.asked()
    return machine


def gone(machine):
    """Program, unit and scripts."""
    left = {path.name for path in machine.bin.iterdir()}
    return left == {"systemctl"} and not list(machine.units.iterdir()) and not machine.info.exists()


@pytest.mark.parametrize("typed", ["\n", "y\n", "no\n", ""])
def test_uninstall_needs_a_word(installed, typed):
    """One Enter removes nothing."""
    assert "nothing is removed" in installed.script("simplex-servers-uninstall", status=1, input=typed)
    assert installed.asked() == [] and drain(installed, installed.queue) == [b"kept"]


@pytest.mark.parametrize("typed", ["yes\n\n", "yes\n"])
def test_uninstall_keeps_the_identity(installed, typed):
    """Unless the name of the server is typed."""
    keys = {k: v for k, v in installed.files().items() if k.startswith("etc") and k.endswith(".key")}
    logs = {k: len(v) for k, v in installed.files().items() if k.startswith("var") and k.endswith(".log")}
    assert "Kept" in installed.script("simplex-servers-uninstall", input=typed)
    assert gone(installed)
    assert keys and keys.items() <= installed.files().items()
    # A stop erases the lines of deleted queues, in their places.
    assert logs and all(len(installed.files()[k]) == n for k, n in logs.items())


def test_uninstall_wrong_name(installed):
    """Another name removes nothing at all."""
    assert "is not the name" in installed.script("simplex-servers-uninstall", status=1, input="yes\nsmp.example.org\n")
    assert drain(installed, installed.queue) == [b"kept"]


@pytest.mark.parametrize("how", ["typed", "option"])
def test_uninstall_with_data(installed, how, binary):
    """A backup is made first, and it is good. The user that was made for the server goes with it."""
    kept = installed.root / "kept"
    assert installed.users() == (["smp:"] if os.geteuid() == 0 else [])
    if how == "typed":
        said = installed.script("simplex-servers-uninstall", input="yes\nsmp.example.com\n")
    else:
        said = installed.script("simplex-servers-uninstall", "--yes", "--purge-data", "smp.example.com")
    assert gone(installed) and not installed.config.exists() and not installed.state.exists()
    assert installed.users() == []
    path = re.search(r"(\S+\.tar\.gz): ", said)[1]
    assert str(kept) in path
    (installed.root / "second").mkdir()
    other = Service(binary, installed.root / "second")
    other.script("simplex-servers-backup", "restore", path)
    other.port = installed.port
    other.start()
    assert drain(other, installed.queue) == [b"kept"]
    other.end()


def test_uninstall_without_backup(installed):
    """Where no backup can be made nothing is removed."""
    (installed.root / "kept").touch()
    said = installed.script("simplex-servers-uninstall", "--yes", "--purge-data", "smp.example.com", status=1)
    assert "no backup could be made" in said
    assert (installed.bin / "smp-server").exists() and installed.ini.exists()


def test_to_package(installed, binary):
    """What install.sh has installed is moved away, and comes back when the package's server does not start."""
    installed.environment.update(SIMPLEX_PACKAGED=str(binary))
    (installed.stub / "broken").touch()
    assert "all is as it was" in installed.script("simplex-servers-update", "--to-package", status=1)
    assert (installed.bin / "smp-server").exists() and (installed.units / "smp-server.service").exists()
    (installed.stub / "broken").unlink()
    installed.environment.update(STUB_PROGRAM=str(binary))
    said = installed.script("simplex-servers-update", "--to-package")
    assert "pre-package" in said and not (installed.bin / "smp-server").exists()
    assert drain(installed, installed.queue) == [b"kept"]
