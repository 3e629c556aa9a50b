/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* record.h -- a line of the store log, as text and as a struct.
 *
 * Reads what the reference wrote from 4.0 to 6.5 and writes what 6.5 writes: a line of 6.5 that was
 * parsed and written again has the same bytes (docs/FORMATS.md, "Store log"). Binary fields have
 * one spelling only: base64url with its padding. A line is without its newline. Pure; any thread.
 */
#pragma once

#include "base/err.h"
#include "base/id.h"
#include "base/wr.h"
#include "model/queue.h"

/* In bytes, but for the first. */
enum {
    RECORD_KEYS_MAX = 255,   /* recipient keys: the reference counts them in one byte */
    RECORD_LINK_MAX = 16384, /* link data, both parts together: they come in one block */
    RECORD_INFO_MAX = 1024,  /* reason of a block, as text; the reference's are below 60 */
    RECORD_CERT_MAX = 22528, /* certificate chain, as text: it came in one block */
    RECORD_LINE_MAX = 49152  /* any record fits */
};

enum record_tag {
    RECORD_CREATE,
    RECORD_LINK,
    RECORD_LDELETE,
    RECORD_SECURE,
    RECORD_KEYS,
    RECORD_NOTIFIER,
    RECORD_NDELETE,
    RECORD_SUSPEND,
    RECORD_BLOCK,
    RECORD_UNBLOCK,
    RECORD_DELETE,
    RECORD_TIME,
    RECORD_NEW_SERVICE,
    RECORD_QUEUE_SERVICE,
    N_RECORD_TAGS
};

/* The first two are those of enum queue_status. */
enum record_status { RECORD_ACTIVE = STATUS_ACTIVE, RECORD_OFF = STATUS_OFF, RECORD_BLOCKED };

/* The records that have a field are named with it. In other records it is zero after record_parse()
 * and not looked at by record_write(). What a parsed record borrows is in the scratch (keys, link
 * data) or in the line (texts). Times are Unix seconds as written, and never negative. */
struct record {
    enum record_tag tag;
    struct id rcv_id; /* all but NEW_SERVICE */

    struct id snd_id;              /* CREATE */
    uint8_t dh_secret[X25519_LEN]; /* CREATE; secret */
    enum queue_mode mode;          /* CREATE */
    const struct pubkey *rcv_keys; /* CREATE, KEYS: 1 to RECORD_KEYS_MAX; borrowed */
    size_t n_rcv_keys;
    struct pubkey snd_key; /* SECURE, CREATE; KEY_NONE there: not secured */

    bool has_link; /* CREATE; always in LINK */
    struct id link_id;
    struct bytes link_fixed; /* decoded; borrowed; may be empty */
    struct bytes link_user;  /* likewise */

    bool has_notifier; /* CREATE; always in NOTIFIER */
    struct queue_notifier notifier;
    bool has_ntf_service; /* where there is a notifier: subscribed by this service */
    struct id ntf_service_id;

    bool has_updated_at; /* CREATE; always in TIME */
    int64_t updated_at_s;

    enum record_status status; /* CREATE */
    struct bytes info;         /* BLOCK, CREATE when blocked: "reason=.." word for word; borrowed */

    bool has_service; /* CREATE (of the recipient), QUEUE_SERVICE; always in NEW_SERVICE */
    struct id service_id;
    char party;             /* QUEUE_SERVICE: 'R' or 'N' */
    char role;              /* NEW_SERVICE: 'M', 'N' or 'P' */
    struct bytes cert;      /* NEW_SERVICE: chain, word for word; borrowed */
    struct bytes cert_hash; /* NEW_SERVICE: word for word; borrowed */
    int64_t created_at_s;   /* NEW_SERVICE */
};

/* Where parsed keys and link data are put, about 31 KB. Needs no preparation; each parse starts
 * over. */
struct record_scratch {
    struct pubkey keys[RECORD_KEYS_MAX];
    uint8_t link[RECORD_LINK_MAX];
};

/* Is it what a blocked queue may have behind "blocked,": info above? */
bool record_info_is_good(struct bytes info);
/* E_SYNTAX; ret is then undefined. ret borrows from line and scratch. The record holds secrets:
 * wipe it after the last use. */
MUST_USE enum err record_parse(struct bytes line, struct record_scratch *scratch,
                               struct record *ret);
/* The queue that a line is of, without a look at the rest. False: of none, or it is no record. */
bool record_queue_of(struct bytes line, struct id *ret, enum record_tag *ret_tag);
/* The line, without a newline. What does not fit is told by wr_err(); RECORD_LINE_MAX bytes are
 * always enough. */
void record_write(const struct record *rec, struct wr *w);
const char *record_tag_text(enum record_tag tag); /* "CREATE"; static */
