# SPDX-License-Identifier: AGPL-3.0-or-later
"""A minute after ACK and DEL nothing of it is on the disk, nor of what a queue had before (ADR 19):
neither in a file of the server, nor in any block of a file system that holds nothing else."""

import base64
import os
import subprocess
import time

import pytest
from smp import Queue, make_key
from smp.connection import Connection
from smp.queue import Notifier

WITHIN = 60  # seconds, of docs/SECURITY.md
IMAGE_LEN, BLOCK_LEN = 96 << 20, 4096
BODY = b"a body of which nothing may stay, number %d; "


@pytest.fixture
def block_device(tmp_path):
    """A directory with a file system of its own, and the file that is its device."""
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE_LEN)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, text=True,
                             check=False)
    if mounted.returncode != 0:
        pytest.skip(f"needs root and a loop device: {mounted.stderr.strip()}")
    yield place, image
    subprocess.run(["umount", place], check=True)


def used(path):
    """The blocks of a file that are not all zeros."""
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(BLOCK_LEN), b"")
        return b"".join(block for block in blocks if block.strip(b"\0"))


def traces(secrets, place, image):
    """Those secrets that are somewhere, and where."""
    os.sync()
    texts = [(path, used(path)) for path in [*place.rglob("*"), image] if path.is_file()]
    return [(name, path.name) for name, secret in secrets.items()
            for spelling in (secret, base64.urlsafe_b64encode(secret).rstrip(b"="))
            for path, text in texts if spelling in text]


def live(conn, number, n_messages):
    """A queue with all that can be set, and messages; all but the last are received."""
    link = b"fixed link data %d" % number, b"user link data %d" % number
    queue = Queue.create(conn, mode="M", link=link)
    key = make_key("x25519")
    queue.skey(conn, key)
    notifier = Notifier.of(conn, queue)
    secrets = {"recipient id": queue.rcv_id, "sender id": queue.snd_id,
               "link id": queue.ids.link_id, "recipient key": queue.rcv_key.der[12:],
               "sender key": key.public, "notifier id": notifier.notifier_id,
               "link data": link[1]}
    for i in range(n_messages):
        queue.send(conn, (BODY % (10 * number + i)) * 50, b"T")
        message = queue.next_message(conn)
        secrets[f"message id {i}"] = message.msg_id
        secrets[f"body {i}"] = BODY % (10 * number + i)
        if i + 1 < n_messages:
            queue.ack(conn, message.msg_id)
    return queue, secrets


def gone_within(secrets, place, image):
    """What is still there when the time is over."""
    until = time.monotonic() + WITHIN
    while (left := traces(secrets, place, image)) and time.monotonic() < until:
        time.sleep(2)
    return left


def change(conn):
    """A queue that has another key, other link data and no notifier any more; what it had, and
    what it has."""
    link_id, fixed = os.urandom(24), b"fixed link data, as it was"
    queue = Queue.create(conn, mode="C", link=(link_id, fixed, b"user link data, earlier"))
    notifier = Notifier.of(conn, queue)
    had = {"recipient key": queue.rcv_key.der[12:], "link data": b"user link data, earlier",
           "notifier id": notifier.notifier_id, "notifier key": notifier.key.der[12:]}
    key = make_key("ed25519")
    assert queue.rkey(conn, key).raw == b"OK"
    queue.rcv_key = key
    assert queue.lset(conn, link_id, fixed, b"user link data, of now").raw == b"OK"
    assert queue.recipient(conn, b"NDEL").raw == b"OK"
    return queue, had, {"recipient key": key.der[12:], "link data": b"user link data, of now",
                        "fixed data": fixed, "sender id": queue.snd_id}


@pytest.mark.parametrize("store", ["memory", "journal"])
def test_nothing_of_what_is_deleted_stays(block_device, own_server, store):
    """What stays is found where it is looked for, what is deleted is not."""
    place, image = block_device
    server = own_server(store=store, directory=place)
    with Connection(server.address, 18) as conn:
        _, kept = live(conn, 1, 1)
        queue, secrets = live(conn, 2, 3)
        on_disk = {"recipient id", "sender id", "link id", "recipient key", "sender key",
                   "notifier id", "link data"}
        if store == "journal":
            on_disk |= {"message id 0", "body 0"}
        assert {name for name, _ in traces(kept, place, image)} == on_disk
        queue.delete(conn)
        changed, had, has = change(conn)
        secrets |= {f"{name}, before": secret for name, secret in had.items()}
        assert not gone_within(secrets, place, image)
        on_disk -= {"link id", "link data"}  # the first SEND to a secured queue has ended it
        assert {name for name, _ in traces(kept, place, image)} == on_disk
        assert {name for name, _ in traces(has, place, image)} == set(has)
    server.stop()
    assert not traces(secrets, place, image)
    server.start()
    assert not traces(secrets, place, image)
    with Connection(server.address, 18) as conn:
        assert changed.sub(conn).tag != "ERR"
        link = conn.request(b"LGET", changed.ids.link_id)
        assert b"user link data, of now" in link.raw
