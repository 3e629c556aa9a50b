/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* dashboard_answer.c -- the page and its files, the figures as JSON, refusals. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/dashboard_priv.h"
#include "base/day.h"
#include "web/coding.h"

enum {
    HEAD_MAX = 2048,   /* bytes of JSON before the figures */
    CODED_FROM = 1400, /* bytes; less is one packet anyway */
    SINCE_DIGITS = 15,
};

static void add(struct MHD_Response *r, const char *name, const char *value) {
    if (r != NULL) (void)MHD_add_response_header(r, name, value);
}

static enum MHD_Result respond(struct MHD_Connection *c, unsigned status, struct MHD_Response *r) {
    add(r, "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src "
        "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    add(r, "X-Content-Type-Options", "nosniff");
    add(r, "Referrer-Policy", "no-referrer");
    add(r, "Cross-Origin-Opener-Policy", "same-origin");
    add(r, "Cross-Origin-Resource-Policy", "same-origin");
    return local_respond(c, status, r);
}

enum MHD_Result dashboard_refuse(struct MHD_Connection *c, unsigned status, const char *text) {
    struct MHD_Response *r = local_plain(text);
    add(r, "Content-Type", "text/plain; charset=utf-8");
    add(r, "Cache-Control", "no-store");
    return respond(c, status, r);
}

enum MHD_Result dashboard_ask_password(struct MHD_Connection *c, bool was_wrong) {
    struct MHD_Response *r =
        local_plain("The password is control_port_user_password of [AUTH] in smp-server.ini; the "
                    "name may be any.\n");
    add(r, "WWW-Authenticate", "Basic realm=\"smp-server\", charset=\"UTF-8\"");
    add(r, "Content-Type", "text/plain; charset=utf-8");
    add(r, "Cache-Control", "no-store");
    if (was_wrong) add(r, "Connection", "close");
    return respond(c, MHD_HTTP_UNAUTHORIZED, r);
}

enum MHD_Result dashboard_send_file(const struct dashboard *d, struct MHD_Connection *c,
                                    const char *path) {
    enum web_lang lang = accept_language(dashboard_field(c, "Accept-Language"));
    const struct site_file *f = site_find(d->o.site, bytes_str(path), &lang);
    struct site_form form;
    if (f == NULL) return dashboard_refuse(c, NOT_FOUND, "not found: see / and /data.json\n");
    site_choose(&f->bodies[f->by_lang ? lang : WEB_EN], dashboard_field(c, "Accept-Encoding"),
                &form);
    const bool is_same = accept_has_tag(dashboard_field(c, "If-None-Match"),
                                        bytes_of(form.tag + 1, strlen(form.tag) - 2));
    const struct bytes body = is_same ? (struct bytes){0} : form.body;
    struct MHD_Response *r =
        MHD_create_response_from_buffer(body.n, (void *)(uintptr_t)body.p, MHD_RESPMEM_PERSISTENT);
    add(r, "ETag", form.tag);
    add(r, "Cache-Control", "no-cache");
    add(r, "Vary", f->by_lang ? "Accept-Encoding, Accept-Language" : "Accept-Encoding");
    if (is_same) return respond(c, MHD_HTTP_NOT_MODIFIED, r);
    add(r, "Content-Type", f->type);
    if (f->by_lang) add(r, "Content-Language", WEB_LANG_NAMES[lang]);
    if (form.coding != NULL) add(r, "Content-Encoding", form.coding);
    return respond(c, MHD_HTTP_OK, r);
}

/* ---- the figures as JSON ---- */

static void write_days(struct wr *w, const char *name, uint64_t until_s, int64_t now_s) {
    char text[64];
    (void)snprintf(text, sizeof text, "\"%s\":%" PRId64, name, ((int64_t)until_s - now_s) / DAY_S);
    if (until_s == STATS_NO_VALUE) (void)snprintf(text, sizeof text, "\"%s\":null", name);
    wr_str(w, text);
}

/* Under mtx. Names and versions have no character that JSON would want escaped. */
static void write_data(const struct dashboard *d, int64_t since_s, struct wr *w) {
    char head[HEAD_MAX];
    const int64_t now_s = env_now_s(d->o.env);
    (void)snprintf(head, sizeof head,
                   "{\"now\":%" PRId64 ",\"version\":\"%s\",\"name\":\"%s\",\"started\":%" PRIu64
                   ",\"storage_state\":%" PRIu64 ",\"certificate_days\":{",
                   now_s, d->o.version, d->o.name, d->started_s, d->storage_state);
    wr_str(w, head);
    write_days(w, "smp", d->smp_expires_s, now_s);
    wr_str(w, ",");
    write_days(w, "web", d->web_expires_s, now_s);
    wr_str(w, "},");
    history_write(d->history, since_s, w);
    wr_str(w, "}\n");
}

/* From `since` of the query; without it all points are wanted. */
static bool parse_since(struct MHD_Connection *c, int64_t *ret) {
    static const char NAME[] = "since";
    const char *text = NULL;
    size_t n = 0;
    *ret = 0;
    if (MHD_lookup_connection_value_n(c, MHD_GET_ARGUMENT_KIND, NAME, sizeof NAME - 1, &text, &n) !=
        MHD_YES)
        return true;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || n > SINCE_DIGITS) return false;
        *ret = *ret * 10 + (text[i] - '0');
    }
    return n != 0;
}

/* Owned, or empty when there is no memory. */
static struct bytes make_data(struct dashboard *d, int64_t since_s) {
    enum { CAP = HISTORY_JSON_MAX + HEAD_MAX + 256 };
    uint8_t *text = malloc(CAP);
    if (text == NULL) return (struct bytes){0};
    struct wr w = wr_init(text, CAP);
    lock_take(&d->mtx);
    write_data(d, since_s, &w);
    lock_give(&d->mtx);
    return bytes_of(text, wr_bytes(&w).n);
}

/* The owned text in the place of which a shorter one stands, if the browser takes it. */
static struct bytes shorten(struct MHD_Connection *c, struct bytes owned, bool *ret_is_coded) {
    unsigned weights[N_WEB_CODINGS];
    struct bytes coded = {0};
    accept_coding(dashboard_field(c, "Accept-Encoding"), weights);
    *ret_is_coded = owned.n >= CODED_FROM && weights[WEB_GZIP] != 0 &&
                    coding_make(WEB_GZIP, owned, &coded) == OK && coded.n != 0;
    if (!*ret_is_coded) return owned;
    free((void *)(uintptr_t)owned.p);
    return coded;
}

enum MHD_Result dashboard_send_data(struct dashboard *d, struct MHD_Connection *c) {
    int64_t since_s = 0;
    bool is_coded = false;
    if (!parse_since(c, &since_s))
        return dashboard_refuse(c, MHD_HTTP_BAD_REQUEST, "since must be Unix seconds\n");
    const struct bytes text = make_data(d, since_s);
    if (text.p == NULL) return MHD_NO;
    const struct bytes body = shorten(c, text, &is_coded);
    struct MHD_Response *r =
        MHD_create_response_from_buffer(body.n, (void *)(uintptr_t)body.p, MHD_RESPMEM_MUST_FREE);
    if (r == NULL) free((void *)(uintptr_t)body.p);
    add(r, "Content-Type", "application/json");
    add(r, "Cache-Control", "no-store");
    add(r, "Vary", "Accept-Encoding");
    if (is_coded) add(r, "Content-Encoding", "gzip");
    return respond(c, MHD_HTTP_OK, r);
}
