/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* For each host one connection, one queue, one message: the steps of STEPS in their order. A step
 * that fails is the last one, except that a queue that was made is deleted in any case. All runs on
 * a loop of its own, whose thread is the only one that touches struct run while the main thread
 * waits. */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/commands/check.h"
#include "app/commands/check_explain.h"
#include "client/smp_queue.h"
#include "client/smp_uri.h"
#include "net/loop.h"
#include "net/tls.h"
#include "relay/relay.h"

enum step {
    STEP_CONNECT,
    STEP_TLS,
    STEP_FINGERPRINT,
    STEP_HANDSHAKE,
    STEP_CREATE,
    STEP_SECURE,
    STEP_SEND,
    STEP_RECEIVE,
    STEP_ACKNOWLEDGE,
    STEP_DELETE,
    STEP_OVER
};

enum { BODY_LEN = 16000 }; /* bytes: as long as messages of apps, which are all padded */

struct run {
    /* fixed before the loop starts */
    const struct check_server_opts *o; /* borrowed */
    struct smp_uri uri;                /* secret */
    struct check_place place;
    struct socks_proxy socks; /* secret */
    struct conn_opts conn;
    struct dial_opts dial; /* owns tls */
    struct smp_client_opts client_opts;
    struct smp_target target;
    struct loop *loop; /* owned */
    sem_t is_over;
    /* loop */
    struct loop_msg begin;
    struct findings *report;
    struct smp_client *client; /* NULL: none, or not any more */
    enum step step;
    double began_ms;
    bool has_failed, has_queue, has_message;
    struct smp_queue queue; /* secret */
    struct smp_request request;
    struct loop_timer timer; /* of STEP_RECEIVE */
    struct smp_received received;
    uint8_t transmission[SMP_BLOCK_LEN], message[SMP_BLOCK_LEN], body[BODY_LEN];
};

/* ---- the steps ---- */

static struct smp_head head(const struct run *r, const struct id *entity, struct smp_auth auth) {
    return (struct smp_head){
        .params = smp_client_params(r->client),
        .corr_id = r->request.node.id,
        .entity = entity != NULL ? id_bytes(entity) : (struct bytes){0},
        .auth = auth,
    };
}

static struct smp_head as_recipient(const struct run *r) {
    return head(r, &r->queue.rcv_id, smp_queue_recipient(&r->queue));
}

static struct smp_head as_sender(const struct run *r) {
    return head(r, &r->queue.snd_id, smp_queue_sender(&r->queue));
}

static void write_create(struct run *r, struct wr *w) {
    const struct smp_head h = head(r, NULL, smp_queue_recipient(&r->queue));
    struct smp_new q = {
        .basic_auth = bytes_str(r->uri.password),
        .subscribe = true,
        .mode = MODE_MESSAGING,
    };
    smp_queue_describe(&r->queue, &q);
    smp_command_new(w, &h, &q);
}

/* Senders secure queues themselves since V_SND_AUTH_KEY; before, recipients did it for them. */
static void write_secure(struct run *r, struct wr *w) {
    const bool by_sender = version_has(smp_client_params(r->client)->version, V_SND_AUTH_KEY);
    const struct smp_head h = by_sender ? as_sender(r) : as_recipient(r);
    const struct pubkey key = smp_queue_sender_key(&r->queue);
    smp_command_key(w, &h, by_sender ? CMD_SKEY : CMD_KEY, &key);
}

static void write_send(struct run *r, struct wr *w) {
    const struct smp_head h = as_sender(r);
    smp_command_send(w, &h, false, bytes_of(r->body, sizeof r->body));
}

static void write_acknowledge(struct run *r, struct wr *w) {
    const struct smp_head h = as_recipient(r);
    smp_command_ack(w, &h, &r->received.msg_id);
}

static void write_delete(struct run *r, struct wr *w) {
    const struct smp_head h = as_recipient(r);
    smp_command_plain(w, &h, CMD_DEL);
}

