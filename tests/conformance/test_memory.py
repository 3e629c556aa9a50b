# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a core of the process has. Of what is over, and with all memory: no key of a session that has
ended or of a queue that was deleted, and no body that was received. As the kernel would write it:
none of the keys that are kept apart either. Cores are not written (tests/cli/test_process.py);
`sandbox = off` allows one to be taken."""

import base64
import shutil
import subprocess
import time

import pytest
from cryptography.hazmat.primitives import serialization
from smp import Connection, Queue, make_key

BODY = b"a body that is read once and is nobody's any more; "
KEPT = b"a body that waits for its recipient, and is found; "


def core_of(server, tmp_path, *, is_whole=True):
    """The memory of the process; or what a core of the kernel's would have."""
    if shutil.which("gcore") is None:
        pytest.skip("needs gcore, of gdb")
    if server.is_sanitized():
        pytest.skip("a sanitizer keeps what is freed, and its own memory would fill the disk")
    path = tmp_path / ("whole" if is_whole else "core")
    done = subprocess.run(["gcore", *["-a"][:is_whole], "-o", path, str(server.process.pid)],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return next(tmp_path.glob(f"{path.name}.*")).read_bytes()


def key_of(path):
    """The private key of a PEM file, as OpenSSL has it in memory; its text too."""
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    raw = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw,
                            serialization.NoEncryption())
    return raw, path.read_bytes().splitlines()[1]


def forgotten(conn):
    """Makes, uses and deletes a queue; gives what must not be found, by name."""
    queue = Queue.create(conn, mode="M")
    key = make_key("x25519")
    queue.skey(conn, key)
    queue.send(conn, BODY * 200, b"T")
    message = queue.next_message(conn)
    queue.ack(conn, message.msg_id)
    queue.delete(conn)
    return {"secret of the queue": queue.secret, "body": BODY, "recipient key": queue.rcv_key.der,
            "chain, sends": conn.session.send_chain.key,
            "chain, receives": conn.session.receive_chain.key}


@pytest.mark.parametrize("store", ["memory", "journal"])
def test_core(own_server, tmp_path, store):
    """Other clients use the server afterwards, as always; they go through the same buffers."""
    server = own_server({("PROCESS", "sandbox"): "off", ("TRANSPORT", "threads"): 1}, store=store,
                        has_sandbox=False)
    with Connection(server.address, 18) as other:
        queue = Queue.create(other, mode="M")
        queue.send(other, KEPT * 200, b"T")
        with Connection(server.address, 18) as conn:
            secrets = forgotten(conn)
        time.sleep(1)
        for _ in range(20):
            assert other.request(b"PING").tag == "PONG"
        memory = core_of(server, tmp_path)
        assert KEPT in memory and queue.secret in memory
    if store == "journal":  # bodies of the last moments are kept with their queues
        del secrets["secret of the queue"]
    found = [name for name, secret in secrets.items()
             if secret in memory or base64.urlsafe_b64encode(secret)[:40] in memory]
    assert not found


def test_keys_are_kept_apart(own_server, tmp_path):
    """Keys of the server and of sessions under way are in no core, though they are in the memory;
    what is not kept apart is in both, and stands for what such a core has."""
    server = own_server({("PROCESS", "sandbox"): "off", ("TRANSPORT", "threads"): 1},
                        store="memory", has_sandbox=False)
    raw, text = key_of(server.config / "server.key")
    with Connection(server.address, 18) as conn, Connection(server.address, 18) as other:
        queue = Queue.create(conn, mode="M")
        queue.send(other, KEPT * 200, b"T")
        assert queue.next_message(conn).body
        for _ in range(20):
            assert other.request(b"PING").tag == "PONG"
        keys = {"chain, sends": conn.session.send_chain.key,
                "chain, receives": conn.session.receive_chain.key, "key of the server": raw}
        memory = core_of(server, tmp_path)
        assert KEPT in memory and queue.secret in memory
        assert all(key in memory for key in keys.values())
        core = core_of(server, tmp_path, is_whole=False)
        assert KEPT in core and queue.secret in core
    keys |= {"text of the server's key": text}
    assert not [name for name, key in keys.items() if key in core]
