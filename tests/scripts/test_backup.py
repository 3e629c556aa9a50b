# SPDX-License-Identifier: AGPL-3.0-or-later
"""simplex-servers-backup: what was saved is served again, and nothing is lost when it cannot be."""

import os
import re
import shutil
import subprocess
import tarfile

import pytest
from service import Service
from smp_client import drain, fill, send_to

BODIES = [b"one", b"two" * 1000, b"three"]

BY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root restores over a server that runs")


@pytest.fixture(name="service", params=["journal", "memory"])
def fixture_service(binary, tmp_path, request):
    """A service that runs, with three messages in a queue (`service.queue`), in each storage mode."""
    yield from running(binary, tmp_path, request.param)


@pytest.fixture(name="one")
def fixture_one(binary, tmp_path):
    """The same in one mode, for what is the same in all."""
    yield from running(binary, tmp_path, "journal")


def running(binary, tmp_path, mode):
    """A service that runs; ends it."""
    one = Service(binary, tmp_path)
    one.init("--no-password")
    one.set("TRANSPORT", "port", one.port)
    one.set("TRANSPORT", "bind", "127.0.0.1")
    one.set("STORE_LOG", "store_messages", mode)
    assert one.systemctl("start", "smp-server") == 0
    one.queue = fill(one, BODIES)
    one.asked()
    yield one
    one.end()


def backup(one, *words):
    """Makes one; gives its path."""
    said = one.script("simplex-servers-backup", "--output", one.root / "kept", *words)
    return re.match(r"(\S+\.tar\.gz): \d+ bytes", said)[1]


def test_backup_and_restore(service):
    """The queue and its messages come back into an empty machine; the backup was made by stopping."""
    path = backup(service)
    assert service.asked() == ["stop smp-server.service", "start smp-server.service"]
    assert "good" in service.script("simplex-servers-backup", "verify", path)
    assert drain(service, service.queue) == BODIES
    service.systemctl("stop")
    shutil.rmtree(service.config)
    shutil.rmtree(service.state)
    said = service.script("simplex-servers-backup", "restore", path)
    assert "systemctl start smp-server" in said
    assert service.systemctl("start", "smp-server") == 0
    assert drain(service, service.queue) == BODIES


@BY_ROOT
def test_restore_over_a_running_server(service):
    """It is stopped, its files are kept, and it runs again with those of the backup."""
    path = backup(service)
    later = fill(service, [b"later"])
    service.asked()
    said = service.script("simplex-servers-backup", "restore", path)
    assert service.asked() == ["stop smp-server.service", "start smp-server.service"]
    assert drain(service, service.queue) == BODIES
    kept = next((service.state / "backups").glob("before-restore.*"))
    assert str(kept) in said
    assert send_to(service, later.ids.snd_id) == "ERR AUTH"
    assert (kept / "config" / "ca.key").exists() and (kept / "state" / "smp-server-store.log").exists()


def test_file_is_for_nobody_else(one):
    """Only its owner may read it, and it lies beside nothing that was left over."""
    path = one.root / backup(one)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list((one.root / "kept").iterdir()) == [path]
    with tarfile.open(path) as tar:
        names = tar.getnames()
    assert "config/ca.key" in names and "state/smp-server-store.log" in names
    assert not [name for name in names if name.endswith((".spare", ".lock"))]


@BY_ROOT
def test_journal_elsewhere(one):
    """A journal outside of the state directory is saved and put back where the settings say."""
    one.systemctl("stop")
    shutil.move(one.state / "journal", one.root / "journal")
    one.set("STORE_LOG", "journal_path", one.root / "journal")
    assert one.systemctl("start", "smp-server") == 0
    path = backup(one)
    assert drain(one, one.queue) == BODIES
    assert "good" in one.script("simplex-servers-backup", "verify", path)
    one.script("simplex-servers-backup", "restore", path)
    assert drain(one, one.queue) == BODIES
    assert not (one.root / "journal.restore").exists()


def test_journal_path_inside(one):
    """A path below the state directory is judged where it was unpacked, not where the old one is."""
    one.systemctl("stop")
    shutil.move(one.state / "journal", one.state / "other")
    one.set("STORE_LOG", "journal_path", one.state / "other")
    assert one.systemctl("start", "smp-server") == 0
    path = backup(one)
    one.systemctl("stop")
    shutil.rmtree(one.state)
    one.script("simplex-servers-backup", "restore", path)
    assert one.systemctl("start", "smp-server") == 0
    assert drain(one, one.queue) == BODIES


