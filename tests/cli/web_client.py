# SPDX-License-Identifier: AGPL-3.0-or-later
"""Certificates for browsers, and what browsers do."""

import contextlib
import http.client
import socket
import ssl

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
    openssl("req", "-x509", *KINDS.get(kind, kind), "-nodes", "-subj", f"/CN={host}", "-addext",
            f"subjectAltName=DNS:{host}", "-days", days, "-keyout", key, "-out", crt)


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

