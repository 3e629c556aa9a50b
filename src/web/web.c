/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/web.h"

#include <stdlib.h>

#include "net/loop.h"
#include "net/tls_web.h"
#include "net/websocket.h"
#include "web/http1.h"
#include "web/http2.h"
#include "web/web_priv.h"

static enum err up(struct stream *s, const struct stream_opts *o) {
    return web_frame(s, o->server);
}

static bool copy_texts(struct web_opts *o) {
    o->host = strdup(o->host);
    o->onion = strdup(o->onion);
    const bool has_challenges = o->challenges != NULL;
    if (has_challenges) o->challenges = strdup(o->challenges);
    return o->host != NULL && o->onion != NULL && has_challenges == (o->challenges != NULL);
}

enum err web_new(const struct web_opts *o, struct web **ret) {
    struct web *w = calloc(1, sizeof *w);
    if (w == NULL) return E_NO_MEMORY;
    w->o = *o;
    lock_init(&w->lock, LOCK_WEB);
    w->stream = (struct stream_opts){
        .on_up = up,
        .server = w,
        .admission = o->admission,
        .tls_timeout_ms = o->tls_timeout_ms,
    };
    if (!copy_texts(&w->o)) {
        web_free(w);
        return E_NO_MEMORY;
    }
    *ret = w;
    return OK;
}

static void free_text(const char *owned) {
    free((void *)(uintptr_t)owned);
}

void web_free(struct web *w) {
    if (w == NULL) return;
    site_unref(w->site);
    tls_ctx_free(w->smp);
    lock_done(&w->lock);
    free_text(w->o.host);
    free_text(w->o.onion);
    free_text(w->o.challenges);
    free(w);
}

void web_set_site(struct web *w, struct site *owned) {
    lock_take(&w->lock);
    struct site *old = w->site;
    w->site = owned;
    w->site_s = env_now_s(w->o.env);
    lock_give(&w->lock);
    site_unref(old);
}

void web_set_smp(struct web *w, const struct conn_opts *o, SSL_CTX *smp) {
    tls_ctx_ref(smp);
    lock_take(&w->lock);
    SSL_CTX *old = w->smp;
    w->smp_opts = o;
    w->smp = smp;
    lock_give(&w->lock);
    tls_ctx_free(old);
}

/* Counted; NULL: there is none. */
static SSL_CTX *take_smp(struct web *w, const struct conn_opts **ret_opts) {
    lock_take(&w->lock);
    SSL_CTX *smp = w->smp;
    *ret_opts = w->smp_opts;
    if (smp != NULL) tls_ctx_ref(smp);
    lock_give(&w->lock);
    return smp;
}

bool web_has_smp(struct web *w) {
    const struct conn_opts *o;
    SSL_CTX *smp = take_smp(w, &o);
    tls_ctx_free(smp);
    return smp != NULL;
}

enum err web_upgrade(struct web *w, struct stream *s, struct bytes challenge) {
    const struct conn_opts *o;
    SSL_CTX *smp = take_smp(w, &o); /* once there, it stays */
    const enum err e = websocket_frame(s, o, smp, challenge);
    tls_ctx_free(smp);
    return e;
}

void web_set_secure(struct web *w, bool is_secure) {
    atomic_store_explicit(&w->is_secure, is_secure, memory_order_relaxed);
}

const struct stream_opts *web_stream_opts(struct web *w) {
    return &w->stream;
}

enum err web_frame(struct stream *s, struct web *w) {
    if (atomic_fetch_add_explicit(&w->n_conns, 1, memory_order_relaxed) >= w->o.conns_max) {
        web_leave(w);
        stats_add(loop_stats(stream_loop(s)), STAT_WEB_REFUSED, 1);
        return E_LIMIT;
    }
    const bool is_http2 =
        !w->o.is_for_upgrades && stream_tls(s) != NULL && tls_is_http2(stream_tls(s));
    const enum err e = is_http2 ? http2_frame(s, w) : http1_frame(s, w);
    if (e != OK) web_leave(w);
    return e;
}

void web_count(struct stream *s, unsigned status) {
    if (status < 200) return; /* the connection is a client's from now on */
    const enum stat_id id = status < 300   ? STAT_WEB_2XX
                            : status < 400 ? STAT_WEB_3XX
                            : status < 500 ? STAT_WEB_4XX
                                           : STAT_WEB_5XX;
    stats_add(loop_stats(stream_loop(s)), id, 1);
}

void web_leave(struct web *w) {
    (void)atomic_fetch_sub_explicit(&w->n_conns, 1, memory_order_relaxed);
}
