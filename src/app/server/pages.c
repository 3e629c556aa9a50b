/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/pages.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/server/ports.h"
#include "app/server/web_files.h"
#include "app/server/web_values.h"
#include "base/log.h"
#include "crypto/crypto.h"

struct pages {
    struct web *web;   /* owned */
    struct site *site; /* counted: that of web */
    struct page_cert cert;
    uint8_t fingerprint[SHA256_LEN];
};

static enum err make_site(const struct pages *p, const struct conf *c, struct site **ret) {
    struct web_values *values = malloc(sizeof *values);
    if (values == NULL) return E_NO_MEMORY;
    enum err e = web_values_make(c, bytes_of(p->fingerprint, sizeof p->fingerprint), values);
    if (e == OK) e = site_new(values->v, values->n, ret);
    assert(e == OK || e == E_NO_MEMORY); /* values and pages are part of the program */
    free(values);
    return e;
}

static enum err set_site(struct pages *p, const struct conf *c) {
    struct site *site = NULL;
    const enum err e = make_site(p, c, &site);
    if (e != OK) return e;
    site_unref(p->site);
    p->site = site_ref(site);
    web_set_site(p->web, site);
    return OK;
}

void pages_write_files(struct pages *p, const struct conf *c) {
    struct problem problem;
    if (p != NULL && web_files_write(c->web_static_path, p->site, &problem) != OK)
        log_line(LOG_WARN, "web", "%s", problem.text);
}

static enum err make_web(const struct pages_opts *o, struct web **ret) {
    char host[CONF_TEXT_MAX], onion[CONF_TEXT_MAX];
    char challenges[CONF_TEXT_MAX + sizeof "/.well-known/acme-challenge"];
    web_host(o->conf, false, host, sizeof host);
    web_host(o->conf, true, onion, sizeof onion);
    (void)snprintf(challenges, sizeof challenges, "%s/.well-known/acme-challenge",
                   o->conf->web_static_path);
    const struct web_opts w = {
        .env = &ENV_SYSTEM,
        .admission = o->admission,
        .tls_timeout_ms = o->tls_timeout_ms,
        .conns_max = o->conns_max,
        .host = host,
        .onion = onion,
        .challenges = challenges,
        .https_port = (uint16_t)o->conf->web_https,
    };
    return web_new(&w, ret);
}

enum err pages_new(const struct pages_opts *o, struct pages **ret) {
    *ret = NULL;
    if (o->conf->web_static_path[0] == '\0') {
        if (o->conf->web_http != 0 || o->conf->web_https != 0)
            log_line(LOG_WARN, "web",
                     "[WEB] http and https need static_path: without it there are no pages; set it "
                     "in %s",
                     o->ini_path);
        return OK;
    }
    if (o->conf->web_https != 0 && !ports_have_https(o->conf))
        log_line(LOG_WARN, "web", "[WEB] https needs cert and key: set them in %s", o->ini_path);
    struct pages *p = calloc(1, sizeof *p);
    if (p == NULL) return E_NO_MEMORY;
    page_cert_init(&p->cert);
    memcpy(p->fingerprint, identity_fingerprint(o->identity).p, sizeof p->fingerprint);
    enum err e = make_web(o, &p->web);
    if (e == OK) e = set_site(p, o->conf);
    if (e == OK) {
        (void)page_cert_look(&p->cert, o->conf, true);
        *ret = p;
    } else {
        pages_free(p);
    }
    return e;
}

void pages_free(struct pages *p) {
    if (p == NULL) return;
    web_free(p->web);
    site_unref(p->site);
    page_cert_done(&p->cert);
    free(p);
}

struct web *pages_web(const struct pages *p) {
    return p->web;
}

bool pages_look_at_cert(struct pages *p, const struct conf *conf, bool is_asked) {
    return p != NULL && page_cert_look(&p->cert, conf, is_asked);
}

SSL_CTX *pages_tls(const struct pages *p) {
    return p != NULL ? p->cert.tls : NULL;
}

int64_t pages_cert_expires_s(const struct pages *p) {
    return p != NULL ? atomic_load_explicit(&p->cert.expires_s, memory_order_relaxed)
                     : PAGE_CERT_NONE;
}

enum err pages_reload(struct pages *p, const struct conf *conf) {
    const enum err e = p != NULL ? set_site(p, conf) : OK;
    if (e == OK) pages_write_files(p, conf);
    return e;
}
