/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/text/queue_state.h"

#include <ctype.h>

#include "store/text/field.h"

static void read_name(struct rd *r, char ret[QUEUE_STATE_NAME_MAX]) {
    const struct bytes name = rd_until(r, ',');
    if (name.n == 0 || name.n >= QUEUE_STATE_NAME_MAX) {
        rd_fail(r);
        return;
    }
    for (size_t i = 0; i < name.n; i++) {
        const unsigned char c = name.p[i];
        if (c >= 0x80 || (isalnum(c) == 0 && c != '-' && c != '_' && c != '=')) rd_fail(r);
        ret[i] = (char)c;
    }
    ret[name.n] = '\0';
}

static uint64_t read_number(struct rd *r, const char *before) {
    field__expect(r, before);
    return (uint64_t)field__read_number(r);
}

static void read_pos(struct rd *r, struct queue_state_pos *ret) {
    read_name(r, ret->name);
    ret->msg_pos = read_number(r, ",");
    ret->msg_count = read_number(r, ",");
    ret->byte_pos = read_number(r, ",");
    ret->byte_count = read_number(r, ",");
}

bool queue_state_is_one(const struct queue_state *s) {
    return strcmp(s->read.name, s->write.name) == 0;
}

static bool is_consistent(const struct queue_state *s) {
    const struct queue_state_pos *r = &s->read, *w = &s->write;
    if (r->msg_pos > r->msg_count || r->byte_pos > r->byte_count) return false;
    if (w->msg_pos != w->msg_count || w->byte_pos != w->byte_count) return false;
    const uint64_t unread = r->msg_count - r->msg_pos;
    if (!queue_state_is_one(s)) return s->size == w->msg_count + unread;
    return r->msg_count == w->msg_count && r->byte_count == w->byte_count && s->size == unread;
}

enum err queue_state_parse(struct bytes line, struct queue_state *ret) {
    struct rd r = rd_init(line);
    *ret = (struct queue_state){0};
    field__expect(&r, "write=");
    read_pos(&r, &ret->write);
    field__expect(&r, " read=");
    read_pos(&r, &ret->read);
    field__expect(&r, " canWrite=");
    ret->can_write = rd_bool(&r);
    ret->size = read_number(&r, " size=");
    const enum err e = rd_end(&r);
    return e == OK && !is_consistent(ret) ? E_SYNTAX : e;
}
