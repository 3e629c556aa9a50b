# SPDX-License-Identifier: AGPL-3.0-or-later
"""Transmissions and the batches of them that fill a block (section 4 of the wire facts)."""

from dataclasses import dataclass

from .crypto import BLOCK_SIZE
from .encoding import Reader, items, large, maybe, short

BATCH_ROOM = BLOCK_SIZE - 19
BATCH_COUNT = 255


@dataclass
class Sent:
    """A transmission of the client: its bytes and what its answer will be matched by."""

    corr_id: bytes
    entity: bytes
    data: bytes


def signed_text(session_id, corr_id, entity, command):
    """What is signed: the session ID is part of it, also when it is not sent."""
    return short(session_id) + short(corr_id) + short(entity) + command


def encode(version, session_id, corr_id, entity, command, auth=b"", service_auth=None):
    """Bytes of a transmission."""
    out = short(auth)
    if version >= 16 and auth:
        out += maybe(None if service_auth is None else short(service_auth))
    if version < 7:
        out += short(session_id)
    return out + short(corr_id) + short(entity) + command


def batch(transmissions):
    """Content of one block."""
    content = items([large(data) for data in transmissions])
    if len(transmissions) > BATCH_COUNT or len(content) - 1 > BATCH_ROOM:
        raise ValueError("these transmissions do not fit one block")
    return content


def split(transmissions):
    """As few lists as fit a block each, in order."""
    out, room = [], 0
    for item in transmissions:
        size = len(item.data) + 2
        if not out or size > room or len(out[-1]) == BATCH_COUNT:
            out.append([])
            room = BATCH_ROOM
        out[-1].append(item)
        room -= size
    return out


def unbatch(content):
    """Transmissions of a block of the server; anything out of place is an error."""
    reader = Reader(content)
    count = reader.byte()
    if count == 0:
        raise ValueError("block without transmissions")
    out = [reader.large() for _ in range(count)]
    reader.end()
    if len(content) - 1 > BATCH_ROOM:
        raise ValueError("block with more than the room for transmissions")
    return out


def decode(version, session_id, data):
    """(corrId, entityId, text) of a transmission of the server, which never authorizes."""
    reader = Reader(data)
    if reader.short():
        raise ValueError("the server sent an authorization")
    if version < 7 and reader.short() != session_id:
        raise ValueError("the server sent another session identifier")
    return reader.short(), reader.short(), reader.tail()
