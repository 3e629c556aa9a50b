# SPDX-License-Identifier: AGPL-3.0-or-later
"""An independent client of the SimpleX Messaging Protocol, versions 6 to 20, for tests."""

from .commands import Answer, new_command, parse_answer
from .connection import Connection, Unanswered
from .keys import Ed448Key, Ed25519Key, X25519Key, make_key
from .queue import Delivered, Notifier, Queue
from .service import Service, ServiceSession, ids_sum
from .transport import Address, HandshakeRefused, Link

__all__ = [
    "Address", "Answer", "Connection", "Delivered", "Ed448Key", "Ed25519Key", "HandshakeRefused",
    "Link", "Notifier", "Queue", "Service", "ServiceSession", "Unanswered", "X25519Key", "ids_sum",
    "make_key", "new_command", "parse_answer",
]

MIN_VERSION = 6
MAX_VERSION = 20
