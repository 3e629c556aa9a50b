/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* dashboard.c -- start and stop, requests, and the thread that takes the figures and wakes those
 * who have to wait. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/dashboard_priv.h"
#include "base/attr.h"
#include "crypto/crypto.h"
#include "model/limits.h"

enum {
    TIMEOUT_S = 30,            /* longer than the page waits between two requests */
    STRANGER_TIMEOUT_S = 5,    /* of who has not shown a password yet: there are few places */
    CONNECTION_MEMORY = 16384, /* bytes: request and headers */
    STEP_MS = HISTORY_STEP_S * 1000,
};

/* Until the sampler's thread wakes it. */
static enum MHD_Result wait_for_gate(struct dashboard *d, struct request *r) {
    lock_take(&d->mtx);
    const bool waits = !d->is_stopping; /* nobody wakes it any more */
    if (waits) {
        MHD_suspend_connection(r->connection);
        list_push_back(&d->waiting, &r->in_waiting);
        lock_wake(&d->wake);
    }
    lock_give(&d->mtx);
    return waits ? MHD_YES : MHD_NO;
}

static void set_timeout(struct MHD_Connection *c, unsigned s) {
    (void)MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, s);
}

/* ---- requests ---- */

static bool has_body(struct MHD_Connection *c) {
    const struct bytes n = dashboard_field(c, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return (n.n != 0 && !bytes_equal(n, bytes_str("0"))) ||
           dashboard_field(c, MHD_HTTP_HEADER_TRANSFER_ENCODING).n != 0;
}

static bool is_stopping(struct dashboard *d) {
    lock_take(&d->mtx);
    const bool is = d->is_stopping;
    lock_give(&d->mtx);
    return is;
}

static enum MHD_Result answer(struct dashboard *d, struct request *r, struct peer *peer,
                              const char *path) {
    struct MHD_Connection *c = r->connection;
    if (!dashboard_is_for_us(c))
        return dashboard_refuse(c, MISDIRECTED,
                                "ask for 127.0.0.1, [::1] or localhost, not for a name\n");
    if (dashboard_is_of_another_page(d, c, path))
        return dashboard_refuse(c, FORBIDDEN, "not for other pages\n");
    switch (dashboard_look_at(d, r, peer)) {
    case WAIT:
        return wait_for_gate(d, r);
    case ASK:
        return dashboard_ask_password(c, false);
    case WRONG:
        return dashboard_ask_password(c, true);
    case NOBODY:
        return dashboard_refuse(c, FORBIDDEN,
                                "nobody is let in while control_port_user_password of [AUTH] is "
                                "not set in "
                                "smp-server.ini: set it, then `systemctl reload smp-server`\n");
    case LET_IN:
        set_timeout(c, TIMEOUT_S);
        break;
    }
    return strcmp(path, "/data.json") == 0 ? dashboard_send_data(d, c)
                                           : dashboard_send_file(d, c, path);
}

static struct peer *peer_of(struct MHD_Connection *c) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

/* First with the headers: what is answered then ends the connection. Again when the request is
 * complete, and when it has waited. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_n, void **request) {
    (void)version;
    (void)upload;
    (void)upload_n;
    struct request *r = *request;
    struct peer *peer = peer_of(c);
    if (peer == NULL || is_stopping(cls)) return MHD_NO;
    if (!local_is_method_known(method)) return local_refuse_method(c);
    if (has_body(c)) return dashboard_refuse(c, BODY_REFUSED, "no body is taken\n");
    if (r != NULL) return answer(cls, r, peer, url);
    r = calloc(1, sizeof *r);
    if (r == NULL) return MHD_NO;
    r->connection = c;
    list_init(&r->in_waiting);
    *request = r;
    return MHD_YES;
}

/* One that waits is not ended before it was woken. */
static void on_request_end(void *cls, struct MHD_Connection *c, void **request,
                           enum MHD_RequestTerminationCode why) {
    (void)cls;
    (void)c;
    (void)why;
    free(*request);
    *request = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *c, void **peer,
                          enum MHD_ConnectionNotificationCode what) {
    struct dashboard *d = cls;
    struct peer *p = *peer;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *peer = p = calloc(1, sizeof *p);
        if (p != NULL) local_guest_came(&d->guests, &p->guest, c);
        set_timeout(c, STRANGER_TIMEOUT_S);
    } else {
        if (p != NULL) local_guest_left(&d->guests, &p->guest);
        free(p);
        *peer = NULL;
    }
}

/* ---- the sampler ---- */

static void take_sample(struct dashboard *d, int64_t now_ms) {
    d->gauges = (struct stats_gauges){.n_ports = 0};
    d->o.gauges(d->o.ctx, &d->gauges);
    stats_report(d->o.stats, &d->gauges, &d->report);
    lock_take(&d->mtx);
    history_add(d->history, d->o.stats, &d->report, now_ms);
    d->started_s = d->report.gauges.value[GAUGE_START_TIME_S];
    d->storage_state = d->report.gauges.value[GAUGE_STORAGE_STATE];
    d->smp_expires_s = d->report.gauges.value[GAUGE_SMP_CERT_S];
    d->web_expires_s = d->report.gauges.value[GAUGE_WEB_CERT_S];
    lock_give(&d->mtx);
    /* What was missed is left out: a machine that slept took no steps. */
    d->sample_ms += STEP_MS;
    if (d->sample_ms <= now_ms) d->sample_ms = now_ms + STEP_MS;
}