/* write: NULL when the step is not a command. */
static const struct {
    const char *name;
    void (*write)(struct run *r, struct wr *w);
    enum reply_tag answer;
} STEPS[STEP_OVER] = {
    [STEP_CONNECT] = {"connect", NULL, N_REPLIES},
    [STEP_TLS] = {"tls", NULL, N_REPLIES},
    [STEP_FINGERPRINT] = {"fingerprint", NULL, N_REPLIES},
    [STEP_HANDSHAKE] = {"handshake", NULL, N_REPLIES},
    [STEP_CREATE] = {"create", write_create, REPLY_IDS},
    [STEP_SECURE] = {"secure", write_secure, REPLY_OK},
    [STEP_SEND] = {"send", write_send, REPLY_OK},
    [STEP_RECEIVE] = {"receive", NULL, REPLY_MSG},
    [STEP_ACKNOWLEDGE] = {"acknowledge", write_acknowledge, REPLY_OK},
    [STEP_DELETE] = {"delete", write_delete, REPLY_OK},
};

/* ---- from step to step ---- */

static double now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void begin_step(struct run *r, enum step step) {
    r->step = step;
    r->began_ms = now_ms();
}

static void finish(struct run *r) {
    r->step = STEP_OVER;
    loop_timer_stop(&r->timer);
    if (r->client != NULL) {
        smp_client_close(r->client); /* on_down() says that it is over */
    } else {
        (void)sem_post(&r->is_over);
    }
}

static void run_step(struct run *r);

/* The only forward declaration: a step that fails leads to another. */
static void fail(struct run *r, const struct problem *why) {
    const enum step failed = r->step;
    findings_add(r->report, FINDING_ERROR, STEPS[failed].name, now_ms() - r->began_ms, "%s",
                 why->text);
    r->has_failed = true;
    loop_timer_stop(&r->timer);
    const bool can_delete =
        r->has_queue && failed != STEP_DELETE && r->client != NULL && smp_client_is_up(r->client);
    if (!can_delete) {
        finish(r);
        return;
    }
    begin_step(r, STEP_DELETE);
    run_step(r);
}

static void fail_text(struct run *r, const char *text) {
    struct problem why;
    (void)problem_set(&why, E_INTERNAL, "%s", text);
    fail(r, &why);
}

/* Says that a step went well; the next one is the caller's to begin. */
static void pass(struct run *r, const char *text) {
    findings_add(r->report, FINDING_OK, STEPS[r->step].name, now_ms() - r->began_ms, "%s", text);
    begin_step(r, r->step + 1);
}

static void pass_and_go_on(struct run *r, const char *text) {
    pass(r, text);
    if (r->step == STEP_OVER) {
        finish(r);
    } else {
        run_step(r);
    }
}

/* ---- answers ---- */

static enum err take_ids(struct run *r, const struct reply_view_ids *ids) {
    r->has_queue = true;
    r->queue.rcv_id = ids->rcv_id; /* it can be deleted, whatever its keys are */
    enum err e = smp_queue_take_ids(&r->queue, ids);
    if (e == OK) e = smp_queue_meet(&r->queue, smp_client_session_key(r->client));
    return e;
}

static void check_message(struct run *r) {
    const struct bytes sent = bytes_of(r->body, sizeof r->body);
    if (!bytes_equal(r->received.body, sent)) {
        fail_text(r, "a message came that is not the one that was sent");
    } else {
        pass_and_go_on(r, "");
    }
}

static void take_answer(struct run *r, const struct reply_view *a) {
    struct problem why;
    if (a->tag != STEPS[r->step].answer) {
        check_explain_answer(&r->place, a, r->step == STEP_CREATE, &why);
        fail(r, &why);
    } else if (r->step == STEP_CREATE && take_ids(r, &a->ids) != OK) {
        fail_text(r, "the server's key for the queue cannot be used");
    } else {
        pass_and_go_on(r, "");
    }
}

