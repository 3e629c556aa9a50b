/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* control_port.c -- sessions and roles; the port's start and stop. The commands are in
 * control_queue.c (moderation), control_list.c (clients) and control_report.c. */
#include "admin/control_port.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/control_priv.h"
#include "base/attr.h"
#include "base/lock.h"
#include "base/log.h"
#include "model/limits.h"
#include "relay/relay.h"

enum {
    STRANGER_IDLE_MS = 60000, /* without a role */
    IDLE_MS = 1800000,        /* with one */
};

/* ---- answers ---- */

struct wr say_begin(const struct control_session *s) {
    return wr_init(s->cp->scratch, sizeof s->cp->scratch);
}

void say_end(const struct control_session *s, const struct wr *w) {
    line_conn_write(s->conn, wr_bytes(w));
}

void say(const struct control_session *s, const char *text) {
    line_conn_write(s->conn, bytes_str(text));
}

void say_error(const struct control_session *s, const char *what) {
    struct wr w = say_begin(s);
    wr_str(&w, "error: ");
    wr_str(&w, what);
    wr_str(&w, "\n");
    say_end(s, &w);
}

void say_failure(const struct control_session *s, enum err e) {
    switch (e) {
    case E_AUTH:
        say_error(s, "AUTH: there is no such queue on this server");
        break;
    case E_STORE:
        say_error(s, "STORE: the change is not on disk, and undone: see the server's log");
        break;
    default:
        say_error(s, err_meaning(e));
        break;
    }
}

static void say_by_fate(const struct control_session *s, enum err fate) {
    if (fate == OK) {
        line_conn_write(s->conn, bytes_of(s->reply, s->n_reply));
    } else {
        say_failure(s, fate);
    }
}

static void disk_told(struct fate_waiter *w, enum err fate) {
    struct control_session *s = CONTAINER_OF(w, struct control_session, disk);
    say_by_fate(s, fate);
    line_conn_release(s->conn);
}

void say_when_durable(struct control_session *s, lsn_t lsn, const struct wr *w) {
    const struct bytes text = wr_bytes(w);
    assert(text.n <= sizeof s->reply);
    if (text.n > 0) memcpy(s->reply, text.p, text.n);
    s->n_reply = text.n;
    const enum err fate = fate_ask(&s->cp->desk, lsn, &s->disk);
    if (fate == E_PENDING) {
        line_conn_hold(s->conn);
    } else {
        say_by_fate(s, fate);
    }
}

/* ---- auth ---- */

/* Both are compared, whatever comes of the first. */
static enum control_role role_of(struct control_port *cp, struct bytes password) {
    lock_take(&cp->mtx);
    const struct bytes admin = bytes_str(cp->settings.admin_password);
    const struct bytes user = bytes_str(cp->settings.user_password);
    const bool is_admin = admin.n > 0 && crypto_equal(password, admin);
    const bool is_user = user.n > 0 && crypto_equal(password, user);
    lock_give(&cp->mtx);
    if (is_admin) return ROLE_ADMIN;
    return is_user ? ROLE_USER : ROLE_NONE;
}

static void log_wrong(const struct control_session *s) {
    log_line(LOG_WARN, "control-port", "password=wrong in_session=%u", s->gate.n_wrong);
    if (s->gate.n_wrong >= AUTH_TRIES_MAX) line_conn_finish(s->conn);
}

static void take_role(struct control_session *s, enum control_role given) {
    struct control_port *cp = s->cp;
    const int64_t now_ms = loop_now_ms(cp->loop);
    if (given == ROLE_NONE) {
        auth_gate_wrong(&cp->gate, now_ms);
        cp->gate.n_wrong = 1; /* the port's delay does not grow: it is shared with who is right */
        auth_gate_wrong(&s->gate, now_ms);
        log_wrong(s);
    } else {
        auth_gate_right(&cp->gate);
        auth_gate_right(&s->gate);
    }
    const bool is_first = s->role == ROLE_NONE;
    if (is_first) s->role = given;
    if (s->role != ROLE_NONE) line_conn_set_idle(s->conn, IDLE_MS);
    line_conn_set_claim(s->conn, s->role != ROLE_NONE ? LINE_CLAIM_STAYS : LINE_CLAIM_SPENT);
    struct wr w = say_begin(s);
    wr_str(&w, "Current role is ");
    wr_str(&w, control_role_name(s->role));
    if (!is_first && given != s->role) wr_str(&w, ", start new session to change.");
    wr_str(&w, "\n");
    say_end(s, &w);
}

