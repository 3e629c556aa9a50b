/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy_rig.h"

#include <stdio.h>
#include <string.h>

#include "cert_fixture.h"
#include "wire/block.h"
#include "wire/forward.h"
#include "wire/transmission.h"

struct proxy_rig prig;

/* ---- in place of net/dial (--wrap) ---- */

enum err __wrap_dial_start(struct loop *l, const struct dial_opts *o, const char *host,
                           uint16_t port, dial_done *done, void *session, struct dial **ret);
void __wrap_dial_cancel(struct dial *d);

enum err __wrap_dial_start(struct loop *l, const struct dial_opts *o, const char *host,
                           uint16_t port, dial_done *done, void *session, struct dial **ret) {
    (void)o;
    if (prig.dial_err != OK) return prig.dial_err;
    struct dial *d = calloc(1, sizeof *d);
    assert_non_null(d);
    *d = (struct dial){.next = prig.dials,
                       .loop = l,
                       .port = port,
                       .done = done,
                       .session = session};
    (void)snprintf(d->host, sizeof d->host, "%s", host);
    prig.dials = d;
    prig.n_dials++;
    *ret = d;
    return OK;
}

void __wrap_dial_cancel(struct dial *d) {
    assert_false(d->is_over);
    d->is_over = true;
}

void prig_dial_fails(enum err e) {
    struct dial *d = prig.dials;
    assert_false(d->is_over);
    d->is_over = true;
    d->done(d->session, e, NULL);
    prig_turn();
}

/* ---- set-up ---- */

static void end_conn(struct conn *c) {
    void *session = c->session;
    c->session = NULL;
    SMP_CLIENT_OPS.on_close(session);
}

void prig_turn(void) {
    bool goes_on = true;
    while (goes_on) {
        goes_on = false;
        rig_run_posted();
        for (struct conn *c = loop_rig.conns; c != NULL; c = c->next) {
            if (!c->is_closed || c->session == NULL) continue;
            end_conn(c);
            goes_on = true;
        }
    }
}

void prig_pass_s(int64_t s) {
    rig_pass_ms(s * 1000);
    prig_turn();
}

static void load_cert_of_relays(void) {
    const struct cert_request r = {CERT_ED25519, "relay", RIG_EPOCH_S - 3600};
    struct cert_bundle b;
    assert_int_equal(cert_bundle_new(&r, &b), OK);
    prig.cert = load_bundle(&b, RIG_EPOCH_S);
    cert_bundle_done(&b);
}

int prig_setup(void **state) {
    static const struct proxy_settings usual = {.connect_timeout_s = RIG_CONNECT_S,
                                                .request_timeout_s = RIG_REQUEST_S,
                                                .retry_after_s = RIG_RETRY_S};
    prig = (struct proxy_rig){.dials = NULL};
    if (crypto_init() != OK) return -1;
    loop_rig_open(2);
    load_cert_of_relays();
    const struct proxy_opts o = {
        .env = &loop_rig.env,
        .loops = loop_rig.loops,
        .n_loops = 2,
        .version_max = V_NEW_NTF_CREDS,
        .own_domains = "",
        .settings = *state != NULL ? *(const struct proxy_settings *)*state : usual,
    };
    assert_int_equal(proxy_new(&o, &prig.proxy), OK);
    assert_int_equal(proxy_start(prig.proxy), OK);
    return 0;
}

int prig_teardown(void **state) {
    (void)state;
    proxy_stop(prig.proxy);
    for (struct dial *d; (d = prig.dials) != NULL;) {
        if (!d->is_over) d->done(d->session, E_CLOSED, NULL);
        prig.dials = d->next;
        free(d);
    }
    for (struct conn *c = loop_rig.conns; c != NULL; c = c->next) {
        if (c->session != NULL) end_conn(c);
    }
    rig_run_posted();
    proxy_free(prig.proxy);
    loop_rig_close();
    server_cert_free(prig.cert);
    return 0;
}

/* ---- operations ---- */

static void on_done(struct proxy_op *op) {
    CONTAINER_OF(op, struct prig_op, op)->n_done++;
}

