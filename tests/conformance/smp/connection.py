# SPDX-License-Identifier: AGPL-3.0-or-later
"""A connection: commands, their answers by corrId, and what the server sends of itself."""

import os
import time
from collections import deque

from .commands import parse_answer
from .service import ServiceSession
from .transmissions import Sent, batch, decode, encode, signed_text, split, unbatch
from .transport import Link, Session

LINK_OPTIONS = ("alpn", "tls", "ciphers", "group", "certificate", "timeout", "source",
                "server_name", "buffers")


class Unanswered(TimeoutError):
    """No answer, or no event, in time."""


SIGNED_BY_SERVICES = (b"NEW", b"SUB", b"NSUB")


class ServiceKey:
    """Authorizes by the session key of a service."""

    def __init__(self, service):
        self.service = service

    def authorize(self, server_key, corr_id, signed):
        """The authorization of a command."""
        return self.service.sign(signed)


class Connection:
    """A client after its handshake, on a `link` of its own or the one it is given. `blocks` is how
    many blocks the server has sent so far."""

    def __init__(self, address, version=None, **options):
        self.address = address
        service = options.get("service")
        if service and not isinstance(service, ServiceSession):
            options["service"] = ServiceSession(service)
        if service:
            options.setdefault("certificate", options["service"].service.pem)
        self.link = options.pop("link", None) or Link(
            address, **{k: options.pop(k) for k in LINK_OPTIONS if k in options})
        self.events = deque()
        self.answers = {}
        self.blocks = 0
        try:
            self.session = Session(self.link, version, **options)
        except BaseException:
            self.link.close()
            raise
        self.version = self.session.version
        self.service_id = options["service"].service_id if service else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes the connection."""
        self.link.close()

    def make(self, command, entity=b"", key=None, corr_id=None, service_signs=None):
        """A transmission, authorized when there is a key. In a service's session NEW, SUB and NSUB
        are signed by the service too, unless `service_signs` says otherwise."""
        session = self.session
        corr_id = os.urandom(24) if corr_id is None else corr_id
        auth, service_auth = b"", None
        if service_signs is None:
            service_signs = (session.service is not None
                             and command.split(b" ")[0] in SIGNED_BY_SERVICES)
        if key is not None:
            signed = signed_text(session.session_id, corr_id, entity, command)
            if service_signs:
                service_auth = session.service.sign(signed)
                signed = session.service.service.cert_hash + signed
            auth = key.authorize(session.server_key, corr_id, signed)
        data = encode(self.version, session.session_id, corr_id, entity, command, auth,
                      service_auth)
        return Sent(corr_id, entity, data)

    def as_service(self, command, key=None):
        """SUBS and NSUBS: about the service, signed by its session key."""
        service = self.session.service
        return self.request(command, service.service_id, key or ServiceKey(service))

    def write_content(self, content):
        """One block of any content."""
        self.link.write(self.session.seal(content))

    def write(self, sent):
        """Transmissions in as few blocks as they fit."""
        for part in split(sent):
            self.write_content(batch([item.data for item in part]))

    def read(self, timeout=None):
        """The answers of the next block, in their order."""
        content = self.session.unseal(self.link.read_block(timeout))
        self.blocks += 1
        found = [decode(self.version, self.session.session_id, data) for data in unbatch(content)]
        return [parse_answer(self.version, *item) for item in found]

    def receive(self, timeout=None):
        """Reads a block and sorts it into answers and events."""
        for answer in self.read(timeout):
            if answer.corr_id:
                self.answers[answer.corr_id] = answer
            else:
                self.events.append(answer)

    def wait(self, sent, timeout=None):
        """The answer to a transmission, for the entity it was sent to."""
        deadline = time.monotonic() + (timeout or self.link.timeout)
        while sent.corr_id not in self.answers:
            try:
                self.receive(max(0.001, deadline - time.monotonic()))
            except TimeoutError as error:
                raise Unanswered(f"no answer to {sent.data[-60:]!r}") from error
        return self.answers.pop(sent.corr_id)

    def request(self, command, entity=b"", key=None, corr_id=None):
        """Sends one command and gives its answer."""
        sent = self.make(command, entity, key, corr_id)
        self.write([sent])
        return self.wait(sent)

    def event(self, timeout=None):
        """The next message that the server sent of itself."""
        deadline = time.monotonic() + (timeout or self.link.timeout)
        while not self.events:
            try:
                self.receive(max(0.001, deadline - time.monotonic()))
            except TimeoutError as error:
                raise Unanswered("the server sent nothing of itself") from error
        return self.events.popleft()

    def ping(self):
        """A round trip; raises unless the answer is PONG."""
        answer = self.request(b"PING")
        if answer.raw != b"PONG" or answer.entity:
            raise ValueError(f"answer to PING: {answer!r}")

    def quiet(self, duration=0.2):
        """True when the server sends nothing of itself; there is no event to wait for."""
        self.ping()
        deadline = time.monotonic() + duration
        while not self.events and time.monotonic() < deadline:
            try:
                self.receive(max(0.001, deadline - time.monotonic()))
            except TimeoutError:
                break
        return not self.events

    def closed_within(self, timeout):
        """Whether the server ends this connection in time."""
        return self.link.closed_within(timeout)
