/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "names/name_record.h"

#include <jansson.h>

#include "base/attr.h"

enum record_type { TEXT, TEXTS, TEXT_OR_NULL };

/* In the order in which they go out. */
static const struct {
    const char *key;
    enum record_type type;
} FIELDS[] = {
    {"name", TEXT},        {"nickname", TEXT},        {"website", TEXT},
    {"location", TEXT},    {"simplexContact", TEXTS}, {"simplexChannel", TEXTS},
    {"eth", TEXT_OR_NULL}, {"btc", TEXT_OR_NULL},     {"xmr", TEXT_OR_NULL},
    {"dot", TEXT_OR_NULL}, {"owner", TEXT},           {"resolver", TEXT},
};

/* As the reference writes it: only what JSON demands is escaped, and most of that by number. */
static void write_char(uint8_t c, struct wr *w) {
    static const char HEX[] = "0123456789abcdef";
    switch (c) {
    case '"':
        wr_str(w, "\\\"");
        break;
    case '\\':
        wr_str(w, "\\\\");
        break;
    case '\n':
        wr_str(w, "\\n");
        break;
    case '\r':
        wr_str(w, "\\r");
        break;
    case '\t':
        wr_str(w, "\\t");
        break;
    default:
        wr_str(w, "\\u00");
        wr_u8(w, (uint8_t)HEX[c >> 4]);
        wr_u8(w, (uint8_t)HEX[c & 15]);
        break;
    }
}

static void write_text(const json_t *v, struct wr *w) {
    const uint8_t *p = (const uint8_t *)json_string_value(v);
    const size_t n = json_string_length(v);
    size_t from = 0;
    wr_u8(w, '"');
    for (size_t i = 0; i < n; i++) {
        if (p[i] >= ' ' && p[i] != '"' && p[i] != '\\') continue;
        wr_bytes_raw(w, bytes_of(p + from, i - from));
        write_char(p[i], w);
        from = i + 1;
    }
    wr_bytes_raw(w, bytes_of(p + from, n - from));
    wr_u8(w, '"');
}

/* False: the value is not of this type. v may be NULL: the key is missing. */
static bool write_value(const json_t *v, enum record_type type, struct wr *w) {
    switch (type) {
    case TEXT_OR_NULL:
        if (v == NULL || json_is_null(v)) {
            wr_str(w, "null");
            return true;
        }
        break;
    case TEXTS:
        if (!json_is_array(v)) return false;
        wr_u8(w, '[');
        for (size_t i = 0; i < json_array_size(v); i++) {
            if (i != 0) wr_u8(w, ',');
            if (!write_value(json_array_get(v, i), TEXT, w)) return false;
        }
        wr_u8(w, ']');
        return true;
    case TEXT:
        break;
    }
    if (!json_is_string(v)) return false;
    write_text(v, w);
    return true;
}

static enum err write_object(const json_t *object, struct wr *w) {
    if (!json_is_object(object)) return E_SYNTAX;
    for (size_t i = 0; i < ARRAY_LEN(FIELDS); i++) {
        wr_u8(w, i == 0 ? '{' : ',');
        wr_u8(w, '"');
        wr_str(w, FIELDS[i].key);
        wr_str(w, "\":");
        if (!write_value(json_object_get(object, FIELDS[i].key), FIELDS[i].type, w))
            return E_SYNTAX;
    }
    wr_u8(w, '}');
    return wr_err(w);
}

/* Numbers are only in what is dropped; read as reals they may have any size (but for 308 digits).
 */
enum { READ_FLAGS = JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL };

enum err name_record_write(struct bytes json, struct wr *w) {
    json_error_t why;
    if (json.n == 0) return E_SYNTAX;
    json_t *object = json_loadb((const char *)json.p, json.n, READ_FLAGS, &why);
    if (object == NULL)
        return json_error_code(&why) == json_error_out_of_memory ? E_NO_MEMORY : E_SYNTAX;
    struct wr attempt = *w;
    const enum err e = write_object(object, &attempt);
    json_decref(object);
    if (e == OK) *w = attempt;
    return e;
}
