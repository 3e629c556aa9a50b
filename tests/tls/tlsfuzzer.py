#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Scripts of tlsfuzzer against the port for browsers, whose TLS is that of all ports, with suites and
groups that tlsfuzzer knows. Neither it nor tlslite-ng is a package of Debian: name clones of both
(github.com/tlsfuzzer); python3-ecdsa is one. Run are the scripts for TLS 1.3 that ask nothing of a
server which this one does not offer: tickets, certificates of clients, early data, CCM, groups but X25519,
P-256 and P-384; and that do not mind which alert OpenSSL chooses. What else is left out has its reason.
Ends with "N passed, N failed", in scripts; exit status 1 if one failed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "conformance"), str(HERE.parent / "cli")]

from program import Program, free_port  # noqa: E402
from smp.server import find_binary  # noqa: E402
from web_client import HOST, make_pair  # noqa: E402

TIMEOUT_S = 900
# Name of a script, and what of it is left out.
SCRIPTS = {
    # Its client wants a ticket behind the handshake, and TLS 1.2 with RSA.
    "0rtt_garbage": (
        "handshake with 0-RTT, HRR and early data after 2nd Client Hello",
        "handshake with invalid 0-RTT and unknown version (downgrade to TLS 1.2)",
        "undecryptable record later in handshake together with early_data"),
    "ccs": (),
    "connection_abort": ("After NewSessionTicket",),
    "conversation": (),
    "count_tickets": (),
    "empty_alert": (),
    "finished_plaintext": (),
    "hrr": (),
    "invalid_ciphers": (),
    "keyshare_omitted": (),
    "keyupdate": (),
    # OpenSSL says handshake_failure for SSL 3, not protocol_version.
    "legacy_version": ("version (3, 0)",),
    "nociphers": (),
    "record_padding": (),
    "serverhello_random": ("TLS 1.3 with ffdhe2048", "TLS 1.3 with ffdhe3072", "TLS 1.3 with secp521r1",
                           "TLS 1.3 with x448"),
    "unencrypted_alert": (),
    "zero_content_type": (),
    "zero_length_data": (),
}


def start(program, https):
    """A server with a port for browsers alone, since the scripts name no server, and a certificate
    that they can check."""
    program.init("--no-password", "--ip", "127.0.0.1")
    crt, key = program.config / "web.crt", program.config / "web.key"
    make_pair(crt, key, kind="RSA")
    for section, name, value in (("TRANSPORT", "host", HOST), ("TRANSPORT", "port", program.port),
                                 ("TRANSPORT", "bind", "127.0.0.1"), ("WEB", "https", https),
                                 ("WEB", "cert", crt), ("WEB", "key", key)):
        program.set(section, name, value)
    return program.start()


def run(script, without, port, environment):
    """Whether a script was content; if not, its output."""
    words = [word for name in without for word in ("-e", name)]
    done = subprocess.run(["/usr/bin/python3", "-m", f"tlsfuzzer._apps.test_tls13_{script}", "-h", "localhost", "-p",
                           str(port), *words], env=environment, stdout=subprocess.PIPE, timeout=TIMEOUT_S,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    return done.returncode == 0, done.stdout


def main():
    """0 when all were content."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tlsfuzzer", required=True, type=os.path.abspath, help="a clone")
    parser.add_argument("--tlslite", required=True, type=os.path.abspath, help="a clone of tlslite-ng")
    parser.add_argument("--server-binary")
    parser.add_argument("scripts", nargs="*", default=list(SCRIPTS), help="some of them")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="smp-tls-") as root:
        program = Program(find_binary(options.server_binary), Path(root))
        environment = {**os.environ, "PYTHONPATH": f"{options.tlsfuzzer}:{options.tlslite}"}
        try:
            https = free_port()
            server = start(program, https)
            for script in options.scripts:
                content, said = run(script, SCRIPTS.get(script, ()), https, environment)
                failed += not content
                print(f"{script}: {'ok' if content else 'FAILED'}" + ("" if content else f"\n{said}"), flush=True)
            server.stop()
        finally:
            program.end()
    print(f"{len(options.scripts) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
