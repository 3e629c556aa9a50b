/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/local_http.h"

#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/attr.h"
#include "net/addr.h"

/* ---- addresses ---- */

enum err local_listen(const char *host, uint16_t port, int *ret_fd, bool *ret_is_ipv6) {
    union addr at;
    if (!addr_parse(host, port, &at) || !addr_is_loopback(&at.any)) return E_HOST;
    const int fd = addr_bind(&at, false, false);
    if (fd < 0 || listen(fd, SOMAXCONN) != 0) {
        if (fd >= 0) addr_close(fd);
        return E_SYS;
    }
    *ret_fd = fd;
    *ret_is_ipv6 = at.any.sa_family == AF_INET6;
    return OK;
}

static bool is_port(struct bytes b) {
    if (b.n == 0) return true;
    if (b.p[0] != ':' || b.n > sizeof ":65535" - 1) return false;
    for (size_t i = 1; i < b.n; i++) {
        if (b.p[i] < '0' || b.p[i] > '9') return false;
    }
    return true;
}

bool local_is_host(struct bytes field) {
    union addr at;
    char host[INET6_ADDRSTRLEN];
    const bool is_v6 = field.n != 0 && field.p[0] == '[';
    const uint8_t *end = field.n != 0 ? memchr(field.p, is_v6 ? ']' : ':', field.n) : NULL;
    if (is_v6 && end == NULL) return false;
    const size_t from = is_v6 ? 1 : 0, n = end != NULL ? (size_t)(end - field.p) : field.n;
    const size_t rest = n + from;
    if (n - from >= sizeof host || !is_port(bytes_of(field.p + rest, field.n - rest))) return false;
    memcpy(host, field.p + from, n - from);
    host[n - from] = '\0';
    if (strlen(host) != n - from) return false;
    if (!is_v6 && strcasecmp(host, "localhost") == 0) return true;
    return addr_parse(host, 0, &at) && (at.any.sa_family == AF_INET6) == is_v6 &&
           addr_is_loopback(&at.any);
}

/* ---- who is connected ---- */

void local_guests_init(struct local_guests *g, unsigned max, struct stats_sheet *sheet,
                       enum stat_id stat) {
    *g = (struct local_guests){.max = max, .sheet = sheet, .stat = stat};
    list_init(&g->all);
}

static void show_out(struct local_guests *g, struct local_guest *it) {
    it->gives_way = true;
    g->n--;
    (void)shutdown(it->fd, SHUT_RDWR); /* libmicrohttpd finds its end, and closes it */
}

static void make_place(struct local_guests *g) {
    stats_add(g->sheet, g->stat, 1);
    for (struct list *n = g->all.next; n != &g->all; n = n->next) {
        struct local_guest *it = CONTAINER_OF(n, struct local_guest, in_all);
        if (it->is_known || it->gives_way) continue;
        show_out(g, it);
        return;
    }
}

void local_guest_came(struct local_guests *g, struct local_guest *it, struct MHD_Connection *c) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    it->fd = info != NULL ? info->connect_fd : -1;
    if (g->n >= g->max) make_place(g);
    list_push_back(&g->all, &it->in_all);
    g->n++;
}

void local_guest_left(struct local_guests *g, struct local_guest *it) {
    if (!it->gives_way) g->n--;
    list_remove(&it->in_all);
}

/* ---- answers ---- */

struct MHD_Response *local_plain(const char *text) {
    /* libmicrohttpd takes it as not const, and does not change it */
    union {
        const char *in;
        void *out;
    } body = {.in = text};
    return MHD_create_response_from_buffer(strlen(text), body.out, MHD_RESPMEM_PERSISTENT);
}

enum MHD_Result local_respond(struct MHD_Connection *c, unsigned status, struct MHD_Response *r) {
    if (r == NULL) return MHD_NO;
    const enum MHD_Result queued = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return queued;
}

bool local_is_method_known(const char *method) {
    return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

enum MHD_Result local_refuse_method(struct MHD_Connection *c) {
    struct MHD_Response *r = local_plain("method not allowed\n");
    if (r != NULL) (void)MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    return local_respond(c, MHD_HTTP_METHOD_NOT_ALLOWED, r);
}
