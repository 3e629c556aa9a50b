# SPDX-License-Identifier: AGPL-3.0-or-later
"""`smp-server delete`: asks, removes what is the server's, and nothing else."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from golden import check_golden, normalize
from program import TIMEOUT, as_nobody, check_sanitizers
from smp_client import fill

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "reference-6.5.5"


def delete(program, answer="Y\n", status=0, **options):
    """`delete` with this answer."""
    done = subprocess.run([program.binary, "delete"], env=program.environment, input=answer,
                          capture_output=True, text=True, timeout=TIMEOUT, check=False, **options)
    check_sanitizers(done.stderr)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def refuse(program, answer="Y\n", **options):
    """`delete` that must leave all as it is; gives its last line of errors."""
    before = program.files()
    line = delete(program, answer, status=1, **options).stderr.splitlines()[-1]
    assert program.files() == before
    return line


def used(program):
    """A server that has been in use."""
    server = program.start()
    fill(program, [b"one"])
    server.stop()
    return program


def test_all_is_gone(ready):
    """Configuration, state, and both directories."""
    out = delete(used(ready)).stdout
    assert not ready.config.exists() and not ready.state.exists()
    out = re.sub(rf"({ready.state}: files removed:) \d+", r"\1 {n}", out)  # spares of the journal
    check_golden("delete.txt", normalize(out, ready))
    ready.init()


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "y\n", "yes\n", "YY\n", "Y Y\n"])
def test_asks(ready, answer):
    """Only `Y` deletes."""
    line = refuse(ready, answer)
    assert line == "Error: nothing was done: the answer was not `Y`"


@pytest.mark.parametrize("word", ["-y", "--yes"])
def test_does_not_ask(ready, word):
    """For scripts, as other commands have it."""
    assert "Continue" not in used(ready).run("delete", word).stdout
    assert not ready.config.exists() and not ready.state.exists()


def test_no_argument_answers(ready):
    """That is what -y is for."""
    assert "takes no argument" in ready.refuse("delete", "Y")


@pytest.mark.parametrize("sample", ["journal", "memory"])
def test_server_of_the_reference(ready, sample):
    """With all that it leaves behind."""
    shutil.rmtree(ready.state)
    shutil.copytree(SAMPLES / sample, ready.state)
    (ready.state / "smp-server.ini").unlink()
    for name in ("openssl_ca.conf", "openssl_server.conf", "server.csr", "ca.srl", "web.crt",
                 "web.key"):
        (ready.config / name).write_text("x")
    for name in ("smp-server-store.log.bak", "smp-server-store.log.2026-01-01T00:00:00Z",
                 "smp-server-stats.daily.log", "smp-server-metrics.txt"):
        (ready.state / name).write_text("x")
    (ready.state / "www" / "media").mkdir(parents=True)
    (ready.state / "www" / "media" / "x.svg").write_text("x")
    delete(ready)
    assert not ready.config.exists() and not ready.state.exists()


def test_other_files_stay(ready):
    """They are named, and keep their directory."""
    used(ready)
    (ready.config / "ca.key.backup").write_text("precious")
    (ready.state / "notes").mkdir()
    (ready.state / "notes" / "smp-server-store.log").write_text("mine")
    (ready.config / "fingerprint").unlink()
    (ready.config / "fingerprint").mkdir()  # not a file of ours
    out = delete(ready).stdout
    assert f"Left: {ready.config}/ca.key.backup\n" in out
    assert f"Left: {ready.state}/notes\n" in out
    assert f"Left: {ready.config}/fingerprint\n" in out
    assert set(ready.files()) - {"etc", "var"} == {
        "etc/smp", "etc/smp/ca.key.backup", "etc/smp/fingerprint", "var/smp", "var/smp/notes",
        "var/smp/notes/smp-server-store.log"}


def test_links_are_not_followed(ready):
    """Links go, what they point to stays: files, directories, and links in our directories."""
    used(ready)
    outside = ready.root / "outside"
    outside.mkdir()
    (outside / "file").write_text("precious")
    (ready.state / "smp-server-store.log.bak").symlink_to(outside / "file")
    shutil.rmtree(ready.state / "www")
    (ready.state / "www").symlink_to(outside)
    (ready.state / "journal" / "more").symlink_to(outside)
    (ready.state / "messages").mkdir()
    (ready.state / "messages" / "up").symlink_to("..")
    (ready.config / "web.key").symlink_to(outside / "file")
    (ready.config / "web.crt").symlink_to("nowhere")
    delete(ready)
    assert not ready.config.exists() and not ready.state.exists()
    assert (outside / "file").read_text() == "precious"


@pytest.mark.parametrize("name", ["config", "state"])
def test_directory_that_is_a_link(ready, name):
    """The operator has put it elsewhere; where, is for him to say."""
    directory = getattr(ready, name)
    elsewhere = ready.root / "elsewhere"
    directory.rename(elsewhere)
    directory.symlink_to(elsewhere)
    line = refuse(ready)
    assert line.startswith(f"Error: {directory} is a symbolic link, which is not followed: name ")


def test_running_server(ready):
    """Its files are in use."""
    server = ready.start()
    line = delete(ready, status=1).stderr
    assert line == (f"Error: another smp-server (process {server.process.pid}) uses the directory "
                    f"{ready.state}: stop it first\n")
    assert ready.ini.exists()
    server.stop()


def test_no_server(program):
    """Directories without a server's files are not touched, whatever is in them."""
    line = refuse(program)
    assert line == (f"Error: there is no server in {program.config} and {program.state}: nothing "
                    "to delete; set SMP_SERVER_CFG_PATH and SMP_SERVER_LOG_PATH if it is elsewhere")
    for directory in (program.config, program.state):
        (directory / "www").mkdir(parents=True)
        (directory / "www" / "index.html").write_text("mine")
    assert "there is no server in" in refuse(program)
    program.environment.update(SMP_SERVER_CFG_PATH="/", SMP_SERVER_LOG_PATH="/")
    assert "there is no server in / and /: nothing to delete" in refuse(program)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a directory of somebody else")
