/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/disk/journal_format.h"

#include <assert.h>

#include "base/crc32c.h"
#include "base/rd.h"
#include "base/wr.h"

enum { SEGMENT_HEAD_USED = 56 };
static const char MAGIC[8] = {'S', 'M', 'P', 'J', 'R', 'N', 'L', '\n'};

static void wr_u64(struct wr *w, uint64_t v) {
    wr_i64(w, (int64_t)v);
}

static uint64_t rd_u64(struct rd *r) {
    return (uint64_t)rd_i64(r);
}

static struct id rd_id(struct rd *r) {
    struct id id = {{0}};
    (void)id_from_bytes(rd_take(r, ID_LEN), &id); /* fails with the cursor */
    return id;
}

void segment_head_encode(const struct segment_head *h, uint8_t ret[SEGMENT_HEAD_LEN]) {
    memset(ret, 0, SEGMENT_HEAD_LEN);
    struct wr w = wr_init(ret, SEGMENT_HEAD_LEN);
    wr_bytes_raw(&w, bytes_of(MAGIC, sizeof MAGIC));
    wr_u32(&w, JOURNAL_VERSION);
    wr_u32(&w, h->number);
    wr_u32(&w, h->len);
    wr_u64(&w, h->salt);
    wr_u64(&w, h->first_n);
    wr_u64(&w, h->durable_n);
    wr_i64(&w, h->created_s);
    wr_u32(&w, crc32c(0, ret, w.at));
    assert(wr_err(&w) == OK && w.at == SEGMENT_HEAD_USED);
}

enum err segment_head_decode(struct bytes block, struct segment_head *ret) {
    if (block.n < SEGMENT_HEAD_LEN) return E_SYNTAX;
    struct rd r = rd_init(bytes_of(block.p, SEGMENT_HEAD_LEN));
    struct segment_head h;
    const struct bytes magic = rd_take(&r, sizeof MAGIC);
    h.version = rd_u32(&r);
    h.number = rd_u32(&r);
    h.len = rd_u32(&r);
    h.salt = rd_u64(&r);
    h.first_n = rd_u64(&r);
    h.durable_n = rd_u64(&r);
    h.created_s = rd_i64(&r);
    const uint32_t crc = crc32c(0, block.p, r.at);
    if (rd_u32(&r) != crc || !bytes_equal(magic, bytes_of(MAGIC, sizeof MAGIC))) return E_SYNTAX;
    if (h.version == 0 || h.version > JOURNAL_VERSION) return E_VERSION;
    *ret = h;
    return OK;
}

/* What the CRC of a head begins with: this use of the file, and this place in it. */
static uint32_t place_crc(const struct record_place *at) {
    uint8_t buf[16];
    struct wr w = wr_init(buf, sizeof buf);
    wr_u64(&w, at->salt);
    wr_u32(&w, at->loc.segment);
    wr_u32(&w, at->loc.offset_8);
    return crc32c(0, buf, sizeof buf);
}

void record_head_encode(const struct record_head *h, const struct record_place *at,
                        uint8_t ret[RECORD_HEAD_LEN]) {
    struct wr w = wr_init(ret, RECORD_HEAD_LEN);
    wr_u32(&w, h->len);
    wr_u8(&w, h->type);
    wr_u8(&w, h->flags);
    wr_u16(&w, h->body_len);
    wr_u64(&w, h->n);
    wr_u64(&w, h->durable_n);
    wr_u64(&w, h->order);
    wr_i64(&w, h->ts_s);
    wr_bytes_raw(&w, id_bytes(&h->queue));
    wr_bytes_raw(&w, id_bytes(&h->msg));
    wr_u32(&w, h->body_crc);
    wr_u32(&w, crc32c(place_crc(at), ret, w.at));
    assert(wr_err(&w) == OK && w.at == RECORD_HEAD_LEN);
}

/* Do the fields agree with each other, and with the room there is? */
static bool is_plausible(const struct record_head *h, size_t room) {
    if (h->len > room || h->len < RECORD_HEAD_LEN || h->len % 8 != 0) return false;
    if (h->durable_n >= h->n) return false;
    switch (h->type) {
    case JREC_MSG:
    case JREC_COPY:
        return h->len == record_len(h->body_len);
    case JREC_DELETE:
    case JREC_MARK:
    case JREC_PURGE:
        return h->len == RECORD_HEAD_LEN && h->body_len == 0;
    case JREC_END:
        return h->len == RECORD_HEAD_LEN && h->order >= h->n;
    case JREC_SKIP:
        return h->order >= h->n;
    case JREC_GONE:
        return h->body_len == 0;
    default:
        return false;
    }
}

/* Of a head with so much room for its record. */
static enum err decode(const uint8_t *in, size_t room, const struct record_place *at,
                       struct record_head *ret) {
    struct rd r = rd_init(bytes_of(in, RECORD_HEAD_LEN));
    struct record_head h;
    h.len = rd_u32(&r);
    h.type = rd_u8(&r);
    h.flags = rd_u8(&r);
    h.body_len = rd_u16(&r);
    if (h.type < JREC_MSG || h.type > JREC_GONE || h.len > room)
        return E_SYNTAX; /* the usual case while searching */
    h.n = rd_u64(&r);
    h.durable_n = rd_u64(&r);
    h.order = rd_u64(&r);
    h.ts_s = rd_i64(&r);
    h.queue = rd_id(&r);
    h.msg = rd_id(&r);
    h.body_crc = rd_u32(&r);
    const uint32_t crc = crc32c(place_crc(at), in, r.at);
    if (rd_u32(&r) != crc || rd_end(&r) != OK || !is_plausible(&h, room)) return E_SYNTAX;
    *ret = h;
    return OK;
}

enum err record_head_decode(struct bytes in, const struct record_place *at,
                            struct record_head *ret) {
    return in.n >= RECORD_HEAD_LEN ? decode(in.p, in.n, at, ret) : E_SYNTAX;
}

enum err record_head_decode_alone(const uint8_t in[RECORD_HEAD_LEN], const struct record_place *at,
                                  struct record_head *ret) {
    return decode(in, SIZE_MAX, at, ret);
}

bool record_body_is_whole(const struct record_head *h, struct bytes body) {
    return body.n == h->body_len && crc32c(0, body.p, body.n) == h->body_crc;
}

bool bytes_are_zero(struct bytes b) {
    return b.n == 0 || (b.p[0] == 0 && memcmp(b.p, b.p + 1, b.n - 1) == 0);
}