static void on_answer(struct smp_request *rq, const struct smp_failure *why, uint8_t *message,
                      size_t n) {
    struct run *r = CONTAINER_OF(rq, struct run, request);
    struct reply_view a;
    struct problem text;
    if (r->step == STEP_OVER) return;
    if (why->error != FAILURE_NONE) {
        check_explain_failure(&r->place, why, &text);
        fail(r, &text);
    } else if (reply_parse(bytes_of(message, n), smp_client_params(r->client)->version, &a) != OK) {
        fail_text(r, "the server's answer cannot be read");
    } else {
        take_answer(r, &a);
    }
}

/* The message may come before the answer to its SEND: then the step waits for nothing. */
static void on_event(void *ctx, struct bytes entity, struct bytes message) {
    struct run *r = ctx;
    struct reply_view a;
    if (r->has_message || !r->has_queue || message.n > sizeof r->message ||
        !bytes_equal(entity, id_bytes(&r->queue.rcv_id))) {
        return;
    }
    memcpy(r->message, message.p, message.n);
    const uint16_t version = smp_client_params(r->client)->version;
    if (reply_parse(bytes_of(r->message, message.n), version, &a) != OK || a.tag != REPLY_MSG)
        return;
    r->has_message = true;
    if (smp_queue_open(&r->queue, &a.msg, r->message, &r->received) != OK)
        r->received = (struct smp_received){.msg_id = a.msg.msg_id}; /* not what was sent */
    if (r->step == STEP_RECEIVE) check_message(r);
}

static void on_late_message(void *ctx) {
    static const struct smp_failure late = {.error = FAILURE_TIMEOUT};
    struct run *r = ctx;
    struct problem why;
    check_explain_failure(&r->place, &late, &why);
    fail(r, &why);
}

/* ---- requests ---- */

static void receive(struct run *r) {
    if (r->has_message) {
        check_message(r);
    } else if (loop_timer_start(r->loop, &r->timer, (uint64_t)r->o->timeout_ms, 0, on_late_message,
                                r) != OK) {
        fail_text(r, "out of memory");
    }
}

static void request(struct run *r) {
    struct wr w = wr_init(r->transmission, sizeof r->transmission);
    r->request = (struct smp_request){.is_borrowed = true, .done = on_answer};
    env_random(&ENV_SYSTEM, r->request.node.id.b, ID_LEN);
    STEPS[r->step].write(r, &w);
    r->request.transmission = r->transmission;
    r->request.n = wr_bytes(&w).n;
    if (wr_err(&w) != OK || smp_client_request(r->client, &r->request) != OK)
        fail_text(r, "out of memory");
}

static void run_step(struct run *r) {
    if (r->step == STEP_RECEIVE) {
        loop_timer_stop(&r->timer);
        receive(r);
    } else {
        request(r);
    }
}

/* ---- the connection ---- */

static void on_stage(void *ctx, enum smp_stage next) {
    struct run *r = ctx;
    if (next == SMP_STAGE_TLS) pass(r, r->place.via_socks ? "through the SOCKS proxy" : "");
    if (next != SMP_STAGE_HELLO) return;
    pass(r, "");
    pass(r, "");
}

static void on_up(void *ctx) {
    struct run *r = ctx;
    char text[64];
    const unsigned version = smp_client_params(r->client)->version;
    (void)snprintf(text, sizeof text, "SMP version %u", version);
    findings_set_number(r->report, "version", version);
    smp_queue_init(&r->queue, &ENV_SYSTEM, (uint16_t)version);
    pass_and_go_on(r, text);
}

static void on_down(void *ctx, const struct smp_failure *why) {
    struct run *r = ctx;
    struct problem text;
    const struct smp_end *end = smp_client_end(r->client);
    if (r->step != STEP_OVER) {
        if (end->stage == SMP_STAGE_TLS && end->error == E_IDENTITY) pass(r, "");
        check_explain_end(&r->place, why, end, &text);
        r->client = NULL;
        fail(r, &text);
        return;
    }
    r->client = NULL;
    (void)sem_post(&r->is_over);
}

