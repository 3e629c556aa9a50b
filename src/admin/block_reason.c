/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/block_reason.h"

#include <stdio.h>

#include "base/attr.h"
#include "base/rd.h"

enum { SECONDS_DIGITS_MAX = 10 };

static const struct {
    const char *word, *shown;
} REASONS[] = {
    {"reason=spam", "BRSpam"},
    {"reason=content", "BRContent"},
};

static bool take_word(struct rd *r, const char *word) {
    const size_t n = strlen(word);
    if (rd_left(r) < n || memcmp(r->in.p + r->at, word, n) != 0) return false;
    (void)rd_take(r, n);
    return true;
}

/* Digits; none is an error. */
static struct bytes take_seconds(struct rd *r) {
    const size_t from = r->at;
    while (rd_left(r) > 0 && r->in.p[r->at] >= '0' && r->in.p[r->at] <= '9') r->at++;
    const struct bytes digits = bytes_of(r->in.p + from, r->at - from);
    if (digits.n == 0 || digits.n > SECONDS_DIGITS_MAX) rd_fail(r);
    return digits;
}

/* SECONDS, {"ttl":SECONDS}, {"ttl":null} or {}; *ret is empty for the last two. */
static enum err read_notice(struct rd *r, struct bytes *ret) {
    *ret = (struct bytes){0};
    if (take_word(r, "{}") || take_word(r, "{\"ttl\":null}")) return rd_end(r);
    const bool is_json = take_word(r, "{\"ttl\":");
    if (is_json) (void)take_word(r, " ");
    *ret = take_seconds(r);
    if (is_json) rd_lit(r, '}');
    return rd_end(r);
}

static const char *read_reason(struct rd *r, size_t *ret_i) {
    for (size_t i = 0; i < ARRAY_LEN(REASONS); i++) {
        if (!take_word(r, REASONS[i].word)) continue;
        *ret_i = i;
        return REASONS[i].word;
    }
    return NULL;
}

enum err block_reason_parse(struct bytes text, struct wr *ret) {
    struct rd r = rd_init(text);
    struct bytes seconds;
    size_t i = 0;
    if (read_reason(&r, &i) == NULL) return E_SYNTAX;
    wr_str(ret, REASONS[i].word);
    if (rd_left(&r) == 0) return wr_err(ret);
    if (!take_word(&r, ",notice=") || read_notice(&r, &seconds) != OK) return E_SYNTAX;
    wr_str(ret, ",notice={");
    if (seconds.n > 0) {
        wr_str(ret, "\"ttl\":");
        wr_bytes_raw(ret, seconds);
    }
    wr_str(ret, "}");
    return wr_err(ret);
}

static void show_notice(struct rd *r, struct wr *w) {
    struct bytes seconds;
    if (!take_word(r, ",notice=") || read_notice(r, &seconds) != OK) {
        wr_str(w, "Nothing");
        return;
    }
    wr_str(w, "Just (ClientNotice {ttl = ");
    wr_str(w, seconds.n > 0 ? "Just " : "Nothing");
    wr_bytes_raw(w, seconds);
    wr_str(w, "})");
}

void block_reason_show(struct bytes text, struct wr *w) {
    struct rd r = rd_init(text);
    size_t i = 0;
    wr_str(w, "BlockingInfo {reason = ");
    wr_str(w, read_reason(&r, &i) != NULL ? REASONS[i].shown : "unknown");
    wr_str(w, ", notice = ");
    show_notice(&r, w);
    wr_str(w, "}");
}
