# SPDX-License-Identifier: AGPL-3.0-or-later
"""Certificates for browsers, and what browsers do."""

import contextlib
import http.client
import socket
import ssl
import struct
import subprocess
import threading

from program import openssl

HOST = "smp.example.org"
KINDS = {
    "RSA": ("-newkey", "rsa:2048"),
    "P-256": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "P-384": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "Ed25519": ("-newkey", "ed25519"),
}


def make_pair(crt, key, *, kind="P-256", days=90, host=HOST):
    """A new certificate, signed by itself, and its key, at these paths."""
    name = f"IP:{host}" if ":" in host else f"DNS:{host}"
    openssl("req", "-x509", *KINDS.get(kind, kind), "-nodes", "-subj", f"/CN={host}", "-addext",
            f"subjectAltName={name}", "-days", days, "-keyout", key, "-out", crt)


def leaf_of(pem):
    """DER of the first certificate of a file."""
    text = pem.read_text()
    return ssl.PEM_cert_to_DER_cert(text[:text.index("-----END CERTIFICATE-----") + 26])


def browser_context(trusted=None):
    """Takes any certificate, or those that `trusted` vouches for."""
    context = ssl.create_default_context(cafile=trusted)
    if trusted is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT # those that are made here have no key usage
    return context


def dial(port, server_name=HOST, alpn=("http/1.1",), trusted=None, context=None):
    """TLS as a browser's."""
    context = context or browser_context(trusted)
    if server_name is None:
        context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    raw = socket.create_connection(("127.0.0.1", port), 30)
    try:
        return context.wrap_socket(raw, server_hostname=server_name)
    except BaseException:
        raw.close()
        raise


def fetch(port, path="/", method="GET", server_name=HOST, alpn=("http/1.1",), trusted=None,
          **headers):
    """(status, headers in small letters, body)"""
    with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=30)) as c:
        c.sock = dial(port, server_name, alpn, trusted)
        c.request(method, path, headers={"Host": f"{HOST}:{port}",
                                         **{k.replace("_", "-"): v for k, v in headers.items()}})
        r = c.getresponse()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()


# ---- HTTP/2, as bytes ----

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, _, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
ENHANCE_YOUR_CALM = 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# GET, https, /, out of the table that all have, and an authority.
HEAD = bytes([0x82, 0x87, 0x84, 0x41, len(HOST)]) + HOST.encode()


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def field(name, value):
    """A field that goes into no table."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def read_frames(tls):
    """(kind, flags, stream, payload) until the connection ends; how it ends is of no interest."""
    stream = tls.makefile("rb")
    try:
        while len(begin := stream.read(9)) == 9:
            n = int.from_bytes(begin[:3], "big")
            kind, flags, number = struct.unpack(">BBI", begin[3:])
            yield kind, flags, number, stream.read(n)
    except OSError:
        pass


class Load:
    """h2load, again and again until it is closed: a hundred requests on each of some connections.
    All must be answered."""

    def __init__(self, port, clients=40):
        self.words = ["h2load", f"--requests={100 * clients}", f"--clients={clients}",
                      "--max-concurrent-streams=16", f"--connect-to=127.0.0.1:{port}",
                      f"https://{HOST}/"]
        self.all = f"{100 * clients} succeeded, 0 failed, 0 errored, 0 timeout"
        self.n_done, self.bad, self.is_over = 0, None, False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        """Thread."""
        while not self.is_over and self.bad is None:
            done = subprocess.run(self.words, capture_output=True, text=True, check=False)
            if self.all in done.stdout:
                self.n_done += 1
            else:
                self.bad = done.stdout + done.stderr

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()
        assert self.bad is None, self.bad