static void look_at_passwords(void *ctx);

/* Until the next may be looked at. */
static enum err wait_for_gate(struct control_port *cp, int64_t wait_ms) {
    return loop_timer_start(cp->loop, &cp->gate_timer, (uint64_t)wait_ms, 0, look_at_passwords, cp);
}

/* In the order in which they came: who guesses delays others by no more than one guess for each of
 * the sessions that there may be. */
static void look_at_passwords(void *ctx) {
    struct control_port *cp = ctx;
    for (struct list *l; (l = list_first(&cp->trying)) != NULL;) {
        struct control_session *s = CONTAINER_OF(l, struct control_session, in_trying);
        const int64_t now_ms = loop_now_ms(cp->loop);
        const int64_t wait_ms = auth_gate_opens_ms(&cp->gate, now_ms) - now_ms;
        if (wait_ms > 0 && wait_for_gate(cp, wait_ms) == OK) return;
        list_remove(l);
        if (wait_ms > 0) {
            line_conn_finish(s->conn); /* out of memory */
            continue;
        }
        take_role(s, role_of(cp, bytes_of(s->password, s->n_password)));
        crypto_wipe(s->password, sizeof s->password);
        line_conn_release(s->conn);
    }
}

static void try_password(void *ctx) {
    struct control_session *s = ctx;
    list_push_back(&s->cp->trying, &s->in_trying);
    look_at_passwords(s->cp);
}

void run_auth(struct control_session *s, const struct control_command *c) {
    /* What is too long for any password stays so when it is cut: one byte more than they have. */
    const size_t n = c->password.n < sizeof s->password ? c->password.n : sizeof s->password;
    memcpy(s->password, c->password.p, n);
    s->n_password = n;
    line_conn_hold(s->conn);
    /* A first password is looked at before others take the place. */
    if (s->role == ROLE_NONE && s->gate.n_wrong == 0) line_conn_set_claim(s->conn, LINE_CLAIM_BUSY);
    const int64_t now_ms = loop_now_ms(s->cp->loop);
    const int64_t wait_ms = auth_gate_opens_ms(&s->gate, now_ms) - now_ms;
    if (wait_ms <= 0) {
        try_password(s);
    } else if (loop_timer_start(s->cp->loop, &s->timer, (uint64_t)wait_ms, 0, try_password, s) !=
               OK) {
        line_conn_finish(s->conn);
    }
}

/* ---- lines ---- */

static control_fn *const HANDLERS[N_VERBS] = {
#define VERB(id, name, role, args, listed) run_##id,
#include "admin/verbs.def"
#undef VERB
};

void run_help(struct control_session *s, const struct control_command *c) {
    (void)c;
    struct wr w = say_begin(s);
    control_help(&w);
    say_end(s, &w);
}

void run_quit(struct control_session *s, const struct control_command *c) {
    (void)c;
    line_conn_finish(s->conn);
}

void run_suspend(struct control_session *s, const struct control_command *c) {
    (void)c;
    say(s, "suspend not implemented\n");
}

void run_resume(struct control_session *s, const struct control_command *c) {
    (void)c;
    say(s, "resume not implemented\n");
}

static void refuse(struct control_session *s, enum control_verb v) {
    say(s, "AUTH\n");
    if (s->was_refused) return;
    s->was_refused = true;
    log_line(LOG_WARN, "control-port", "refused=%s role=%s", control_verb_name(v),
             control_role_name(s->role));
}