def test_server_of_somebody_else(ready):
    """What may not be looked at may be a server."""
    options = as_nobody(ready)
    for path in (ready.config, ready.state):
        os.chown(path, 0, 0)
        path.chmod(0o700)
    line = refuse(ready, **options)
    assert line.startswith(f"Error: cannot read {ready.ini}: Permission denied: {ready.config} "
                           "cannot be entered: it belongs to root (mode 0700), this is nobody: ")


def test_one_directory(program):
    """Configuration and state together; and state that was never made."""
    program.environment["SMP_SERVER_LOG_PATH"] = str(program.config)
    program.init()
    assert "files removed: 7, and the directory\n" in delete(program).stdout
    assert not program.config.exists()
    program.environment["SMP_SERVER_LOG_PATH"] = str(program.state)
    program.init()
    program.state.rmdir()
    delete(program)
    assert not program.config.exists() and not program.state.exists()


@pytest.mark.parametrize("name", ["config", "state"])
def test_unwritable_directory(ready, name):
    """Found out before anything is removed."""
    options = as_nobody(ready)
    getattr(ready, name).chmod(0o555)
    line = refuse(ready, **options)
    path = getattr(ready, name)
    assert line.startswith(f"Error: cannot remove files from {path}: Permission denied: ")
    if options:
        assert line.endswith(f"it has the mode 0555: `chmod u+rwx {path}`")


def test_file_in_place_of_a_directory(ready):
    """Says which."""
    ready.state.rmdir()
    ready.state.write_text("x")
    assert refuse(ready) == f"Error: {ready.state} is not a directory: move it away"


def test_again_after_a_failure(ready):
    """What could not be removed is named; the next attempt goes on."""
    used(ready)
    options = as_nobody(ready)
    (ready.state / "journal").chmod(0o555)
    line = delete(ready, status=1, **options).stderr
    path = ready.state / "journal"
    assert line.startswith(f"Error: cannot remove {path}/0000000") and "Permission denied" in line
    assert not options or line.endswith(f"{path} has the mode 0555: `chmod u+rwx {path}`\n")
    assert ready.ini.exists()
    (ready.state / "journal").chmod(0o755)
    delete(ready, **options)
    assert set(ready.files()) <= {"etc", "var", "etc/smp", "var/smp"}


def test_journal_elsewhere(ready):
    """Outside of the two directories nothing is removed; it is named."""
    journal = ready.root / "journal"
    ready.set("STORE_LOG", "journal_path", journal)
    used(ready)
    out = delete(ready).stdout
    assert f"\nLeft: {journal} (journal_path)\n" in out.replace("Continue (Y/n): ", "\n")
    assert list(journal.glob("*.journal"))


def test_damaged_settings(ready):
    """A server that cannot start can be deleted."""
    ready.ini.write_text("nonsense\n")
    delete(ready)
    assert not ready.config.exists()
