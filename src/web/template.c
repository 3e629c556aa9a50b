/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/template.h"

#include <string.h>

#include "base/rd.h"

struct filling {
    template_value *value;
    const void *ctx;
    struct wr *w;
    struct bytes sections[TEMPLATE_DEPTH_MAX]; /* open ones, by name */
    unsigned depth, hidden_at; /* hidden_at: the depth from which on nothing is written; 0: none */
};

static void write_escaped(struct wr *w, const char *text) {
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            wr_str(w, "&amp;");
            break;
        case '<':
            wr_str(w, "&lt;");
            break;
        case '>':
            wr_str(w, "&gt;");
            break;
        case '"':
            wr_str(w, "&quot;");
            break;
        case '\'':
            wr_str(w, "&#39;");
            break;
        default:
            wr_u8(w, (uint8_t)*text);
        }
    }
}

static enum err open_section(struct filling *f, struct bytes name, bool is_shown) {
    if (f->depth == TEMPLATE_DEPTH_MAX) return E_SYNTAX;
    f->sections[f->depth++] = name;
    if (!is_shown && f->hidden_at == 0) f->hidden_at = f->depth;
    return OK;
}

static enum err close_section(struct filling *f, struct bytes name) {
    if (f->depth == 0 || !bytes_equal(f->sections[f->depth - 1], name)) return E_SYNTAX;
    if (f->hidden_at == f->depth) f->hidden_at = 0;
    f->depth--;
    return OK;
}

/* What is between {{ and }}. */
static enum err take_tag(struct filling *f, struct bytes tag) {
    const char kind = tag.n != 0 ? (char)tag.p[0] : '\0';
    const bool is_section = kind == '#' || kind == '^', is_end = kind == '/';
    const struct bytes name = is_section || is_end ? bytes_of(tag.p + 1, tag.n - 1) : tag;
    if (name.n == 0 || name.n > TEMPLATE_NAME_MAX) return E_SYNTAX;
    if (is_end) return close_section(f, name);
    const char *value = f->value(f->ctx, name);
    if (value == NULL) return E_NOT_FOUND;
    if (is_section) return open_section(f, name, (*value != '\0') == (kind == '#'));
    if (f->hidden_at == 0) write_escaped(f->w, value);
    return OK;
}

/* Up to the mark, which is taken too; false when it does not come any more, and then all. */
static bool take_until(struct bytes *text, const char mark[2], struct bytes *ret) {
    for (size_t i = 0; i + 1 < text->n; i++) {
        if (memcmp(text->p + i, mark, 2) != 0) continue;
        *ret = bytes_of(text->p, i);
        *text = bytes_of(text->p + i + 2, text->n - i - 2);
        return true;
    }
    *ret = *text;
    *text = (struct bytes){0};
    return false;
}

enum err template_fill(struct bytes text, template_value *value, const void *ctx, struct wr *w) {
    struct filling f = {.value = value, .ctx = ctx, .w = w};
    enum err e = OK;
    struct bytes part;
    bool is_tag = true;
    while (e == OK && is_tag) {
        is_tag = take_until(&text, "{{", &part);
        if (f.hidden_at == 0) wr_bytes_raw(w, part);
        if (!is_tag) break;
        e = take_until(&text, "}}", &part) ? take_tag(&f, part) : E_SYNTAX;
    }
    if (e == OK && f.depth != 0) e = E_SYNTAX;
    return e == OK ? wr_err(w) : e;
}
