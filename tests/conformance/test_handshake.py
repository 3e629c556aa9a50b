# SPDX-License-Identifier: AGPL-3.0-or-later
"""TLS and the SMP handshake: wire facts, sections 1 and 3."""

import datetime
import hashlib
import os
import shutil
import socket
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from smp import HandshakeRefused, Link, Queue
from smp.connection import Connection
from smp.crypto import BLOCK_SIZE
from smp.encoding import Reader, pad, unpad, word16
from smp.keys import X448_HEAD, Ed25519Key, X25519Key, x25519_der
from smp.rawtls import (ALERT, CERTIFICATE, CERTIFICATE_REQUEST, FATAL, KEY_EXCHANGE,
                        NO_APPLICATION_PROTOCOL, exchange, first_flight, server_flight)
from smp.service import make_certificate
from smp.transport import Address, ServerHello, Session, client_hello

PATIENCE = 10


def refused(address, content):
    """Whether the server closes after a handshake block with this content."""
    with Link(address) as link:
        link.read_block()
        link.write(pad(content, BLOCK_SIZE))
        return link.closed_within(PATIENCE)


def hello_of(address, **options):
    """The server's first block."""
    with Link(address, **options) as link:
        return ServerHello.parse(unpad(link.read_block()))


def test_address_of_init_is_the_identity(shared_server):
    """Fingerprint file, printed address and SHA-256 of the CA certificate agree (section 1)."""
    if shared_server is None:
        pytest.skip("needs its own server with special settings")
    printed = Address.parse(shared_server.printed_address, shared_server.ports[0])
    assert printed.identity == shared_server.address.identity
    assert printed.identity == shared_server.identity_file()
    assert printed.host == "127.0.0.1"


def test_each_version_is_agreed(connect, version):
    """Every version from 6 to 19 can be chosen by the client (section 3)."""
    with connect() as conn:
        assert conn.session.hello.min_version <= version <= conn.session.hello.max_version
        conn.ping()


def test_range_starts_at_6(address):
    """The server offers versions from 6 (section 3)."""
    hello = hello_of(address)
    assert hello.min_version == 6
    assert hello.max_version >= 18
    assert 2 <= len(hello.chain) <= 4


APPS = {"port 443": {"alpn": ("http/1.1",)},
        "6.0 by name": {"alpn": ("smp/1",), "server_name": "localhost", "version": 9},
        "6.0 by address": {"alpn": ("smp/1",), "version": 9},
        "before ALPN": {"alpn": (), "version": 6}}


@pytest.mark.parametrize("app", APPS)
def test_apps_pass_a_message(connect, app):
    """As apps of these kinds connect, they make a queue and pass a message (section 1)."""
    options = {"version": 18, **APPS[app]}
    conn, sender = connect(**options), connect(**options)
    queue = Queue.create(conn)
    assert queue.send(sender, b"hello").raw == b"OK"
    message = queue.next_message(conn)
    assert message.body == b"hello"
    assert queue.ack(conn, message.msg_id).raw == b"OK"


def test_settings_limit_the_range(own_server):
    """smp_version_min and smp_version_max narrow what is offered and accepted."""
    server = own_server({("LIMITS", "smp_version_min"): 9, ("LIMITS", "smp_version_max"): 14})
    hello = hello_of(server.address)
    assert (hello.min_version, hello.max_version) == (9, 14)
    for version in (9, 14):
        with Connection(server.address, version) as conn:
            conn.ping()
    for version in (8, 15):
        content = client_hello(version, server.address.identity, X25519Key().der)
        assert refused(server.address, content)


def test_without_alpn_only_version_6(address):
    """A client without ALPN is legacy: the range is 6 to 6, no key is sent (section 1)."""
    with Connection(address, 6, alpn=()) as conn:
        assert (conn.session.hello.min_version, conn.session.hello.max_version) == (6, 6)
        assert conn.session.hello.chain == []
        conn.ping()


def test_without_alpn_version_7_is_refused(address):
    """What was not offered is refused (sections 1 and 3)."""
    with Link(address, alpn=()) as link:
        link.read_block()
        link.write(pad(client_hello(7, address.identity, X25519Key().der), BLOCK_SIZE))
        assert link.closed_within(PATIENCE)


