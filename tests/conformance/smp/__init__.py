# SPDX-License-Identifier: AGPL-3.0-or-later
"""An independent client of the SimpleX Messaging Protocol, versions 6 to 19, for tests."""

from .commands import Answer, new_command, parse_answer
from .connection import Connection, Unanswered
from .keys import Ed448Key, Ed25519Key, X25519Key, make_key
from .queue import Delivered, Queue
from .transport import Address, HandshakeRefused, Link

__all__ = [
    "Address", "Answer", "Connection", "Delivered", "Ed448Key", "Ed25519Key", "HandshakeRefused",
    "Link", "Queue", "Unanswered", "X25519Key", "make_key", "new_command", "parse_answer",
]

MIN_VERSION = 6
MAX_VERSION = 19
