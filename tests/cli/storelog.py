# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store log by its grammar alone (docs/FORMATS.md): what a log with one line a queue says."""

OPTIONAL = ["queue_mode", "link_id", "queue_data", "notifier", "updated_at", "status", "rsrv"]
REQUIRED = ["rid", "rk", "rdh", "sid", "sk"]
WIDTHS = {"queue_data": 2, "notifier": 3}


def parse_create(words):
    """Fields of a CREATE line."""
    fields, at = {}, 0
    while at < len(words):
        name, _, value = words[at].partition("=")
        width = WIDTHS.get(name, 1)
        fields[name] = " ".join([value, *words[at + 1:at + width]])
        at += width
    return fields


def apply(fields, tag, words):
    """A later line about a queue."""
    if tag == "LINK":
        fields["link_id"], fields["queue_data"] = words[0], " ".join(words[1:])
    elif tag == "LDELETE":
        fields.pop("link_id", None)
        fields.pop("queue_data", None)
    elif tag == "SECURE":
        fields["sk"] = words[0]
    elif tag == "KEYS":
        fields["rk"] = words[0]
    elif tag == "NOTIFIER":
        fields["notifier"] = " ".join(words)
    elif tag == "NDELETE":
        fields.pop("notifier", None)
    elif tag == "SUSPEND":
        fields["status"] = "off"
    elif tag == "BLOCK":
        fields["status"] = "blocked," + words[0]
    elif tag == "UNBLOCK":
        fields.pop("status", None)
    elif tag == "TIME":
        fields["updated_at"] = words[0]
    else:
        raise ValueError(tag)


def queues(text):
    """Recipient id to fields."""
    found = {}
    for line in text.splitlines():
        tag, *words = line.split(" ")
        if tag == "CREATE":
            fields = parse_create(words)
            found[fields["rid"]] = fields
        elif tag == "DELETE":
            found.pop(words[0], None)
        elif words[0] in found:
            apply(found[words[0]], tag, words[1:])
    return found


def compacted(text):
    """The lines that say the same, one for each queue."""
    return {"CREATE " + " ".join(f"{name}={fields[name]}" for name in REQUIRED + OPTIONAL
                                 if name in fields) for fields in queues(text).values()}