@pytest.mark.parametrize("tls", ["1.3", "1.2"])
def test_wrong_alpn_ends_with_alert(address, tls):
    """A list without a supported name: fatal alert no_application_protocol (section 1)."""
    record = exchange(address, first_flight(("smp/9", "xftp/1"), tls))
    assert record == (ALERT, bytes((FATAL, NO_APPLICATION_PROTOCOL)))


# What a client offers, and what is agreed; None: refused. Apps up to 6.0 send a server name.
ALPN_MATRIX = [((), ""), (("smp/1",), "smp/1"), (("http/1.1",), "http/1.1"), (("h2",), "h2"),
               (("smp/1", "h2"), "smp/1"), (("h2", "smp/1"), "h2"),
               (("http/1.1", "smp/1"), "http/1.1"), (("foo", "smp/1"), "smp/1"), (("foo",), None)]


def alpn_name(value):
    """What a test of the matrix is called after."""
    return "+".join(value) or "none" if isinstance(value, tuple) else value or "nothing"


@pytest.mark.parametrize("tls", ["1.3", "1.2"])
@pytest.mark.parametrize("server_name", [None, "localhost"], ids=["no SNI", "SNI"])
@pytest.mark.parametrize("offered, agreed", ALPN_MATRIX, ids=alpn_name)
def test_alpn_and_server_name(address, server_versions, offered, agreed, server_name, tls):
    """Each of three names is agreed, the client's first, and gives all versions, also to apps that
    speak SMP after `http/1.1` alone; without a list version 6. A list with none of the three ends
    with an alert. A server name changes nothing (section 1)."""
    if agreed is None:
        record = exchange(address, first_flight(offered, tls, server_name))
        assert record == (ALERT, bytes((FATAL, NO_APPLICATION_PROTOCOL)))
        return
    lowest, highest = server_versions if agreed else (6, 6)
    with Connection(address, highest, alpn=offered, tls=tls, server_name=server_name) as conn:
        assert conn.link.tls.selected_alpn_protocol() == (agreed or None)
        hello = conn.session.hello
        assert (hello.min_version, hello.max_version) == (lowest, highest)
        assert bool(hello.chain) == bool(agreed)
        conn.ping()


@pytest.mark.tls_only("the ALPN of WebSocket is HTTP's")
@pytest.mark.parametrize("tls", ["1.3", "1.2"])
def test_both_tls_versions_with_chacha20(address, tls):
    """TLS 1.3 and 1.2, only ChaCha20-Poly1305, and channel binding in both (section 1)."""
    with Connection(address, 18, tls=tls) as conn:
        name, _, _ = conn.link.tls.cipher()
        assert "CHACHA20" in name
        assert conn.link.tls.version() == f"TLSv{tls}"
        assert conn.link.tls.selected_alpn_protocol() == "smp/1"
        conn.ping()


@pytest.mark.parametrize("group", [b"\0\x1d", b"\0\x1e"], ids=["X25519", "X448"])
def test_groups_of_tls_12(address, group):
    """Each of the two groups is enough for a handshake (section 1)."""
    messages = dict(server_flight(address, groups=group))
    assert messages[KEY_EXCHANGE].startswith(b"\x03" + group)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
@pytest.mark.parametrize("group", ["X25519", "X448"])
def test_groups_of_tls_13(address, group):
    """Each of the two groups is enough for a handshake (section 1)."""
    command = ["openssl", "s_client", "-connect", f"{address.host}:{address.port}", "-tls1_3",
               "-alpn", "smp/1", "-groups", group]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=30, check=False)
    # Older ones of OpenSSL say "Server Temp Key", newer ones "Peer Temp Key".
    assert b" Temp Key: " + group.encode() in done.stdout
    assert b"TLS_CHACHA20_POLY1305_SHA256" in done.stdout