static void on_drop(struct proxy_op *op) {
    CONTAINER_OF(op, struct prig_op, op)->n_dropped++;
}

static void begin(struct prig_op *op) {
    *op = (struct prig_op){.op = {.done = on_done, .drop = on_drop}};
}

void prig_connect(struct prig_op *op, unsigned loop, const char *host) {
    prig_connect_to(op, loop, host, bytes_of(server_cert_fingerprint(prig.cert), SHA256_LEN));
}

void prig_connect_to(struct prig_op *op, unsigned loop, const char *host, struct bytes identity) {
    uint8_t hosts[1 + HOST_TEXT_MAX];
    struct wr w = wr_init(hosts, sizeof hosts);
    wr_short(&w, bytes_str(host));
    const struct relay_name name = {.hosts = wr_bytes(&w),
                                    .port = bytes_str("5223"),
                                    .identity = identity};
    begin(op);
    proxy_connect(prig.proxy, loop_rig.loops[loop], &name, &op->op);
    prig_turn();
}

void prig_forward(struct prig_op *op, unsigned loop, struct bytes session_id,
                  const struct forward *f) {
    begin(op);
    proxy_forward(prig.proxy, loop_rig.loops[loop], session_id, f, &op->op);
    prig_turn();
}

const char *prig_result(const struct prig_op *op) {
    static const char *const KINDS[] = {
        [FAILURE_NONE] = "done",
        [FAILURE_NO_SESSION] = "NO_SESSION",
        [FAILURE_PROTOCOL] = "PROTOCOL",
        [FAILURE_RESPONSE] = "RESPONSE",
        [FAILURE_UNEXPECTED] = "UNEXPECTED",
        [FAILURE_NETWORK] = "NETWORK",
        [FAILURE_TIMEOUT] = "TIMEOUT",
        [FAILURE_HOST] = "HOST",
        [FAILURE_TRANSPORT] = "TRANSPORT",
        [FAILURE_CRYPTO] = "CRYPTO",
        [FAILURE_INTERNAL] = "INTERNAL",
    };
    static char text[256];
    const struct smp_failure *f = &op->op.failure;
    assert_true(op->n_done + op->n_dropped <= 1); /* exactly one, once */
    if (op->n_dropped != 0) return "dropped";
    if (op->n_done == 0) return "waits";
    if (f->error == FAILURE_TRANSPORT)
        (void)snprintf(text, sizeof text, "TRANSPORT %s", transport_error_text(f->transport));
    else if (f->n_text != 0)
        (void)snprintf(text, sizeof text, "%s %.*s", KINDS[f->error], f->n_text, f->text);
    else
        return KINDS[f->error];
    return text;
}

void prig_done(struct prig_op *op) {
    proxy_op_done(&op->op);
}

/* ---- a relay ---- */

void prig_relay_accept(struct prig_relay *r) {
    struct dial *d = prig.dials;
    assert_false(d->is_over);
    d->is_over = true;
    *r = (struct prig_relay){.conn = rig_conn(d->loop),
                             .version_min = V_SENDING_PROXY,
                             .version_max = V_NEW_NTF_CREDS,
                             .params = {.version = V_NEW_NTF_CREDS}};
    env_random(&loop_rig.env, r->unique, sizeof r->unique);
    x25519_pair_new(&loop_rig.env, &r->keys);
    r->conn->unique = bytes_of(r->unique, sizeof r->unique);
    r->conn->chain = server_cert_chain(prig.cert);
    r->conn->session = d->session;
    d->done(d->session, OK, r->conn);
    if (SMP_CLIENT_OPS.on_open(r->conn, NULL, &r->conn->session) != OK) conn_close(r->conn);
    prig_turn();
}

static void hand_over(struct prig_relay *r, uint8_t *block, const struct wr *content) {
    assert_int_equal(block_seal(block, content, NULL), OK);
    if (SMP_CLIENT_OPS.on_block(r->conn->session, block) != OK) conn_close(r->conn);
    prig_turn();
}

