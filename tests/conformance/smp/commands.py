# SPDX-License-Identifier: AGPL-3.0-or-later
"""Texts of commands, and strict reading of the server's messages by version."""

from dataclasses import dataclass, field

from .encoding import Reader, boolean, int64, items, large, maybe, short, word16
from .keys import x25519_raw

SPACE = b" "


@dataclass
class Answer:
    """One transmission of the server: `raw` is its text, `fields` what a strict reading gave."""

    corr_id: bytes
    entity: bytes
    raw: bytes
    tag: str = ""
    fields: dict = field(default_factory=dict)

    def __getattr__(self, name):
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(f"{self.raw[:40]!r} has no {name}") from None


def link_data(fixed, user):
    """Fixed and user data of a link."""
    return large(fixed) + large(user)


def queue_request(mode, link):
    """queueReqData. `link` is None, or (sndId, fixed, user), for `C` with the linkId first."""
    if mode is None:
        return maybe(None)
    if link is None:
        return maybe(mode.encode() + maybe(None))
    ids, data = link[:-2], link_data(*link[-2:])
    return maybe(mode.encode() + maybe(b"".join(short(i) for i in ids) + data))


def new_command(version, auth_der, dh_der, *, password=None, subscribe=True, mode="M", link=None,
                notifier=None):
    """NEW in the form of the version; before version 9 a queue has no mode."""
    head = b"NEW " + short(auth_der) + short(dh_der)
    word = None if password is None else short(password)
    sub = b"S" if subscribe else b"C"
    if version < 9:
        return head + (b"" if word is None else b"A" + word) + sub
    head += maybe(word) + sub
    if version < 15:
        return head + boolean(mode == "M")
    head += queue_request(mode, link)
    if version < 17:
        return head
    return head + maybe(None if notifier is None else short(notifier[0]) + short(notifier[1]))


def key_command(tag, der):
    """KEY, SKEY and LKEY."""
    return tag.encode() + SPACE + short(der)


def rkey_command(ders):
    """RKEY with a list of keys."""
    return b"RKEY " + items([short(der) for der in ders])


def lset_command(link_id, fixed, user):
    """LSET."""
    return b"LSET " + short(link_id) + link_data(fixed, user)


def ack_command(msg_id):
    """ACK."""
    return b"ACK " + short(msg_id)


def send_command(body, flags=b"F"):
    """SEND."""
    return b"SEND " + flags + SPACE + body


def nkey_command(key_der, dh_der):
    """NKEY."""
    return b"NKEY " + short(key_der) + short(dh_der)


def service_command(tag, version, total=(0, bytes(16))):
    """SUBS and NSUBS; `total` is what the client counts on, told from version 19."""
    if version < 19:
        return tag.encode()
    return tag.encode() + SPACE + int64(total[0]) + short(total[1])


def pfwd_command(version, key_der, body):
    """PFWD."""
    return b"PFWD " + word16(version) + short(key_der) + body


def prxy_command(host, port, identity, password=None):
    """PRXY; `host` may be a list of hosts."""
    hosts = [host] if isinstance(host, bytes) else host
    server = items([short(each) for each in hosts]) + short(port) + short(identity)
    return b"PRXY " + server + maybe(None if password is None else short(password))


def nothing(reader, version):
    """A message without fields."""
    return {}


def read_ids(reader, version):
    """IDS by version."""
    reader.literal(SPACE)
    out = {"rcv_id": reader.short(), "snd_id": reader.short(),
           "server_dh": x25519_raw(reader.short())}
    if 9 <= version < 15:
        out["snd_secure"] = reader.boolean()
    if version >= 15:
        out["mode"] = reader.maybe(lambda: reader.take(1).decode())
        out["link_id"] = reader.maybe(reader.short)
    if version >= 16:
        out["service_id"] = reader.maybe(reader.short)
    if version >= 17:
        out["notifier"] = reader.maybe(lambda: (reader.short(), x25519_raw(reader.short())))
    return out


def read_sok(reader, version):
    """SOK, which exists from version 16."""
    if version < 16:
        raise ValueError("SOK below version 16")
    reader.literal(SPACE)
    return {"service_id": reader.maybe(reader.short)}


def read_msg(reader, version):
    """MSG."""
    reader.literal(SPACE)
    return {"msg_id": reader.short(), "body": reader.tail()}


def read_lnk(reader, version):
    """LNK."""
    reader.literal(SPACE)
    return {"snd_id": reader.short(), "fixed": reader.large(), "user": reader.large()}


def read_pkey(reader, version):
    """PKEY."""
    reader.literal(SPACE)
    return {"session_id": reader.short(), "min_version": reader.word16(),
            "max_version": reader.word16(),
            "chain": [reader.large() for _ in range(reader.byte())],
            "signed_key": reader.large()}


def read_tail(reader, version):
    """PRES and RRES."""
    reader.literal(SPACE)
    return {"body": reader.tail()}


def read_nid(reader, version):
    """NID."""
    reader.literal(SPACE)
    return {"notifier_id": reader.short(), "server_dh": x25519_raw(reader.short())}


def read_nmsg(reader, version):
    """NMSG."""
    reader.literal(SPACE)
    return {"nonce": reader.take(24), "meta": reader.short()}


def read_total(reader, version):
    """SOKS and ENDS."""
    reader.literal(SPACE)
    return {"count": reader.int64(), "ids_hash": reader.short() if version >= 19 else None}


def read_alls(reader, version):
    """ALLS, which exists from version 19."""
    if version < 19:
        raise ValueError("ALLS below version 19")
    return {}


def read_text(reader, version):
    """ERR, INFO and RNAME: the rest is text."""
    reader.literal(SPACE)
    return {"text": reader.tail().decode()}


def read_deld(reader, version):
    """DELD, which exists from version 10."""
    if version < 10:
        raise ValueError("DELD below version 10")
    return {}


READERS = {
    "IDS": read_ids, "SOK": read_sok, "MSG": read_msg, "LNK": read_lnk, "ERR": read_text,
    "NID": read_nid, "NMSG": read_nmsg, "SOKS": read_total, "ENDS": read_total, "ALLS": read_alls,
    "INFO": read_text, "RNAME": read_text, "DELD": read_deld, "END": nothing,
    "PKEY": read_pkey, "PRES": read_tail, "RRES": read_tail, "OK": nothing, "PONG": nothing,
}


def parse_answer(version, corr_id, entity, text):
    """Reads one message of the server; an unknown tag or a byte too much is an error."""
    tag = text.split(SPACE, 1)[0].decode("latin-1")
    reader = Reader(text)
    reader.take(len(tag))
    fields = READERS[tag](reader, version)
    reader.end()
    return Answer(corr_id, entity, text, tag, fields)
