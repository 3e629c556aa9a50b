# SPDX-License-Identifier: AGPL-3.0-or-later
"""A tiny SOCKS5 server: notes what it is asked, connects where it is told to, or misbehaves."""

import select
import socket
import threading

from .encoding import Reader

GRANTED = b"\5\0\0\1" + bytes(6)
GRANTED_NAME = b"\5\0\0\3\x09localhost\0\0"
GRANTED_V6 = b"\5\0\0\4" + bytes(18)


class SocksServer:
    """`target(host, port)` says where to connect to really; `script(sock)` replaces all."""

    def __init__(self, target=None, *, script=None, method=2, reply=GRANTED, slowly=False):
        self.target, self.script, self.method = target, script, method
        self.reply, self.slowly = reply, slowly
        self.asked, self.credentials, self.offered = [], [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        """Thread."""
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.run, args=(sock,), daemon=True).start()

    def run(self, sock):
        """Thread of one connection."""
        try:
            with sock:
                if self.script:
                    self.script(sock)
                else:
                    self.serve(sock)
        except (OSError, ValueError):
            pass  # the client closed

    def say(self, sock, data):
        """An answer, perhaps byte by byte."""
        for i in range(0, len(data), 1 if self.slowly else len(data)):
            sock.sendall(data[i:i + (1 if self.slowly else len(data))])
            if self.slowly:
                select.select([], [], [], 0.005)

    def serve(self, sock):
        """The whole exchange, and then bytes both ways."""
        greeting = sock.recv(2)
        methods = sock.recv(greeting[1])
        self.offered.append(methods)
        self.say(sock, bytes((5, self.method)))
        if self.method == 2:
            reader = Reader(sock.recv(600))
            assert reader.byte() == 1
            self.credentials.append((reader.short(), reader.short()))
            self.say(sock, b"\1\0")
        reader = Reader(sock.recv(600))
        assert reader.take(3) == b"\5\1\0"
        kind = reader.byte()
        if kind == 3:
            host = reader.short()
        else:
            size = {1: 4, 4: 16}[kind]
            family = {1: socket.AF_INET, 4: socket.AF_INET6}[kind]
            host = socket.inet_ntop(family, reader.take(size)).encode()
        port = reader.word16()
        reader.end()
        self.asked.append((kind, host, port))
        if self.target is None:
            return
        with socket.create_connection(self.target(host, port)) as other:
            self.say(sock, self.reply)
            relay_bytes(sock, other)


def relay_bytes(one, other):
    """Until one side ends."""
    peer = {one: other, other: one}
    while True:
        for sock in select.select([one, other], [], [])[0]:
            data = sock.recv(65536)
            if not data:
                return
            peer[sock].sendall(data)
