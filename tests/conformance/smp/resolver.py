# SPDX-License-Identifier: AGPL-3.0-or-later
"""A resolver of names on loopback, http or https: the first label of a name says what it does."""

import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENT_MS = 60000  # where nothing may end by the clock, on whatever machine

RECORD = {"name": "", "nickname": "Alice", "website": "https://example.org", "location": "Earth",
          "simplexContact": [], "simplexChannel": [], "eth": None, "btc": None, "xmr": None,
          "dot": None, "owner": "0x01", "resolver": "0x02"}


def record(name, **changes):
    """The record of a name."""
    return {**RECORD, "name": name, **changes}


def compact(obj):
    """JSON without spaces, as it goes to clients."""
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode()


def padded(name, size):
    """A record whose JSON has `size` bytes."""
    short = len(compact(record(name, nickname="")))
    return compact(record(name, nickname="n" * (size - short)))


def without(name, key):
    """A record that lacks a key."""
    return {k: v for k, v in record(name).items() if k != key}


def settings(resolver, **more):
    """The ini of a server with this resolver."""
    keys = {"enable": "on", "resolver_endpoint": resolver.endpoint + "//",
            "resolver_timeout_ms": 2000, **more}
    return {("NAMES", key): value for key, value in keys.items()}


class Answer:
    """What the resolver says: a status, a body, and how."""

    def __init__(self, body=b"", status=200, *, delay=0, headers=(), chunked=False):
        self.body = body if isinstance(body, bytes) else compact(body)
        self.status, self.delay, self.headers, self.chunked = status, delay, headers, chunked


def script(name):
    """The answer for a name; None: the connection is closed without one."""
    first = name.split(".")[0]
    if first.startswith("big"):
        return Answer(padded(name, int(first[3:])))
    if first.startswith("expand"):
        return Answer(compact(record(name, nickname="")).replace(
            b'"nickname":""', b'"nickname":"%s"' % (b"\\b" * int(first[6:]))))
    if first.startswith("e") and first[1:4].isdigit():
        return Answer(record(name) if first[4:] else b"no", int(first[1:4]))
    if first.startswith("wait"):
        return Answer(record(name), delay=int(first[4:]) / 1000)
    return {
        "extra": Answer({"another": 1, **record(name), "last": [{}]}),
        "missing": Answer(without(name, "owner")),
        "nocoin": Answer(without(name, "eth")),
        "badtype": Answer(record(name, owner=1)),
        "nolist": Answer(record(name, simplexContact="x")),
        "notjson": Answer(b"<html>"),
        "trailing": Answer(compact(record(name)) + b" x"),
        "empty": Answer(b""),
        "array": Answer([record(name)]),
        "chunked": Answer(record(name), chunked=True),
        "s201": Answer(record(name), 201),
        "s204": Answer(b"", 204),
        "redirect": Answer(b"", 302, headers=[("Location", "/resolve/alice.simplex")]),
        "close": None,
        "late": Answer(record(name), delay=1),
        "slow": Answer(record(name), delay=60),
    }.get(first, Answer(record(name)))


class Handler(BaseHTTPRequestHandler):
    """Answers by `script` of its server."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Quiet."""

    def do_GET(self):  # pylint: disable=invalid-name
        """GET /resolve/<name> and /health, behind any prefix."""
        owner = self.server.owner
        with owner.lock:
            owner.requests.append((self.path, dict(self.headers.items())))
        if self.path.endswith("/health"):
            answer = owner.health
        else:
            answer = owner.script(self.path.rsplit("/", 1)[1])
        if answer is None:
            self.close_connection = True
            return
        owner.ended.wait(answer.delay) if answer.delay else None
        self.say(answer)

    def say(self, answer):
        """Writes an answer."""
        self.send_response(answer.status)
        for key, value in answer.headers:
            self.send_header(key, value)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(answer.body), 7):
                part = answer.body[at:at + 7]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
            return
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)


class Speaker(BaseHTTPRequestHandler):
    """Says what no HTTP server says: its server's `owner.speak(socket, request)`, once a connection.
    """

    def handle(self):
        """Whatever is asked."""
        request = self.request.recv(4096)
        self.server.owner.requests.append(request)
        if request:
            self.server.owner.speak(self.request, request)

    def log_message(self, *_):
        """Quiet."""


class HttpServer(ThreadingHTTPServer):
    """Many requests at once, quiet about clients that went."""

    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_):
        """A client that went."""


class Listening:
    """A server on loopback, http or https, and its thread. `requests` are those that came."""

    def __init__(self, handler, certificate=None, address="127.0.0.1"):
        self.ended = threading.Event()
        self.requests = []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.http = type("Server", (HttpServer,), {"address_family": family})((address, 0), handler)
        self.http.owner = self
        self.scheme, self.host = "http", f"[{address}]" if ":" in address else "localhost"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True,
                                                   do_handshake_on_connect=False)
            self.scheme = "https"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    @property
    def endpoint(self):
        """For resolver_endpoint."""
        return f"{self.scheme}://{self.host}:{self.http.server_address[1]}"

    def wait_for(self, count, timeout=20):
        """Until so many requests have come."""
        deadline = time.monotonic() + timeout
        while len(self.requests) < count:
            assert time.monotonic() < deadline, f"{len(self.requests)} requests of {count}"
            time.sleep(0.01)

    def close(self):
        """Ends it, and every delay."""
        self.ended.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Resolver(Listening):
    """The resolver; `requests` are (path, headers) of all that came. `certificate`: a PEM file with
    a key, for https."""

    def __init__(self, certificate=None, answers=script, address="127.0.0.1"):
        self.script = answers
        self.health = Answer(b"ok")
        self.lock = threading.Lock()
        super().__init__(Handler, certificate, address)


class Rubbish(Listening):
    """In a resolver's place: `speak(socket, request)` is called for each connection."""

    def __init__(self, speak):
        self.speak = speak
        super().__init__(Speaker)
