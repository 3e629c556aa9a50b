# SPDX-License-Identifier: AGPL-3.0-or-later
"""WebSocket (RFC 6455), a client's side over TLS: its upgrade, its frames, and a link whose blocks
are messages. What is wrong in a frame of the server's raises BadFrame."""

import base64
import hashlib
import os
import ssl
import struct
import time

from .crypto import BLOCK_SIZE
from .transport import Closed, Link

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HTTP = ("http/1.1",)


class BadFrame(AssertionError):
    """The server sent what RFC 6455 forbids, or what it never has a reason to send."""


class NoUpgrade(Exception):
    """The answer to the upgrade is another; `status` and `fields` are it."""

    def __init__(self, status, fields):
        super().__init__(f"{status} {fields}")
        self.status, self.fields = status, fields


class ClosedWith(Closed):
    """The server sent a close frame; `code` is its code, None when it has none."""

    def __init__(self, code):
        super().__init__(f"close frame {code}")
        self.code = code


def challenge_text(challenge):
    """A challenge as it stands in the target."""
    return base64.urlsafe_b64encode(challenge).decode().rstrip("=")


def upgrade_request(target="/", host="localhost", key=None, **changed):
    """The request; a field that is None is left out, `_` in names stands for `-`."""
    key = key or base64.b64encode(os.urandom(16)).decode()
    fields = {"Host": host, "Upgrade": "websocket", "Connection": "Upgrade",
              "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
    fields.update({name.replace("_", "-"): value for name, value in changed.items()})
    lines = [f"GET {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def mask_payload(payload, mask):
    """The payload under its mask, or out of it."""
    count = len(payload)
    pattern = (mask * (count // 4 + 1))[:count]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")).to_bytes(count, "big")


def frame(opcode, payload=b"", *, final=True, mask=True, reserved=0, length=None):
    """One frame; `length` says another than the payload's, in the longest form."""
    head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    bit, count = (0x80 if mask else 0), len(payload)
    if length is not None:
        head += bytes([bit | 127]) + struct.pack(">Q", length)
    elif count < 126:
        head += bytes([bit | count])
    elif count < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", count)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", count)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + mask_payload(payload, key)


def close_payload(code, reason=b""):
    """The payload of a close frame."""
    return struct.pack(">H", code) + reason


class WebLink(Link):
    """A link that carries blocks in messages. `target` and `challenge` make the request; `raw` leaves
    the upgrade to the test; `is_page`: TLS shows a certificate for browsers."""

    def __init__(self, address, *, target="/", challenge=None, raw=False, is_page=False, **options):
        options.setdefault("alpn", HTTP)
        super().__init__(address, **options)
        self.challenge = challenge
        self.is_page = is_page
        self.pongs = []
        self.begun = 0  # bytes of a message that was not written to its end
        if challenge is not None:
            target += "?challenge=" + challenge_text(challenge)
        if not raw:
            try:
                self.upgrade(target)
            except BaseException:
                self.close()
                raise

    def leaf(self):
        """The leaf certificate that the hello has to show, if TLS has shown it."""
        return None if self.is_page else super().leaf()

    def upgrade(self, target="/", key=None, **changed):
        """Sends the request and reads its answer; NoUpgrade for another than 101."""
        key = key or base64.b64encode(os.urandom(16)).decode()
        self.write_bytes(upgrade_request(target, key=key, **changed))
        status, fields = self.read_head()
        if status != 101:
            raise NoUpgrade(status, fields)
        accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        if fields != {"upgrade": "websocket", "connection": "Upgrade",
                      "sec-websocket-accept": accept}:
            raise BadFrame(f"answer to the upgrade: {fields}")

    def read_head(self):
        """Status and fields of an answer."""
        deadline = time.monotonic() + self.timeout
        while b"\r\n\r\n" not in self.buffer:
            self.fill(deadline)
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer = bytearray(rest)
        first, *lines = head.decode().split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        return int(first.split(" ")[1]), {name.lower(): value for name, value in pairs}

    def fill(self, deadline):
        """More bytes into the buffer."""
        self.tls.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            piece = self.tls.recv(BLOCK_SIZE)
        except (ConnectionError, ssl.SSLError, TimeoutError) as error:
            if isinstance(error, (ssl.SSLWantReadError, TimeoutError)):
                raise TimeoutError("nothing in time") from error
            raise Closed(str(error)) from error
        if not piece:
            raise Closed("end of stream")
        self.buffer += piece

    def take(self, count, deadline):
        """The next bytes, which stay in the buffer until drop()."""
        while len(self.buffer) < count:
            self.fill(deadline)
        return bytes(self.buffer[:count])

    def read_frame(self, timeout=None):
        """Opcode and payload of the next frame."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        first, count = self.take(2, deadline)
        at = 2
        if first & 0x70 or not first & 0x80:
            raise BadFrame("a fragment, or a reserved bit")
        if count & 0x80:
            raise BadFrame("servers do not mask")
        if count == 126:
            at, (count,) = 4, struct.unpack(">H", self.take(4, deadline)[2:])
            if count < 126:
                raise BadFrame("the length is not in its shortest form")
        elif count == 127:
            raise BadFrame("too long")
        payload = self.take(at + count, deadline)[at:]
        del self.buffer[:at + count]
        return first & 0x0F, payload

    def control(self, opcode, payload):
        """Acts on a control frame."""
        if opcode == PONG:
            self.pongs.append(payload)
        elif opcode == CLOSE:
            raise ClosedWith(struct.unpack(">H", payload[:2])[0] if payload else None)
        else:
            raise BadFrame(f"opcode {opcode}")

    def read_block(self, timeout=None):
        """The next message, which is a block."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            opcode, payload = self.read_frame(max(0.001, deadline - time.monotonic()))
            if opcode != BINARY:
                self.control(opcode, payload)
                continue
            if len(payload) != BLOCK_SIZE:
                raise BadFrame(f"a message of {len(payload)} bytes")
            return payload

    def write_bytes(self, data):
        """Bytes as they are."""
        super().write(data)

    def write(self, data, timeout=None):
        """Blocks, a message each; a part of one is a fragment, and the next goes on with it."""
        out, at = [], 0
        while at < len(data):
            part = data[at:at + BLOCK_SIZE - self.begun]
            opcode = CONTINUATION if self.begun else BINARY
            self.begun = (self.begun + len(part)) % BLOCK_SIZE
            out.append(frame(opcode, part, final=self.begun == 0))
            at += len(part)
        super().write(b"".join(out), timeout)

    def end(self, timeout=None):
        """The code of the server's close frame; what comes before it is dropped. Then the stream
        ends, too."""
        code = None
        try:
            while True:
                self.read_block(timeout)
        except ClosedWith as error:
            code = error.code
        try:
            self.fill(time.monotonic() + (timeout or self.timeout))
        except Closed:
            return code
        raise BadFrame("something after the close frame")