void prig_relay_hello(struct prig_relay *r, struct bytes session_id,
                      const uint8_t signed_pub[X25519_LEN]) {
    uint8_t block[SMP_BLOCK_LEN], proof[512];
    struct wr signed_key = wr_init(proof, sizeof proof);
    assert_int_equal(server_cert_sign_session_key(prig.cert, signed_pub, &signed_key), OK);
    const struct server_hello hello = {
        .version_min = r->version_min,
        .version_max = r->version_max,
        .session_id = session_id,
        .cert_chain = server_cert_chain(prig.cert),
        .signed_key = wr_bytes(&signed_key),
    };
    struct wr w = block_begin(block, false);
    server_hello_write(&hello, &w);
    hand_over(r, block, &w);
}

/* One block of what the proxy wants to write. */
static struct bytes take_block(struct prig_relay *r, uint8_t *block) {
    struct bytes content;
    r->conn->wants_write = false;
    if (r->conn->session == NULL || !SMP_CLIENT_OPS.fill(r->conn->session, block))
        return (struct bytes){0};
    assert_int_equal(block_open(block, NULL, &content), OK);
    return content;
}

void prig_relay_meet(struct prig_relay *r) {
    uint8_t block[SMP_BLOCK_LEN], secret[X25519_LEN];
    struct client_hello hello;
    prig_relay_accept(r);
    prig_relay_hello(r, r->conn->unique, r->keys.pub);
    assert_true(r->conn->wants_write);
    assert_int_equal(client_hello_parse(take_block(r, block), &hello), OK);
    assert_true(hello.proxy_server);
    assert_int_equal(x25519_dh(r->keys.priv, hello.key.b, secret), OK);
    r->shared = box_key_from_secret(secret);
    r->params.version = hello.version;
    prig_turn();
}

static void take_request(struct prig_relay *r, struct bytes text) {
    static const char rfwd[] = "RFWD ";
    struct transmission t;
    assert_true(r->n_requests < RIG_REQUESTS_MAX);
    struct prig_request *rq = &r->requests[r->n_requests++];
    assert_int_equal(transmission_parse(text, &r->params, &t), OK);
    assert_true(id_from_bytes(t.corr_id, &rq->corr_id));
    rq->is_ping = bytes_equal(t.command, bytes_str("PING"));
    if (rq->is_ping) return;
    assert_true(t.command.n > strlen(rfwd) && memcmp(t.command.p, rfwd, strlen(rfwd)) == 0);
    rq->n = t.command.n - strlen(rfwd);
    memcpy(rq->text, t.command.p + strlen(rfwd), rq->n);
}

unsigned prig_relay_read(struct prig_relay *r) {
    uint8_t block[SMP_BLOCK_LEN];
    struct bytes parts[SMP_BATCH_MAX];
    const unsigned before = r->n_requests;
    for (struct bytes content; (content = take_block(r, block)).n != 0;) {
        unsigned n;
        assert_int_equal(batch_split(content, parts, &n), OK);
        for (unsigned i = 0; i < n; i++) take_request(r, parts[i]);
    }
    prig_turn();
    return r->n_requests - before;
}

void prig_relay_say(struct prig_relay *r, const struct id *corr_id, struct bytes text) {
    uint8_t block[SMP_BLOCK_LEN];
    struct wr w = block_begin(block, false);
    wr_u8(&w, 1);
    const size_t mark = wr_mark_u16(&w);
    transmission_begin(&w, &r->params, id_bytes(corr_id), (struct bytes){0});
    wr_bytes_raw(&w, text);
    wr_close_u16(&w, mark);
    hand_over(r, block, &w);
}

void prig_relay_noise(struct prig_relay *r) {
    uint8_t block[SMP_BLOCK_LEN];
    memset(block, 0xff, sizeof block);
    if (SMP_CLIENT_OPS.on_block(r->conn->session, block) != OK) conn_close(r->conn);
    prig_turn();
}

void prig_relay_close(struct prig_relay *r) {
    conn_close(r->conn); /* by TLS, as if it had been the relay's */
    prig_turn();
}

bool prig_relay_is_closed(const struct prig_relay *r) {
    return r->conn->session == NULL;
}
