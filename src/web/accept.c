/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/accept.h"

#include <strings.h>

#include "base/attr.h"
#include "base/rd.h"

enum { WEIGHT_MAX = 1000 };

const char *const WEB_LANG_NAMES[N_WEB_LANGS] = {"en", "fr", "ja"};

static bool is_named(struct bytes b, const char *name) {
    return b.n == strlen(name) && strncasecmp((const char *)b.p, name, b.n) == 0;
}

static struct bytes trim(struct bytes b) {
    while (b.n != 0 && (b.p[0] == ' ' || b.p[0] == '\t')) b = bytes_of(b.p + 1, b.n - 1);
    while (b.n != 0 && (b.p[b.n - 1] == ' ' || b.p[b.n - 1] == '\t')) b.n--;
    return b;
}

/* "0", "1", "0.5", "0.123"; anything else is 0: who cannot say what he wants gets what all get. */
static unsigned read_weight(struct bytes b) {
    if (b.n == 0 || b.n > 5 || (b.p[0] != '0' && b.p[0] != '1')) return 0;
    if (b.n > 1 && b.p[1] != '.') return 0;
    unsigned weight = b.p[0] == '1' ? WEIGHT_MAX : 0;
    unsigned unit = WEIGHT_MAX / 10;
    for (size_t i = 2; i < b.n; i++, unit /= 10) {
        if (b.p[i] < '0' || b.p[i] > '9') return 0;
        weight += unit * (unsigned)(b.p[i] - '0');
    }
    return weight <= WEIGHT_MAX ? weight : 0;
}

/* The next element: its name, and how much it is wanted. */
static bool next(struct rd *r, struct bytes *ret_name, unsigned *ret_weight) {
    if (rd_left(r) == 0 || rd_err(r) != OK) return false;
    struct rd element = rd_init(rd_part(r, ','));
    *ret_name = trim(rd_until(&element, ';'));
    *ret_weight = WEIGHT_MAX;
    while (rd_left(&element) != 0) {
        rd_lit(&element, ';');
        struct rd parameter = rd_init(trim(rd_until(&element, ';')));
        if (is_named(trim(rd_until(&parameter, '=')), "q") && rd_left(&parameter) != 0) {
            rd_lit(&parameter, '=');
            *ret_weight = read_weight(trim(rd_tail(&parameter)));
        }
    }
    return true;
}

/* "fr", "fr-CA"; `*` is English, which is what there is for all. */
static bool find_lang(struct bytes name, enum web_lang *ret) {
    struct rd r = rd_init(name);
    const struct bytes main = rd_until(&r, '-');
    *ret = WEB_EN;
    if (is_named(main, "*")) return true;
    for (unsigned i = 0; i < N_WEB_LANGS; i++) {
        *ret = (enum web_lang)i;
        if (is_named(main, WEB_LANG_NAMES[i])) return true;
    }
    return false;
}

enum web_lang accept_language(struct bytes value) {
    struct rd r = rd_init(value);
    enum web_lang best = WEB_EN, lang;
    unsigned best_weight = 0, weight;
    struct bytes name;
    while (next(&r, &name, &weight)) {
        if (weight <= best_weight || !find_lang(name, &lang)) continue;
        best = lang;
        best_weight = weight;
    }
    return best;
}

void accept_coding(struct bytes value, unsigned ret_weights[N_WEB_CODINGS]) {
    static const char *const NAMES[N_WEB_CODINGS] = {"identity", "gzip", "br"};
    struct rd r = rd_init(value);
    bool is_told[N_WEB_CODINGS] = {false};
    unsigned weight, others = 0;
    struct bytes name;
    /* Plain is wanted least of all unless something else is said. */
    for (unsigned i = 0; i < N_WEB_CODINGS; i++) ret_weights[i] = i == WEB_PLAIN ? 1 : 0;
    while (next(&r, &name, &weight)) {
        if (is_named(name, "*")) others = weight;
        for (unsigned i = 0; i < N_WEB_CODINGS; i++) {
            if (!is_named(name, NAMES[i])) continue;
            ret_weights[i] = weight;
            is_told[i] = true;
        }
    }
    for (unsigned i = WEB_GZIP; i < N_WEB_CODINGS; i++) {
        if (!is_told[i]) ret_weights[i] = others;
    }
}

bool accept_has_tag(struct bytes value, struct bytes tag) {
    struct rd r = rd_init(value);
    while (rd_left(&r) != 0 && rd_err(&r) == OK) {
        struct bytes one = trim(rd_part(&r, ','));
        if (is_named(one, "*")) return true;
        if (one.n > 2 && one.p[0] == 'W' && one.p[1] == '/') one = bytes_of(one.p + 2, one.n - 2);
        if (one.n == tag.n + 2 && one.p[0] == '"' && one.p[one.n - 1] == '"' &&
            bytes_equal(bytes_of(one.p + 1, tag.n), tag))
            return true;
    }
    return false;
}

bool accept_has_word(struct bytes list, const char *word) {
    struct rd r = rd_init(list);
    while (rd_left(&r) != 0) {
        if (is_named(trim(rd_part(&r, ',')), word)) return true;
    }
    return false;
}