def test_failed_backup_starts_the_server(one):
    """A folder that cannot be written in stops nothing; a disk that fills up leaves it running."""
    (one.root / "file").touch()
    one.script("simplex-servers-backup", "--output", one.root / "file" / "x", status=1)
    assert one.asked() == []
    tar = one.bin / "tar"
    tar.write_text("#!/bin/sh\nexit 2\n")
    tar.chmod(0o755)
    one.script("simplex-servers-backup", "--output", one.root / "kept", status=2)
    assert one.asked() == ["stop smp-server.service", "start smp-server.service"]
    tar.unlink()
    assert not list((one.root / "kept").iterdir())
    assert drain(one, one.queue) == BODIES


def test_server_outside_of_systemd(one):
    """One that systemd does not know is not copied while it runs."""
    one.systemctl("stop")
    server = one.start()
    said = one.script("simplex-servers-backup", "--output", one.root / "kept", status=1)
    assert "stop it first" in said
    server.stop()
    backup(one)


def test_folder_inside_of_what_is_saved(one):
    """It would grow with each backup; below backups/ it is left out."""
    assert "inside" in one.script("simplex-servers-backup", "--output", one.config / "x", status=1)
    assert one.asked() == []
    one.script("simplex-servers-backup", "--output", one.state / "backups" / "full")
    path = one.script("simplex-servers-backup", "--output", one.root / "kept").split(":")[0]
    with tarfile.open(path) as tar:
        assert not [name for name in tar.getnames() if "backups" in name]


def test_other_identity(one):
    """Another server's backup is not put in the place of this one, unless that is said."""
    path = backup(one)
    one.systemctl("stop")
    shutil.rmtree(one.config)
    shutil.rmtree(one.state)
    one.init("--no-password")
    before = one.files()
    assert "another identity" in one.script("simplex-servers-backup", "restore", path, status=1)
    assert one.files() == {**before, **{k: v for k, v in one.files().items() if k.startswith("stub")}}
    one.script("simplex-servers-backup", "restore", "--replace", path)
    assert one.systemctl("start", "smp-server") == 0
    assert drain(one, one.queue) == BODIES


@pytest.mark.parametrize("damage", ["cut", "bytes", "journal", "foreign", "climbing"])
def test_bad_backup(one, damage):
    """It is refused with the reason, and the server runs on with what it had."""
    path = one.root / backup(one)
    one.asked()
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "bytes":
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 2] ^= 1
        path.write_bytes(whole)
    else:
        repack(path, one.root / "repacked", damage)
    said = one.script("simplex-servers-backup", "verify", path, status=1)
    assert one.script("simplex-servers-backup", "restore", path, status=1)
    assert {"cut": "damaged", "bytes": "damaged", "journal": "would not start",
            "foreign": "has no", "climbing": "other paths"}[damage] in said
    assert drain(one, one.queue) == BODIES
    assert not list(one.root.rglob(".restore"))


def repack(path, folder, damage):
    """A backup with a valid checksum and wrong contents."""
    folder.mkdir()
    subprocess.run(["tar", "-xzf", path, "-C", folder], check=True, timeout=60)
    if damage == "journal":
        shutil.rmtree(folder / "state" / "journal")
    elif damage == "foreign":
        shutil.rmtree(folder / "config")
    else:
        (folder / "etc").mkdir()
        (folder / "etc" / "passwd").touch()
    subprocess.run(["tar", "-czf", path, "-C", folder, *[p.name for p in folder.iterdir()]], check=True,
                   timeout=60)


@BY_ROOT
def test_restore_that_does_not_start(one):
    """What was there before is put back and runs."""
    path = backup(one)
    drain(one, one.queue)
    later = fill(one, [b"later"])
    health = one.bin / "simplex-servers-health"
    health.write_text("#!/bin/sh\nexit 1\n")
    said = one.script("simplex-servers-backup", "restore", path, status=1)
    assert "put back and started" in said
    assert drain(one, later) == [b"later"] and drain(one, one.queue) == []


def test_what_it_does_not_know(one):
    """Wrong words change nothing."""
    for words in (["--no-such"], ["restore"], ["restore", "--yes", "x"], ["create", "x"]):
        assert "usage" in one.script("simplex-servers-backup", *words, status=2)
    assert one.asked() == []
