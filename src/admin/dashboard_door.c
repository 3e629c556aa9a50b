/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* dashboard_door.c -- who is let in. */
#include <strings.h>

#include "admin/basic_auth.h"
#include "admin/dashboard_priv.h"
#include "base/log.h"
#include "crypto/crypto.h"

struct bytes dashboard_field(struct MHD_Connection *c, const char *name) {
    const char *value = MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
    return value != NULL ? bytes_str(value) : (struct bytes){0};
}

static bool is_text(struct bytes b, const char *text) {
    return bytes_equal(b, bytes_str(text));
}

static void log_wrong(const struct auth_gate *g) {
    /* The first, and then less and less often. */
    if ((g->n_wrong & (g->n_wrong - 1)) == 0)
        log_line(LOG_WARN, "dashboard", "password=wrong times=%u", g->n_wrong);
}

static bool is_right(struct dashboard *d, struct bytes given) {
    lock_take(&d->mtx);
    const struct bytes own = bytes_str(d->password);
    const bool right = own.n != 0 && crypto_equal(given, own);
    lock_give(&d->mtx);
    return right;
}

static bool has_password(struct dashboard *d) {
    lock_take(&d->mtx);
    const bool has = d->password[0] != '\0';
    lock_give(&d->mtx);
    return has;
}

enum verdict dashboard_look_at(struct dashboard *d, struct request *r, struct peer *peer) {
    uint8_t given[BASIC_AUTH_MAX];
    size_t n = 0;
    const struct bytes field = dashboard_field(r->connection, "Authorization");
    const int64_t now_ms = env_mono_ms(d->o.env);
    if (!has_password(d)) return NOBODY;
    if (field.n == 0) return ASK;
    if (r->due_ms == 0) r->due_ms = auth_gate_opens_ms(&d->gate, now_ms);
    if (!peer->guest.is_known && now_ms < r->due_ms) return WAIT;
    const enum err e = basic_auth_password(field, given, &n);
    peer->guest.is_known = e == OK && is_right(d, bytes_of(given, n));
    crypto_wipe(given, sizeof given);
    if (peer->guest.is_known) return LET_IN;
    auth_gate_wrong(&d->gate, now_ms);
    log_wrong(&d->gate);
    return WRONG;
}

static enum MHD_Result count_value(void *ctx, enum MHD_ValueKind kind, const char *name,
                                   const char *value) {
    (void)kind;
    (void)value;
    unsigned *n_hosts = ctx;
    if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0) (*n_hosts)++;
    return MHD_YES;
}

bool dashboard_is_for_us(struct MHD_Connection *c) {
    unsigned n_hosts = 0;
    (void)MHD_get_connection_values(c, MHD_HEADER_KIND, count_value, &n_hosts);
    return n_hosts == 1 && local_is_host(dashboard_field(c, MHD_HTTP_HEADER_HOST));
}

bool dashboard_is_of_another_page(const struct dashboard *d, struct MHD_Connection *c,
                                  const char *path) {
    enum web_lang lang = WEB_EN;
    const struct bytes from = dashboard_field(c, "Sec-Fetch-Site");
    if (from.n == 0 || is_text(from, "same-origin") || is_text(from, "none")) return false;
    const struct site_file *f = site_find(d->o.site, bytes_str(path), &lang);
    return f == NULL || !f->by_lang || !is_text(dashboard_field(c, "Sec-Fetch-Mode"), "navigate") ||
           !is_text(dashboard_field(c, "Sec-Fetch-Dest"), "document");
}
