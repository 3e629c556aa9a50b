/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* control_list.c -- commands that look at all clients: clients, socket-threads, server-info.
 *
 * A walk asks the relay for one part of the list after the other. The next is asked for when the
 * text of the one before is written, so a session that does not read holds up nobody, and a list of
 * any length takes little memory. A walk whose session has ended ends with its next part. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/control_priv.h"
#include "base/attr.h"
#include "crypto/base64.h"
#include "relay/operations/inspect.h"

enum { NTF_CLIENTS_SHOWN_MAX = 64 };

/* What server-info adds up. */
struct totals {
    uint64_t clients, subs, sub_clients, ntf_subs, ntf_clients;
    uint64_t ntf_client[NTF_CLIENTS_SHOWN_MAX]; /* numbers of the first of these */
};

struct control_walk {
    struct control_session *session; /* borrowed; NULL: it has ended */
    struct relay *relay;             /* borrowed */
    struct loop *loop;               /* borrowed: the port's */
    int64_t now_s;
    bool is_asking, is_over;
    struct inspect_place at;
    struct totals all, of_loop;
    void (*take)(struct control_walk *w, const struct inspect_part *part, struct wr *out);
    void (*finish)(struct control_walk *w, struct wr *out); /* may be NULL */
};

/* ---- walking ---- */

static void free_walk(struct control_walk *w) {
    if (w->session != NULL) w->session->walk = NULL;
    free(w);
}

void control_walk_orphan(struct control_walk *w) {
    if (w == NULL) return;
    w->session = NULL;
    if (!w->is_asking) free_walk(w);
}

static void on_part(void *ctx, const struct inspect_part *part) {
    struct control_walk *w = ctx;
    struct control_session *s = w->session;
    w->is_asking = false;
    if (s == NULL) {
        free_walk(w);
        return;
    }
    struct wr out = say_begin(s);
    w->take(w, part, &out);
    w->is_over = part->is_last;
    w->at = part->next;
    if (w->is_over && w->finish != NULL) w->finish(w, &out);
    const bool has_text = wr_bytes(&out).n > 0;
    say_end(s, &out);
    if (!has_text) control_walk_next(s); /* nothing to wait for */
}

void control_walk_next(struct control_session *s) {
    struct control_walk *w = s->walk;
    if (w->is_asking) return;
    if (w->is_over) {
        free_walk(w);
        line_conn_release(s->conn);
        return;
    }
    w->is_asking = true;
    if (relay_inspect(w->relay, w->at, w->loop, on_part, w) == OK) return;
    w->is_asking = false;
    free_walk(w);
    line_conn_finish(s->conn); /* no memory */
}

/* NULL: answered that it cannot. */
static struct control_walk *start(struct control_session *s) {
    struct control_walk *w = calloc(1, sizeof *w);
    if (w == NULL) {
        say_error(s, err_meaning(E_NO_MEMORY));
        return NULL;
    }
    w->session = s;
    w->relay = s->cp->o.relay;
    w->loop = s->cp->loop;
    w->now_s = env_now_s(s->cp->o.env);
    s->walk = w;
    line_conn_hold(s->conn);
    return w;
}

/* ---- clients ---- */

/* As the reference writes it: base64 with '+' and '/'. */
static void encode_session_id(const struct relay_client *c, char *ret) {
    base64url_encode(bytes_of(c->session_id, c->n_session_id), ret);
    for (; *ret != '\0'; ret++) {
        if (*ret == '-') *ret = '+';
        if (*ret == '_') *ret = '/';
    }
}

static void take_clients(struct control_walk *w, const struct inspect_part *part, struct wr *out) {
    for (unsigned i = 0; i < part->n; i++) {
        const struct relay_client *c = &part->clients[i];
        char line[256], id[BASE64_LEN(SESSION_ID_MAX) + 1];
        encode_session_id(c, id);
        (void)snprintf(line, sizeof line,
                       "%" PRIu64 ",%s,True,%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%zu\n",
                       c->number, id, w->now_s - c->age_s, w->now_s - c->received_s_ago,
                       w->now_s - c->sent_s_ago, c->age_s, c->n_subscriptions);
        wr_str(out, line);
    }
}

void run_clients(struct control_session *s, const struct control_command *c) {
    (void)c;
    struct control_walk *w = start(s);
    if (w == NULL) return;
    w->take = take_clients;
    say(s, "clientId,sessionId,connected,createdAt,rcvActiveAt,sndActiveAt,age,subscriptions\n");
}

/* ---- sums ---- */

