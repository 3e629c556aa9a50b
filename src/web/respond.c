/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What is answered to which request: the fields are the same for all framings. */
#include <assert.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "web/accept.h"
#include "web/challenge.h"
#include "web/web_priv.h"

static const char CHALLENGES[] = "/.well-known/acme-challenge/";

static void add(struct web_answer *a, const char *name, const char *value) {
    assert(a->n_fields < WEB_FIELDS_MAX);
    a->fields[a->n_fields++] = (struct web_field){name, value};
}

static void write_date(int64_t t_s, char *ret, size_t cap) {
    struct tm utc;
    const time_t t = (time_t)t_s;
    ret[0] = '\0';
    /* The program runs in the C locale, whose names of days and months are those of HTTP. */
    if (gmtime_r(&t, &utc) != NULL) (void)strftime(ret, cap, "%a, %d %b %Y %H:%M:%S GMT", &utc);
}

/* What all answers have. */
static void begin(const struct web *w, unsigned status, bool is_secure, struct web_answer *a) {
    a->status = status;
    a->n_fields = 0;
    a->body = (struct bytes){0};
    a->site = NULL;
    write_date(env_now_s(w->o.env), a->date, sizeof a->date);
    add(a, "date", a->date);
    add(a, "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'");
    add(a, "x-content-type-options", "nosniff");
    add(a, "referrer-policy", "no-referrer");
    /* Without TLS browsers complain that it does nothing. */
    if (is_secure) add(a, "cross-origin-opener-policy", "same-origin");
}

static void set_body(struct web_answer *a, struct bytes body, bool is_head) {
    (void)snprintf(a->length, sizeof a->length, "%zu", body.n);
    add(a, "content-length", a->length);
    if (!is_head) a->body = body;
}

/* ---- files of the site ---- */

static void add_caching(struct web_answer *a, const struct site_file *f, int64_t since_s) {
    static const char *const CONTROL[] = {
        [SITE_REVALIDATE] = "no-cache",
        [SITE_DAY] = "max-age=86400",
        [SITE_FOREVER] = "public, max-age=31536000, immutable",
    };
    write_date(since_s, a->modified, sizeof a->modified);
    add(a, "etag", a->form.tag);
    add(a, "last-modified", a->modified);
    add(a, "cache-control", CONTROL[f->cache]);
    add(a, "vary", f->by_lang ? "Accept-Encoding, Accept-Language" : "Accept-Encoding");
}

/* Where Tor Browser finds the same page. */
static void add_onion(const struct web *w, const struct web_ask *ask, struct web_answer *a) {
    if (w->o.onion[0] == '\0' || !ask->is_secure) return;
    const int n = snprintf(a->onion, sizeof a->onion, "http://%s%.*s", w->o.onion, (int)ask->path.n,
                           (const char *)ask->path.p);
    if (n > 0 && (size_t)n < sizeof a->onion) add(a, "onion-location", a->onion);
}

static void answer_file(const struct web *w, const struct web_ask *ask, const struct site_file *f,
                        enum web_lang lang, int64_t since_s, struct web_answer *a) {
    const struct site_body *b = &f->bodies[f->by_lang ? lang : WEB_EN];
    const bool is_there = a->status == 200;
    site_choose(b, ask->accept_encoding, &a->form);
    add(a, "content-type", f->type);
    if (f->by_lang) add(a, "content-language", WEB_LANG_NAMES[lang]);
    if (a->form.coding != NULL) add(a, "content-encoding", a->form.coding);
    if (is_there) {
        add_caching(a, f, since_s);
        add_onion(w, ask, a);
    } else {
        add(a, "cache-control", "no-cache");
    }
    const struct bytes tag = bytes_of(a->form.tag + 1, strlen(a->form.tag) - 2);
    if (is_there && accept_has_tag(ask->if_none_match, tag)) {
        a->status = 304;
    } else {
        set_body(a, a->form.body, ask->is_head);
    }
}