static void run(struct control_session *s, const struct control_command *c) {
    const enum control_role needed = control_role_needed(c->verb);
    if (s->role < needed) {
        refuse(s, c->verb);
        return;
    }
    if (needed != ROLE_NONE) {
        log_line(LOG_INFO, "control-port", "command=%s role=%s", control_verb_name(c->verb),
                 control_role_name(s->role));
    }
    HANDLERS[c->verb](s, c);
}

static void on_line(void *session, const struct line *line) {
    struct control_session *s = session;
    struct control_command c;
    bool any = true;
    const char *error = line->is_too_long ? "line too long" : control_parse(line->text, &c, &any);
    if (error != NULL) {
        say_error(s, error);
    } else if (any) {
        run(s, &c);
    }
}

static void on_drained(void *session) {
    struct control_session *s = session;
    if (s->walk != NULL) control_walk_next(s);
}

/* ---- sessions ---- */

static enum err on_open(struct line_conn *c, void *server, void **ret_session) {
    struct control_session *s = calloc(1, sizeof *s);
    if (s == NULL) return E_NO_MEMORY;
    s->cp = server;
    s->conn = c;
    list_init(&s->in_saving);
    list_init(&s->in_trying);
    fate_waiter_init(&s->disk, disk_told);
    *ret_session = s;
    say(s, CONTROL_GREETING);
    return OK;
}

static void on_close(void *session) {
    struct control_session *s = session;
    loop_timer_stop(&s->timer);
    fate_forget(&s->disk);
    list_remove(&s->in_saving);
    list_remove(&s->in_trying);
    control_walk_orphan(s->walk);
    crypto_wipe(s, sizeof *s);
    free(s);
}

static void on_full(void *server) {
    const struct control_port *cp = server;
    stats_add(cp->o.sheet, STAT_LIMIT_CONTROL_SESSIONS, 1);
}

static const struct line_ops OPS = {on_open, on_line, on_drained, on_close, on_full};

/* ---- start and stop ---- */

enum err control_port_new(const struct control_port_opts *o, struct control_port **ret) {
    struct control_port *cp = calloc(1, sizeof *cp);
    if (cp == NULL) return E_NO_MEMORY;
    cp->o = *o;
    memcpy(cp->identity, o->identity, sizeof cp->identity);
    list_init(&cp->saving);
    list_init(&cp->trying);
    lock_init(&cp->mtx, LOCK_CONTROL_PORT);
    enum err e = loop_new(o->loop_index, o->env, &cp->loop);
    if (e == OK) fate_desk_open(relay_fates(o->relay), cp->loop, &cp->desk);
    const struct line_server_opts lo = {
        .ops = &OPS,
        .server = cp,
        .port = o->port,
        .conns_max = CONTROL_SESSIONS_MAX,
        .idle_ms = STRANGER_IDLE_MS,
    };
    if (e == OK) e = line_server_open(cp->loop, &lo, &cp->server);
    if (e != OK) {
        const int saved = errno;
        control_port_free(cp);
        errno = saved;
        return e;
    }
    *ret = cp;
    return OK;
}

enum err control_port_start(struct control_port *cp) {
    return loop_start(cp->loop);
}

void control_port_stop(struct control_port *cp) {
    if (cp == NULL) return;
    loop_stop(cp->loop);
    loop_join(cp->loop);
    control_saving_join(cp);
    line_server_close(cp->server);
    cp->server = NULL;
}

void control_port_free(struct control_port *cp) {
    if (cp == NULL) return;
    line_server_close(cp->server);
    loop_timer_stop(&cp->gate_timer);
    if (cp->loop != NULL) fate_desk_close(&cp->desk);
    loop_free(cp->loop); /* runs what the relay's loops have answered too late */
    lock_done(&cp->mtx);
    crypto_wipe(cp, sizeof *cp);
    free(cp);
}

uint16_t control_port_number(const struct control_port *cp) {
    return line_server_port(cp->server);
}

void control_port_set(struct control_port *cp, const struct control_settings *s) {
    lock_take(&cp->mtx);
    cp->settings = *s;
    lock_give(&cp->mtx);
}