static void add(struct totals *t, const struct inspect_part *part) {
    t->clients += part->n;
    for (unsigned i = 0; i < part->n; i++) {
        const struct relay_client *c = &part->clients[i];
        t->subs += c->n_subscriptions;
        t->ntf_subs += c->n_ntf_subscriptions;
        if (c->n_subscriptions > 0) t->sub_clients++;
        if (c->n_ntf_subscriptions == 0) continue;
        if (t->ntf_clients < NTF_CLIENTS_SHOWN_MAX) t->ntf_client[t->ntf_clients] = c->number;
        t->ntf_clients++;
    }
}

static void take_loops(struct control_walk *w, const struct inspect_part *part, struct wr *out) {
    char line[160];
    add(&w->of_loop, part);
    if (!part->is_last && part->next.loop == part->loop) return;
    (void)snprintf(line, sizeof line, "loop-%u,%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", part->loop,
                   w->of_loop.clients, w->of_loop.subs, w->of_loop.ntf_subs);
    wr_str(out, line);
    w->of_loop = (struct totals){0};
}

void run_socket_threads(struct control_session *s, const struct control_command *c) {
    (void)c;
    struct control_walk *w = start(s);
    if (w == NULL) return;
    w->take = take_loops;
    say(s, "thread,clients,subscriptions,ntfSubscriptions\n");
}

/* ---- server-info ---- */

static void take_totals(struct control_walk *w, const struct inspect_part *part, struct wr *out) {
    (void)out;
    add(&w->all, part);
}

static void line(struct wr *w, const char *name, uint64_t n) {
    char text[128];
    (void)snprintf(text, sizeof text, "%s: %" PRIu64 "\n", name, n);
    wr_str(w, text);
}

/* Nothing waits between threads here, as it does in the reference's queues: always 0. */
static void no_queues(struct wr *w, const char *of) {
    wr_str(w, of);
    wr_str(w, "rcvQ, sndQ, msgQ): (0,0,0)\n");
}

static void write_for_admin(const struct totals *t, struct wr *w) {
    char text[128];
    no_queues(w, "Client queues (");
    line(w, "SMP subscriptions (via clients)", t->subs);
    (void)snprintf(text, sizeof text,
                   "SMP subscriptions (by group: NoSub, SubPending, SubThread, ProhibitSub): "
                   "(%" PRIu64 ",0,0,0)\n",
                   t->subs);
    wr_str(w, text);
    line(w, "SMP subscribed clients (via clients)", t->sub_clients);
    no_queues(w, "SMP subscribed clients queues (via clients, ");
    line(w, "Ntf subscriptions (via clients)", t->ntf_subs);
    line(w, "Ntf subscribed clients (via clients)", t->ntf_clients);
    no_queues(w, "Ntf subscribed clients queues (via clients, ");
}

/* The numbers of these clients, as the reference lists them: after the count. */
static void write_ntf_clients(const struct totals *t, const char *name, const char *before,
                              struct wr *w) {
    char text[128];
    (void)snprintf(text, sizeof text, "%s: %" PRIu64 " %s[", name, t->ntf_clients, before);
    wr_str(w, text);
    for (unsigned i = 0; i < t->ntf_clients && i < NTF_CLIENTS_SHOWN_MAX; i++) {
        (void)snprintf(text, sizeof text, "%s%" PRIu64, i > 0 ? "," : "", t->ntf_client[i]);
        wr_str(w, text);
    }
    wr_str(w, t->ntf_clients > NTF_CLIENTS_SHOWN_MAX ? ",...]\n" : "]\n");
}

static void finish_info(struct control_walk *walk, struct wr *w) {
    const struct totals *t = &walk->all;
    control_report(walk->session->cp);
    line(w, "Threads", walk->session->cp->gauges.value[GAUGE_THREADS]);
    line(w, "Clients", t->clients);
    if (walk->session->role == ROLE_ADMIN) write_for_admin(t, w);
    line(w, "SMP subscriptions", t->subs);
    line(w, "SMP subscribed clients", t->sub_clients);
    line(w, "SMP subscribed clients count 2", t->sub_clients);
    line(w, "Ntf subscriptions", t->ntf_subs);
    write_ntf_clients(t, "Ntf subscribed clients", "", w);
    write_ntf_clients(t, "Ntf subscribed clients count 2", "fromList ", w);
}

void run_server_info(struct control_session *s, const struct control_command *c) {
    (void)c;
    struct control_walk *w = start(s);
    if (w == NULL) return;
    w->take = take_totals;
    w->finish = finish_info;
    control_walk_next(s);
}
