# SPDX-License-Identifier: AGPL-3.0-or-later
"""A person at the control port."""

import socket

TIMEOUT = 60
GREETING = b"SMP server control port\n'help' for supported commands\n"
ADMIN, USER = "adminpassword", "userpassword"


def use(program, port, **settings):
    """Settings for a control port with both passwords; others by key of [AUTH], None: not set."""
    program.set("TRANSPORT", "control_port", port)
    for key, value in {"control_port_admin_password": ADMIN, "control_port_user_password": USER,
                       **settings}.items():
        if value is not None:
            program.set("AUTH", key, value)


class Control:
    """One session. Answers are read up to those of two commands which are never given together."""

    MARK = b"***", b"help me"
    END = (b"error: no such command: 'help' lists them\n"
           b"error: there are more words than the command takes\n")

    def __init__(self, port, password=None, host="127.0.0.1"):
        self.sock = socket.create_connection((host, port), TIMEOUT)
        self.got = b""
        assert self.read(len(GREETING)) == GREETING
        if password is not None:
            self.auth(password)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def receive(self):
        """Some more; b"" at the end."""
        piece = self.sock.recv(1 << 16)
        self.got += piece
        return piece

    def read(self, n):
        """So many bytes, or fewer at the end."""
        while len(self.got) < n and self.receive():
            pass
        out, self.got = self.got[:n], self.got[n:]
        return out

    def raw(self, data):
        """Sends bytes."""
        self.sock.sendall(data)

    def line(self, command, end=b"\n"):
        """A command with an answer of one line, which it gives without its end."""
        self.raw(command.encode() + end)
        while b"\n" not in self.got:
            assert self.receive(), "closed"
        out, self.got = self.got.split(b"\n", 1)
        return out.decode()

    def lines(self, command, end=b"\n"):
        """A command with any answer: its lines."""
        self.raw(end.join((command.encode(), *self.MARK, b"")))
        while not (b"\n" + self.got).endswith(b"\n" + self.END):
            assert self.receive(), f"closed after {self.got!r}"
        out, self.got = self.got[:-len(self.END)], b""
        return out.decode().splitlines()

    def auth(self, password):
        """Takes the role that the password gives."""
        answer = self.line(f"auth {password}")
        assert answer in ("Current role is CPRAdmin", "Current role is CPRUser"), answer

    def rest(self):
        """Everything up to the end of the connection, which is a reset where the server leaves
        something unread."""
        try:
            while self.receive():
                pass
        except ConnectionResetError:
            pass
        return self.got