@pytest.mark.parametrize("tls", ["1.3", "1.2"])
@pytest.mark.parametrize("group", ["prime256v1", "secp521r1"])
def test_other_groups_are_refused(address, tls, group):
    """Only X25519 and X448 (section 1)."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Link(address, tls=tls, group=group)


def test_server_flight(address):
    """The TLS handshake shows the chain of the SMP handshake and asks for a certificate of the
    client, without requiring one (section 1)."""
    messages = dict(server_flight(address))
    assert CERTIFICATE_REQUEST in messages
    reader = Reader(messages[CERTIFICATE])
    reader.take(3)
    chain = []
    while reader.left():
        chain.append(reader.take(int.from_bytes(reader.take(3), "big")))
    assert len(chain) == 2
    assert hashlib.sha256(chain[1]).digest() == address.identity


def test_client_certificate_is_taken(address, tmp_path):
    """A client may present a self-signed certificate and be an ordinary client (section 1)."""
    key = Ed25519PrivateKey.generate()
    path = tmp_path / "client.pem"
    path.write_bytes(self_signed(key))
    with Connection(address, 18, certificate=str(path)) as conn:
        conn.ping()


def self_signed(key):
    """PEM of a key and its self-signed certificate."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "service")])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=365))
            .add_extension(x509.BasicConstraints(True, None), True).sign(key, None))
    return (key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + cert.public_bytes(Encoding.PEM))


def pem_of(key, *certificates):
    """What TLS presents: the key of the first of them, and all of them."""
    return (key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + b"".join(cert.public_bytes(Encoding.PEM) for cert in certificates))


def chain_of(length):
    """A key, and a chain that ends with a certificate which signs itself."""
    keys = [Ed25519PrivateKey.generate() for _ in range(length)]
    chain = [make_certificate("root", keys[0], authority=True)]
    for key, signer in zip(keys[1:], keys):
        chain.insert(0, make_certificate(f"below {len(chain)}", key, chain[0], signer,
                                         authority=key is not keys[-1]))
    return keys[-1], chain


def is_served(address, folder, pem):
    """Whether a client that presents this gets through the handshakes."""
    path = folder / f"{os.urandom(6).hex()}.pem"
    path.write_bytes(pem)
    try:
        with Connection(address, 18, certificate=str(path)) as conn:
            conn.ping()
    except (OSError, EOFError, HandshakeRefused):
        return False
    return True


def test_bad_client_certificates_are_refused(address, tmp_path):
    """One that signs itself, or chains of 2 to 4; names do not matter (section 1)."""
    for length in range(1, 6):
        key, chain = chain_of(length)
        assert is_served(address, tmp_path, pem_of(key, *chain)) is (length < 5), length
    key, chain = chain_of(2)
    other, foreign = chain_of(2)
    assert not is_served(address, tmp_path, pem_of(key, chain[0]))
    assert not is_served(address, tmp_path, pem_of(key, chain[0], foreign[1]))
    assert is_served(address, tmp_path, pem_of(other, *foreign))


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA"])
def test_other_tls12_ciphers_are_refused(address, cipher):
    """Only ChaCha20-Poly1305 suites (section 1)."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Link(address, tls="1.2", ciphers=cipher)


def test_no_ticket_in_tls_13(address):
    """No session resumption: clients of TLS 1.3 get no ticket (section 1)."""
    with Connection(address, 18) as conn:
        conn.ping()
        session = conn.link.tls.session
        assert session is None or not session.has_ticket


def test_no_resumption_in_tls_12(address):
    """No session resumption: an earlier session of TLS 1.2 is not taken up (section 1)."""
    with Connection(address, 18, tls="1.2") as conn:
        conn.ping()
        session, context = conn.link.tls.session, conn.link.tls.context
    raw = socket.create_connection((address.host, address.port), PATIENCE)
    with context.wrap_socket(raw, session=session) as again:
        assert not again.session_reused


def test_session_keys_are_per_connection(address):
    """Session identifier and session key are new in every connection (section 3)."""
    with Connection(address, 18) as one, Connection(address, 18) as two:
        assert one.session.session_id != two.session.session_id
        assert one.session.server_key != two.session.server_key


def test_ed448_identity(own_server):
    """`init -a ED448` makes a chain and a signed key that pass every check (sections 1, 3)."""
    server = own_server(init_args=("-a", "ED448"))
    with Connection(server.address, 18) as conn:
        conn.ping()


@pytest.mark.tls_only("the ports of WebSocket are others: tests/conformance/test_websocket.py")
def test_two_ports(own_server):
    """Every listed port serves SMP with the same identity."""
    server = own_server(port_count=2)
    for port in server.ports:
        address = Address("127.0.0.1", port, server.address.identity)
        with Connection(address, 18) as conn:
            conn.ping()


def test_wrong_identity_is_refused(address):
    """A client that expects another server is closed (section 3)."""
    assert refused(address, client_hello(18, os.urandom(32), X25519Key().der))


@pytest.mark.parametrize("identity", [b"", bytes(31), bytes(33)], ids=len)
def test_identity_of_wrong_size_is_refused(address, identity):
    """The identity is 32 bytes (section 3)."""
    assert refused(address, client_hello(18, identity, X25519Key().der))


@pytest.mark.parametrize("version", [0, 5, 0x100, 0xFFFF])
def test_version_outside_range_is_refused(address, version):
    """Not offered, not accepted: the server closes (section 3)."""
    assert refused(address, client_hello(version, address.identity, X25519Key().der))


@pytest.mark.parametrize("version", [7, 10, 11, 12])
def test_client_key_may_be_absent(address, version):
    """Without the client's key at the end of the content there are no block keys (section 3)."""
    with Connection(address, version, send_key=False) as conn:
        assert conn.session.send_chain is None
        conn.ping()


