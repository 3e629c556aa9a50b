/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_format.h -- the bytes of the message journal: encode and decode, side by side. Pure; any
 * thread.
 *
 * A segment is a file: one header block of SEGMENT_HEAD_LEN bytes, then records, each beginning at
 * a multiple of 8. Every record has the same head of RECORD_HEAD_LEN bytes and, for messages, the
 * body, padded to 8. Numbers are big endian. The CRC of a record's head is seeded with the salt of
 * this use of the file and with the place of the record, so that neither what an earlier use left
 * behind nor bytes inside a body can pass for a record. docs/FORMATS.md describes it for others. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/id.h"
#include "store/disk/journal.h"

enum { SEGMENT_HEAD_LEN = 4096, RECORD_HEAD_LEN = 96, JOURNAL_VERSION = 3 };

struct segment_head {
    uint32_t version; /* encoded: always JOURNAL_VERSION */
    uint32_t number;
    uint32_t len;       /* bytes of the file */
    uint64_t salt;      /* random, new for each use of a file */
    uint64_t first_n;   /* n of the first record */
    uint64_t durable_n; /* as of records: the highest n that was on stable storage when this segment
                           was begun */
    int64_t created_s;
};

enum record_type {
    JREC_MSG = 1,    /* a message */
    JREC_COPY = 2,   /* the same message again, from an older segment */
    JREC_DELETE = 3, /* the message is deleted */
    JREC_MARK = 4,   /* says durable_n, nothing else */
    JREC_END = 5,    /* the last one of its segment; stands for the numbers n to order */
    JREC_SKIP = 6,   /* repaired damage: stands for the numbers n to order, and for all bytes up to
                        the next record */
    JREC_PURGE = 7,  /* the messages of this queue with a lower `order` are deleted */
    JREC_GONE = 8,   /* was a message, or a deletion of what is gone */
};

enum { RECORD_FLAG_NOTIFICATION = 1, RECORD_FLAG_QUOTA = 2 };

struct record_head {
    uint32_t len; /* bytes up to the next record: a multiple of 8 */
    uint8_t type; /* enum record_type */
    uint8_t flags;
    uint16_t body_len;
    uint64_t n;         /* running number, without gaps over all segments */
    uint64_t durable_n; /* the highest n that was on stable storage when this record was written */
    uint64_t order; /* of the message: n of its first record; END, SKIP: the last number they stand
                       for */
    int64_t ts_s;
    struct id queue, msg;
    uint32_t body_crc;
};

/* A place in the journal, as the CRC of a record knows it. */
struct record_place {
    uint64_t salt;
    struct journal_loc loc;
};

/* Bytes of a record with such a body, padding included. */
static inline uint32_t record_len(uint16_t body_len) {
    return RECORD_HEAD_LEN + (((uint32_t)body_len + 7) & ~(uint32_t)7);
}

void segment_head_encode(const struct segment_head *h, uint8_t ret[SEGMENT_HEAD_LEN]);
/* E_VERSION: written by a later version; E_SYNTAX: anything else is wrong. */
MUST_USE enum err segment_head_decode(struct bytes block, struct segment_head *ret);

void record_head_encode(const struct record_head *h, const struct record_place *at,
                        uint8_t ret[RECORD_HEAD_LEN]);
/* E_SYNTAX unless the head is whole, belongs here, and its record fits into what is left of the
 * segment: `in` goes up to its end. The body is not looked at. */
MUST_USE enum err record_head_decode(struct bytes in, const struct record_place *at,
                                     struct record_head *ret);
/* The same of a head that was read alone: whether its record fits is not looked at. */
MUST_USE enum err record_head_decode_alone(const uint8_t in[RECORD_HEAD_LEN],
                                           const struct record_place *at, struct record_head *ret);
bool record_body_is_whole(const struct record_head *h, struct bytes body);

/* True if all bytes are zero. */
bool bytes_are_zero(struct bytes b);
