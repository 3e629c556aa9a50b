/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/metrics_http.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/local_http.h"
#include "model/limits.h"
#include "stats/report.h"

enum {
    TIMEOUT_S = 10,
    CONNECTION_MEMORY = 16384, /* bytes: request and headers */
};

struct metrics_http {
    struct metrics_http_opts o;
    bool is_ipv6;
    int fd;                    /* owned until it serves; or -1 */
    struct MHD_Daemon *daemon; /* owned; NULL: not started */
    struct local_guests guests;
};

/* What is too large for the stack. */
struct scrape {
    struct stats_gauges gauges;
    struct stats_report report;
};

/* *ret_text is the caller's to free. */
static enum err write_metrics(const struct metrics_http *m, char **ret_text, size_t *ret_n) {
    struct scrape *s = calloc(1, sizeof *s);
    char *text = malloc(STATS_METRICS_MAX);
    enum err e = s != NULL && text != NULL ? OK : E_NO_MEMORY;
    if (e == OK) {
        struct wr w = wr_init(text, STATS_METRICS_MAX);
        m->o.gauges(m->o.ctx, &s->gauges);
        stats_report(m->o.stats, &s->gauges, &s->report);
        stats_write_metrics(&s->report, m->o.version, METRICS_FOR_HTTP, &w);
        e = wr_err(&w);
        *ret_n = wr_bytes(&w).n;
    }
    free(s);
    if (e == OK) {
        *ret_text = text;
    } else {
        free(text);
    }
    return e;
}

static enum MHD_Result send_metrics(const struct metrics_http *m, struct MHD_Connection *c) {
    char *text = NULL;
    size_t n = 0;
    if (write_metrics(m, &text, &n) != OK) {
        return local_respond(c, MHD_HTTP_INTERNAL_SERVER_ERROR, local_plain("no figures\n"));
    }
    struct MHD_Response *r = MHD_create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        free(text);
        return MHD_NO;
    }
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE,
                                  "text/plain; version=0.0.4; charset=utf-8");
    return local_respond(c, MHD_HTTP_OK, r);
}

/* Answers as soon as the headers are there: a body is never read. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_n, void **request) {
    (void)version;
    (void)upload;
    (void)upload_n;
    (void)request;
    if (!local_is_method_known(method)) return local_refuse_method(c);
    if (strcmp(url, "/metrics") != 0) {
        return local_respond(c, MHD_HTTP_NOT_FOUND, local_plain("not found: see /metrics\n"));
    }
    return send_metrics(cls, c);
}

static void on_connection(void *cls, struct MHD_Connection *c, void **guest,
                          enum MHD_ConnectionNotificationCode what) {
    struct metrics_http *m = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *guest = calloc(1, sizeof(struct local_guest));
        if (*guest != NULL) local_guest_came(&m->guests, *guest, c);
    } else if (*guest != NULL) {
        local_guest_left(&m->guests, *guest);
        free(*guest);
        *guest = NULL;
    }
}

/* ---- start and stop ---- */

enum err metrics_http_new(const struct metrics_http_opts *o, struct metrics_http **ret) {
    int fd = -1;
    bool is_ipv6 = false;
    const enum err e = local_listen(o->host, o->port, &fd, &is_ipv6);
    if (e != OK) return e;
    struct metrics_http *m = calloc(1, sizeof *m);
    if (m == NULL) {
        (void)close(fd);
        return E_NO_MEMORY;
    }
    m->o = *o;
    m->o.host = NULL;
    local_guests_init(&m->guests, METRICS_CONNECTIONS_MAX, o->sheet,
                      STAT_LIMIT_METRICS_CONNECTIONS);
    m->is_ipv6 = is_ipv6;
    m->fd = fd;
    *ret = m;
    return OK;
}

enum err metrics_http_start(struct metrics_http *m) {
    const unsigned flags =
        MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD | (m->is_ipv6 ? MHD_USE_IPv6 : 0);
    m->daemon = MHD_start_daemon(flags, m->o.port, NULL, NULL, on_request, m,
                                 MHD_OPTION_LISTEN_SOCKET, (MHD_socket)m->fd,
                                 MHD_OPTION_CONNECTION_LIMIT, 2U * METRICS_CONNECTIONS_MAX,
                                 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
                                 MHD_OPTION_NOTIFY_CONNECTION, on_connection, m, MHD_OPTION_END);
    m->fd = -1; /* the daemon's, or, where that could not start, closed or not: then all ends */
    return m->daemon != NULL ? OK : E_SYS;
}

void metrics_http_stop(struct metrics_http *m) {
    if (m == NULL || m->daemon == NULL) return;
    MHD_stop_daemon(m->daemon);
    m->daemon = NULL;
}

void metrics_http_free(struct metrics_http *owned) {
    if (owned == NULL) return;
    if (owned->fd >= 0) (void)close(owned->fd);
    free(owned);
}