@pytest.mark.parametrize("version", [14, 16, 19])
def test_proxy_gets_no_block_keys(connect, version):
    """proxyServer = T turns block encryption off (sections 2 and 7)."""
    with connect(version, proxy=True) as conn:
        assert conn.session.send_chain is None
        conn.ping()


def test_unknown_bytes_after_handshake_are_ignored(address, version):
    """Content may have unknown bytes at the end (section 3)."""
    with Link(address) as link:
        key = X25519Key()
        hello = ServerHello.parse(unpad(link.read_block()))
        if version > hello.max_version:
            pytest.skip("version not offered")
        content = client_hello(version, address.identity, key.der) + b"\x05later fields"
        link.write(pad(content, BLOCK_SIZE))
        assert not link.closed_within(0.1)


BAD_KEYS = {
    "Ed25519": Ed25519Key().der,
    "X448": X448_HEAD + bytes(range(56)),
    "low order": x25519_der(bytes(32)),
    "order 8": x25519_der(bytes.fromhex(
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")),
    "short": x25519_der(bytes(31)),
    "long": x25519_der(bytes(range(33))),
    "garbage": bytes(range(44)),
    "empty": b"",
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_bad_client_key_is_refused(address, name):
    """A key that is no X25519 key, or of low order, ends the connection (sections 2 and 3)."""
    assert refused(address, client_hello(18, address.identity, BAD_KEYS[name]))


def test_bad_proxy_flag_is_refused(address):
    """proxyServer is T or F (section 3)."""
    good = client_hello(14, address.identity, X25519Key().der)
    assert refused(address, good[:-1] + b"X")


def test_bad_service_flag_is_refused(address):
    """The service is `0` or `1` and more (section 3)."""
    good = client_hello(18, address.identity, X25519Key().der)
    assert refused(address, good[:-1] + b"2")


def test_handshake_cut_anywhere_is_refused(address):
    """A client's handshake that ends too early is closed (section 3)."""
    good = client_hello(18, address.identity, X25519Key().der)
    for size in (0, 1, 2, 3, 20, len(good) - 2, len(good) - 1):
        assert refused(address, good[:size]), size


def test_handshake_with_bad_padding_is_refused(address):
    """A handshake block whose padding length is too large is closed (section 2)."""
    with Link(address) as link:
        link.read_block()
        link.write(word16(BLOCK_SIZE - 1) + bytes(BLOCK_SIZE - 2))
        assert link.closed_within(PATIENCE)


def test_refusal_shows_as_closed(address):
    """A refused client sees the end of the stream, not a hanging connection (section 3)."""
    with Link(address) as link:
        Session(link, 18, identity=os.urandom(32))
        assert link.closed_within(PATIENCE)
    with pytest.raises((HandshakeRefused, ssl.SSLError, ConnectionError)):
        Connection(address, 18, tls="1.2", ciphers="ECDHE-ECDSA-AES256-GCM-SHA384")