/* ---- others ---- */

static bool is_challenge(const struct web_ask *ask, struct bytes *ret_name) {
    const size_t n = sizeof CHALLENGES - 1;
    if (!ask->is_path_known || !bytes_begin(ask->path, CHALLENGES)) return false;
    *ret_name = bytes_of(ask->path.p + n, ask->path.n - n);
    return true;
}

static bool answer_challenge(struct web *w, const struct web_ask *ask, struct web_answer *a) {
    struct bytes name;
    size_t n = 0;
    if (w->o.challenges == NULL || !is_challenge(ask, &name) ||
        challenge_read(w->o.challenges, name, a->own, sizeof a->own, &n) != OK)
        return false;
    begin(w, 200, ask->is_secure, a);
    add(a, "content-type", "text/plain");
    add(a, "cache-control", "no-store");
    set_body(a, bytes_of(a->own, n), ask->is_head);
    return true;
}

/* Without its port. */
static bool is_host(struct bytes field, const char *host) {
    const size_t n = strlen(host);
    return n != 0 && field.n >= n && strncasecmp((const char *)field.p, host, n) == 0 &&
           (field.n == n || field.p[n] == ':');
}

/* To the same path under https, where that is ours to say: never for another name, by which this
 * machine may be reached for other ends. */
static bool answer_elsewhere(struct web *w, const struct web_ask *ask, struct web_answer *a) {
    enum { HTTPS_PORT = 443 };
    struct bytes name;
    char port[8] = "";
    if (ask->is_secure || !ask->is_path_known || is_challenge(ask, &name) ||
        !atomic_load_explicit(&w->is_secure, memory_order_relaxed) ||
        !is_host(ask->host, w->o.host))
        return false;
    if (w->o.https_port != HTTPS_PORT)
        (void)snprintf(port, sizeof port, ":%u", (unsigned)w->o.https_port);
    const int n = snprintf(a->location, sizeof a->location, "https://%s%s%.*s", w->o.host, port,
                           (int)ask->path.n, (const char *)ask->path.p);
    if (n < 0 || (size_t)n >= sizeof a->location) return false;
    begin(w, 301, false, a);
    add(a, "location", a->location);
    set_body(a, (struct bytes){0}, ask->is_head);
    return true;
}

/* ---- the answer ---- */

static struct site *take_site(struct web *w, int64_t *ret_since_s) {
    lock_take(&w->lock);
    struct site *s = w->site != NULL ? site_ref(w->site) : NULL;
    *ret_since_s = w->site_s;
    lock_give(&w->lock);
    return s;
}

void web_answer(struct web *w, const struct web_ask *ask, struct web_answer *ret) {
    int64_t since_s = 0;
    if (answer_challenge(w, ask, ret)) return;
    struct site *site = take_site(w, &since_s);
    enum web_lang lang = accept_language(ask->accept_language);
    const struct site_file *f =
        site != NULL && ask->is_path_known ? site_find(site, ask->path, &lang) : NULL;
    if (f != NULL && answer_elsewhere(w, ask, ret)) {
        site_unref(site);
        return;
    }
    begin(w, f != NULL ? 200 : 404, ask->is_secure, ret);
    ret->site = site;
    if (site != NULL) {
        answer_file(w, ask, f != NULL ? f : site_not_found(site), lang, since_s, ret);
    } else {
        set_body(ret, (struct bytes){0}, ask->is_head);
    }
}

void web_refuse(struct web *w, unsigned status, bool is_secure, struct web_answer *ret) {
    begin(w, status, is_secure, ret);
    if (status == 405) add(ret, "allow", "GET, HEAD");
    if (status == 426) {
        add(ret, "upgrade", "websocket");
        add(ret, "connection", "Upgrade");
        add(ret, "sec-websocket-version", "13");
    }
    set_body(ret, (struct bytes){0}, false);
}