static const struct smp_client_events EVENTS = {on_stage, on_up, on_event, on_down};

static void begin(struct loop_msg *m) {
    struct run *r = CONTAINER_OF(m, struct run, begin);
    begin_step(r, STEP_CONNECT);
    const enum err e =
        smp_client_open(r->loop, &r->client_opts, &EVENTS, r, &r->target, &r->client);
    if (e == OK) return;
    const struct smp_end end = {.stage = SMP_STAGE_DIAL, .error = e, .tls = ""};
    struct problem why;
    check_explain_end(&r->place, &(struct smp_failure){.error = FAILURE_NETWORK}, &end, &why);
    fail(r, &why);
}

/* ---- setting up ---- */

static enum err parse_address(const struct check_server_opts *o, struct smp_uri *ret,
                              struct problem *p) {
    const char *why = "";
    if (smp_uri_parse(o->address, ret, &why) == OK) return OK;
    return problem_set(p, E_CONFIG,
                       "the address is wrong: %s; it must be smp://fingerprint@host, with "
                       ":password before the @ and :port at the end where there is one",
                       why);
}

static enum err parse_socks(const struct check_server_opts *o, struct socks_proxy *ret,
                            struct problem *p) {
    if (o->socks_proxy == NULL || socks_proxy_parse(o->socks_proxy, ret) == OK) return OK;
    const char *at = strrchr(o->socks_proxy, '@'); /* before it is a password */
    return problem_set(p, E_CONFIG,
                       "--socks-proxy must be HOST:PORT, with USER:PASSWORD@ or @ (no credentials) "
                       "before it where that is needed, not \"%.100s\"",
                       at != NULL ? at + 1 : o->socks_proxy);
}

static void wipe_socks(struct socks_proxy *s) {
    crypto_wipe(s, sizeof *s);
}

enum err check_server_name(const struct check_server_opts *o, char *ret, size_t cap,
                           struct problem *ret_problem) {
    CLEANUP(smp_uri_done) struct smp_uri u = {0};
    CLEANUP(wipe_socks) struct socks_proxy socks = {0};
    enum err e = parse_address(o, &u, ret_problem);
    if (e == OK) e = parse_socks(o, &socks, ret_problem);
    if (e != OK) return e;
    struct wr w = wr_init(ret, cap);
    for (unsigned i = 0; i < u.n_hosts; i++) {
        const bool is_v6 = strchr(u.hosts[i], ':') != NULL;
        char host[HOST_TEXT_MAX + 3];
        (void)snprintf(host, sizeof host, is_v6 ? "%s[%s]" : "%s%s", i != 0 ? "," : "", u.hosts[i]);
        wr_str(&w, host);
    }
    char port[sizeof ":65535"];
    (void)snprintf(port, sizeof port, ":%u", u.port);
    wr_str(&w, port);
    wr_u8(&w, '\0');
    return wr_err(&w) == OK ? OK : problem_set(ret_problem, E_LIMIT, "the address is too long");
}

static void set_options(struct run *r, const struct check_server_opts *o) {
    r->conn = (struct conn_opts){
        .ops = &SMP_CLIENT_OPS,
        .stream.tls_timeout_ms =
            2 * o->timeout_ms, /* connect_timeout_ms comes first, and is told */
        .block_timeout_ms = o->timeout_ms,
    };
    r->dial.conn = &r->conn;
    r->dial.socks = o->socks_proxy != NULL ? &r->socks : NULL;
    r->dial.socks_always = true;
    r->dial.allow_private = true;
    r->client_opts = (struct smp_client_opts){
        .env = &ENV_SYSTEM,
        .dial = &r->dial,
        .version_min = RELAY_VERSION_MIN,
        .version_max = RELAY_VERSION_MAX,
        .connect_timeout_ms = o->timeout_ms,
        .request_timeout_ms = o->timeout_ms,
        .requests_max = 1,
        .unsent_max = SMP_BLOCK_LEN,
    };
}

