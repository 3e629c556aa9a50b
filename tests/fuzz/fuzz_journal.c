/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The journal's segments, of a store with one queue. Checksums would keep a fuzzer out, so they are
 * made here: the input says what the heads and records are, then what is damaged.
 *
 *   byte 0   bit 0: damage is set aside; bits 1 and 2: how many segments less one
 *   byte 1   how many records of 8 bytes follow: type, flags, length of the body / 16, segment, n
 *            (added to what it should be), order, durable_n, message
 *   rest     3 bytes each: segment and offset / 64, bits to turn over */
#include "fuzz_store.h"

#include <stdio.h>

#include "base/crc32c.h"
#include "store/disk/journal_format.h"

enum { SEGMENTS_MAX = 4, RECORD_IN_LEN = 8, DAMAGE_IN_LEN = 3, SALT = 99 };

static const char LOG[] =
    "CREATE rid=AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
    "rk=MCowBQYDK2VwAyEA2_ahcYg11jPMxXK4ZufrVYMNC3GjMGp6uSqWy7FQNxM= "
    "rdh=R-fa0d0P5fSZ5LcrSJcYEgSb1KG4SmrcgXn51tNhwkc= sid=AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA sk= "
    "queue_mode=M updated_at=1699920000\n";

struct segments {
    unsigned n;
    uint64_t next_n;
    size_t at[SEGMENTS_MAX];
    bool has_head[SEGMENTS_MAX];
    uint8_t data[SEGMENTS_MAX][FUZZ_SEGMENT_LEN];
};

static void begin_segment(struct segments *s, unsigned i) {
    const struct segment_head h = {
        .version = JOURNAL_VERSION,
        .number = i + 1,
        .len = FUZZ_SEGMENT_LEN,
        .salt = SALT,
        .first_n = s->next_n,
        .durable_n = s->next_n - 1,
        .created_s = FUZZ_NOW_S,
    };
    if (s->has_head[i]) return;
    segment_head_encode(&h, s->data[i]);
    s->has_head[i] = true;
    s->at[i] = SEGMENT_HEAD_LEN;
}

static void add_record(struct segments *s, const uint8_t in[RECORD_IN_LEN]) {
    const unsigned i = in[3] % s->n;
    begin_segment(s, i);
    const bool has_body = in[0] == JREC_MSG || in[0] == JREC_COPY;
    struct record_head h = {
        .type = in[0],
        .flags = in[1],
        .body_len = has_body ? (uint16_t)(in[2] * 16) : 0,
        .n = s->next_n + in[4],
        .durable_n = in[6],
        .order = in[5] != 0 ? in[5] : s->next_n + in[4],
        .ts_s = FUZZ_NOW_S - in[7],
        .queue = {{1}},
        .msg = {{in[7]}},
    };
    h.len = record_len(h.body_len);
    if (h.len > FUZZ_SEGMENT_LEN - s->at[i]) return;
    uint8_t *to = s->data[i] + s->at[i];
    memset(to + RECORD_HEAD_LEN, in[7], h.body_len);
    h.body_crc = crc32c(0, to + RECORD_HEAD_LEN, h.body_len);
    const struct record_place place = {SALT, {i + 1, (uint32_t)(s->at[i] / 8)}};
    record_head_encode(&h, &place, to);
    s->at[i] += h.len;
    s->next_n = h.n + 1;
}

static void damage(struct segments *s, const uint8_t in[DAMAGE_IN_LEN]) {
    assert(s->n > 0);
    const size_t at = ((size_t)in[1] * 64 + in[0] / 4) % FUZZ_SEGMENT_LEN;
    s->data[in[0] % s->n][at] ^= in[2];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct segments s;
    if (size < 2) return 0;
    memset(&s, 0, sizeof s);
    s.n = 1 + (data[0] >> 1) % SEGMENTS_MAX;
    s.next_n = 1;
    size_t at = 2;
    for (unsigned i = 0; i < data[1] && size - at >= RECORD_IN_LEN; i++, at += RECORD_IN_LEN)
        add_record(&s, data + at);
    for (unsigned i = 0; i < s.n; i++) begin_segment(&s, i);
    for (; size - at >= DAMAGE_IN_LEN; at += DAMAGE_IN_LEN) damage(&s, data + at);
    struct faultfs *fs = faultfs_new(1);
    const struct vfs *v = faultfs_vfs(fs);
    assert(v->mkdir(v->ctx, FUZZ_JOURNAL, 0700) == OK);
    assert(v->sync_dir(v->ctx, "/") == OK);
    faultfs_put(fs, FUZZ_LOG, bytes_of(LOG, sizeof LOG - 1));
    for (unsigned i = 0; i < s.n; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, FUZZ_JOURNAL "/%010u.journal", i + 1);
        faultfs_put(fs, path, bytes_of(s.data[i], FUZZ_SEGMENT_LEN));
    }
    fuzz_store(fs, true, (data[0] & 1) != 0);
    return 0;
}