/* Under mtx. Those whose time has come, or all; gives the time of the next. */
static int64_t wake_requests(struct dashboard *d, int64_t now_ms) {
    int64_t next_ms = INT64_MAX;
    for (struct list *n = d->waiting.next, *after; n != &d->waiting; n = after) {
        struct request *r = CONTAINER_OF(n, struct request, in_waiting);
        after = n->next;
        if (d->is_stopping || r->due_ms <= now_ms) {
            list_remove(n);
            MHD_resume_connection(r->connection);
        } else if (r->due_ms < next_ms) {
            next_ms = r->due_ms;
        }
    }
    return next_ms;
}

static void run(void *ctx) {
    struct dashboard *d = ctx;
    lock_take(&d->mtx);
    while (!d->is_stopping) {
        lock_give(&d->mtx);
        const int64_t now_ms = env_mono_ms(d->o.env);
        if (now_ms >= d->sample_ms) take_sample(d, now_ms);
        lock_take(&d->mtx);
        const int64_t wake_ms = wake_requests(d, now_ms);
        const int64_t next_ms = wake_ms < d->sample_ms ? wake_ms : d->sample_ms;
        if (!d->is_stopping) (void)lock_wait_ms(&d->wake, &d->mtx, next_ms - now_ms);
    }
    (void)wake_requests(d, 0);
    lock_give(&d->mtx);
}

/* ---- start and stop ---- */

enum err dashboard_new(const struct dashboard_opts *o, struct dashboard **ret) {
    int fd = -1;
    bool is_ipv6 = false;
    const enum err e = local_listen(o->host, o->port, &fd, &is_ipv6);
    if (e != OK) return e;
    struct dashboard *d = calloc(1, sizeof *d);
    if (d == NULL || history_new(&d->history) != OK) {
        (void)close(fd);
        free(d);
        return E_NO_MEMORY;
    }
    d->o = *o;
    d->o.host = NULL;
    d->o.site = site_ref(o->site);
    local_guests_init(&d->guests, DASHBOARD_CONNECTIONS_MAX, o->sheet,
                      STAT_LIMIT_DASHBOARD_CONNECTIONS);
    d->is_ipv6 = is_ipv6;
    d->smp_expires_s = d->web_expires_s = STATS_NO_VALUE;
    d->fd = fd;
    lock_init(&d->mtx, LOCK_DASHBOARD);
    lock_cond_init(&d->wake);
    list_init(&d->waiting);
    *ret = d;
    return OK;
}

static bool start_daemon(struct dashboard *d) {
    const unsigned flags = MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD |
                           MHD_ALLOW_SUSPEND_RESUME | (d->is_ipv6 ? MHD_USE_IPv6 : 0);
    d->daemon =
        MHD_start_daemon(flags, d->o.port, NULL, NULL, on_request, d, MHD_OPTION_LISTEN_SOCKET,
                         (MHD_socket)d->fd, MHD_OPTION_CONNECTION_LIMIT,
                         2U * DASHBOARD_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned)TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED, on_request_end, d,
                         MHD_OPTION_NOTIFY_CONNECTION, on_connection, d, MHD_OPTION_END);
    d->fd = -1; /* the daemon's, or, where that could not start, closed or not: then all ends */
    return d->daemon != NULL;
}

enum err dashboard_start(struct dashboard *d) {
    d->sample_ms = env_mono_ms(d->o.env);
    take_sample(d, d->sample_ms); /* before anybody is answered */
    if (thread_start(&d->sampler, "dashboard", run, d) != OK) return E_SYS;
    if (start_daemon(d)) return OK;
    const int saved = errno;
    dashboard_stop(d);
    errno = saved;
    return E_SYS;
}

void dashboard_stop(struct dashboard *d) {
    if (d == NULL || !d->sampler.is_started) return;
    lock_take(&d->mtx);
    d->is_stopping = true;
    lock_wake(&d->wake);
    lock_give(&d->mtx);
    thread_join(&d->sampler); /* it has woken all that waited, and nobody waits any more */
    if (d->daemon != NULL) MHD_stop_daemon(d->daemon);
    d->daemon = NULL;
}

void dashboard_free(struct dashboard *owned) {
    if (owned == NULL) return;
    if (owned->fd >= 0) (void)close(owned->fd);
    site_unref(owned->o.site);
    history_free(owned->history);
    lock_cond_done(&owned->wake);
    lock_done(&owned->mtx);
    crypto_wipe(owned->password, sizeof owned->password);
    free(owned);
}

void dashboard_set_password(struct dashboard *d, const char *password) {
    lock_take(&d->mtx);
    crypto_wipe(d->password, sizeof d->password);
    (void)snprintf(d->password, sizeof d->password, "%s", password);
    lock_give(&d->mtx);
}