static enum err set_up(struct run *r, const struct check_server_opts *o, unsigned i_host,
                       struct problem *p) {
    enum err e = parse_address(o, &r->uri, p);
    if (e == OK) e = parse_socks(o, &r->socks, p);
    if (e != OK) return e;
    const char *host = r->uri.hosts[i_host];
    r->o = o;
    r->place = (struct check_place){
        .host = host,
        .port = r->uri.port,
        .via_socks = o->socks_proxy != NULL,
        .has_password = r->uri.password[0] != '\0',
        .timeout_ms = o->timeout_ms,
        .version_min = RELAY_VERSION_MIN,
        .version_max = RELAY_VERSION_MAX,
    };
    set_options(r, o);
    (void)snprintf(r->target.host, sizeof r->target.host, "%s", host);
    r->target.port = r->uri.port;
    memcpy(r->target.identity, r->uri.identity, sizeof r->target.identity);
    env_random(&ENV_SYSTEM, r->body, sizeof r->body);
    e = tls_client_ctx_new(&ENV_SYSTEM, &r->dial.tls);
    if (e == OK) e = loop_new(0, &ENV_SYSTEM, &r->loop);
    return e == OK ? OK : problem_set(p, e, "cannot begin: %s", err_meaning(e));
}

static void run_done(struct run *r) {
    loop_free(r->loop);
    tls_ctx_free(r->dial.tls);
    smp_queue_done(&r->queue);
    smp_uri_done(&r->uri);
    (void)sem_destroy(&r->is_over);
    wipe_socks(&r->socks);
    free(r);
}

static void run_donep(struct run **r) {
    if (*r != NULL) run_done(*r);
}

static void wait_for(sem_t *s) {
    while (sem_wait(s) != 0) continue; /* EINTR is all that can happen */
}

static enum err check_host(const struct check_server_opts *o, unsigned i_host,
                           struct findings *report, struct problem *ret_problem) {
    CLEANUP(run_donep) struct run *r = calloc(1, sizeof *r);
    if (r == NULL) return problem_set(ret_problem, E_NO_MEMORY, "out of memory");
    (void)sem_init(&r->is_over, 0, 0); /* cannot fail with these arguments */
    enum err e = set_up(r, o, i_host, ret_problem);
    if (e != OK) return e;
    r->report = report;
    r->begin.run = begin;
    e = loop_start(r->loop);
    if (e != OK) return problem_set(ret_problem, e, "cannot start a thread");
    loop_post(r->loop, &r->begin);
    wait_for(&r->is_over);
    loop_stop(r->loop);
    loop_join(r->loop);
    return OK;
}

/* Onion hosts among others are for those who have a proxy: to test them without one says nothing.
 */
static bool needs_socks(const struct check_server_opts *o, const struct smp_uri *u, unsigned i) {
    return o->socks_proxy == NULL && host_kind_of(u->hosts[i]) == HOST_ONION &&
           smp_uri_host(u, false) != NULL;
}

enum err check_server(const struct check_server_opts *o, struct findings *report,
                      struct problem *ret_problem) {
    CLEANUP(smp_uri_done) struct smp_uri u = {0};
    enum err e = parse_address(o, &u, ret_problem);
    for (unsigned i = 0; i < u.n_hosts && e == OK; i++) {
        if (needs_socks(o, &u, i)) {
            findings_add(report, FINDING_WARNING, "host", -1,
                         "%s is not tested: onion hosts need --socks-proxy HOST:PORT", u.hosts[i]);
            continue;
        }
        if (u.n_hosts > 1) findings_add(report, FINDING_OK, "host", -1, "%s", u.hosts[i]);
        e = check_host(o, i, report, ret_problem);
    }
    return e;
}
