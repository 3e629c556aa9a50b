/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Three connections to a relay from their first byte to their last: handshake, blocks, commands,
 * time, a store that answers later or fails, in the order that the input says. Keys, clock and
 * randomness are fixed (loop_rig), TLS is not here.
 *
 * The input is a row of steps: a byte that says which, one that says of which connection, and what
 * the step takes. So that an input gets beyond the authorization and need not guess ids, commands
 * are signed here, and in their text 0xff N stands for the N-th id that the relay has told, 0xfe N
 * for the N-th public key, 0xfd for the sender id that a client may choose (all with their length
 * in front).
 *
 * What must hold: whatever the relay says can be read; no command is answered twice, and when all
 * is answered that the store was asked, each command has been. */
#include "fuzz_view.h"

#include "relay_rig.h"

#include "base/rd.h"
#include "cert_fixture.h"
#include "crypto/authz.h"
#include "wire/reply_view.h"

enum {
    N_CLIENTS = 3,
    N_KEYS = 3,      /* of each type */
    IDS_MAX = 64,    /* that are remembered */
    SENT_MAX = 4096, /* commands of an input; more steps are not taken */
    CORR_LEN = 24,
    MARK_ID = 0xff,
    MARK_KEY = 0xfe,
    MARK_SENDER = 0xfd,
    VERSIONS = RELAY_VERSION_MAX - RELAY_VERSION_MIN + 1,
};

struct client {
    struct conn *conn; /* NULL: not connected */
    struct session *session;
    bool is_encrypted;
    struct block_chain sends, receives; /* of the client */
};

/* Of one input. */
static struct {
    struct rd in;
    struct client clients[N_CLIENTS];
    unsigned n_ids, n_sent;
    struct id ids[IDS_MAX];
    struct {
        struct session *of; /* NULL: it was answered, or nobody is there to be told */
    } sent[SENT_MAX];
} run;

/* Of all. */
static struct server_cert *cert;
static struct ed25519_key sign_keys[N_KEYS];
static struct x25519_pair dh_keys[N_KEYS];

static void set_up_once(void) {
    if (cert != NULL) return;
    assert(crypto_init() == OK);
    const struct cert_request r = {CERT_ED25519, "localhost", RIG_EPOCH_S};
    struct cert_bundle b = {0};
    assert(cert_bundle_new(&r, &b) == OK);
    cert = load_bundle(&b, RIG_EPOCH_S);
    cert_bundle_done(&b);
}

static void set_up(struct bytes input) {
    set_up_once();
    memset(&run, 0, sizeof run);
    run.in = rd_init(input);
    assert(rig_setup(NULL) == 0);
    loop_rig.cert = cert;
    for (unsigned i = 0; i < N_KEYS; i++) {
        ed25519_key_new(&loop_rig.env, &sign_keys[i]);
        x25519_pair_new(&loop_rig.env, &dh_keys[i]);
    }
}

/* ---- the input ---- */

static uint8_t next(void) {
    return rd_u8(&run.in);
}

/* As much as is left when that is less. */
static struct bytes next_text(size_t n) {
    return rd_take(&run.in, n < rd_left(&run.in) ? n : rd_left(&run.in));
}

static struct bytes id_at(unsigned i) {
    static const struct id NO_QUEUE = {{0xee}};
    return id_bytes(run.n_ids != 0 ? &run.ids[i % run.n_ids] : &NO_QUEUE);
}

static void learn(const struct id *id) {
    for (unsigned i = 0; i < run.n_ids; i++) {
        if (id_equal(&run.ids[i], id)) return;
    }
    if (run.n_ids < IDS_MAX) run.ids[run.n_ids++] = *id;
}

static void write_key(unsigned i, struct wr *w) {
    const unsigned n = i / 2 % N_KEYS;
    const struct pubkey k =
        i % 2 == 0 ? pubkey_from_ed25519(&sign_keys[n]) : pubkey_from_x25519(dh_keys[n].pub);
    wr_u8(w, (uint8_t)pubkey_spki_len(k.type));
    pubkey_write_spki(&k, w);
}

static void write_sender_id(struct bytes corr_id, struct wr *w) {
    uint8_t hash[SHA384_LEN];
    assert(crypto_sha3_384(corr_id, hash) == OK);
    wr_short(w, bytes_of(hash, ID_LEN));
}

/* A command's text, with what the marks stand for. */
static void expand(struct bytes text, struct bytes corr_id, struct wr *w) {
    for (size_t i = 0; i < text.n; i++) {
        if (i + 1 < text.n && text.p[i] == MARK_ID) {
            wr_short(w, id_at(text.p[++i]));
        } else if (i + 1 < text.n && text.p[i] == MARK_KEY) {
            write_key(text.p[++i], w);
        } else if (text.p[i] == MARK_SENDER) {
            write_sender_id(corr_id, w);
        } else {
            wr_u8(w, text.p[i]);
        }
    }
}

/* ---- connections ---- */

static void close_client(struct client *c) {
    if (c->conn == NULL) return;
    for (unsigned i = 0; i < run.n_sent; i++) {
        if (run.sent[i].of == c->session) run.sent[i].of = NULL;
    }
    c->conn->session = NULL;
    SESSION_OPS.on_close(c->session);
    *c = (struct client){0};
}

/* What net/conn does between the loop's turns. */
static void turn(void) {
    for (unsigned i = 0; i < N_CLIENTS; i++) {
        struct client *c = &run.clients[i];
        if (c->conn == NULL) continue;
        if (c->conn->wants_run && !c->conn->is_closed) rig_run(c->session);
        const int64_t deadline_ms = c->conn->deadline_ms;
        if (c->conn->is_closed || (deadline_ms != 0 && deadline_ms <= loop_rig.now_ms))
            close_client(c);
    }
    rig_run_posted();
}

static void open_client(struct client *c) {
    close_client(c);
    c->conn = rig_conn(loop_rig.loops[0]);
    assert(SESSION_OPS.on_open(c->conn, rig.relay, &c->conn->session) == OK);
    c->session = c->conn->session;
    uint8_t block[SMP_BLOCK_LEN];
    struct bytes content;
    struct server_hello hello;
    assert(SESSION_OPS.fill(c->session, block) && block_open(block, NULL, &content) == OK);
    assert(server_hello_parse(content, &hello) == OK);
}

/* false: it takes no block now. */
static bool can_read(const struct client *c) {
    return c->conn != NULL && !c->conn->is_paused && !c->conn->is_finishing;
}

static void deliver_block(struct client *c, uint8_t *block) {
    const bool was_running = c->session->state == SESSION_RUNNING;
    if (SESSION_OPS.on_block(c->session, block) != OK) conn_close(c->conn);
    if (was_running || c->session->state != SESSION_RUNNING) return;
    c->is_encrypted = c->session->encrypted;
    c->sends = c->session->keys->receive_chain;
    c->receives = c->session->keys->send_chain;
}

static void deliver(struct client *c, struct bytes content) {
    uint8_t block[SMP_BLOCK_LEN];
    struct wr w = block_begin(block, c->is_encrypted);
    wr_bytes_raw(&w, bytes_of(content.p, content.n < wr_left(&w) ? content.n : wr_left(&w)));
    assert(block_seal(block, &w, c->is_encrypted ? &c->sends : NULL) == OK);
    deliver_block(c, block);
}

/* ---- what the relay says ---- */

static void take_answer(const struct client *c, struct bytes corr_id) {
    if (corr_id.n != CORR_LEN) return; /* of something that was not made here */
    struct rd r = rd_init(corr_id);
    const unsigned i = rd_u16(&r);
    if (i >= run.n_sent || run.sent[i].of != c->session) abort(); /* twice, or somebody else's */
    run.sent[i].of = NULL;
}

static void learn_from(const struct reply_view *v) {
    if (v->tag == REPLY_MSG) learn(&v->msg.msg_id);
    if (v->tag == REPLY_NID) learn(&v->nid.notifier_id);
    if (v->tag == REPLY_LNK) learn(&v->lnk.snd_id);
    if (v->tag != REPLY_IDS) return;
    learn(&v->ids.rcv_id);
    learn(&v->ids.snd_id);
    if (v->ids.has_link) learn(&v->ids.link_id);
    if (v->ids.has_notifier) learn(&v->ids.notifier_id);
}

static void take_reply(const struct client *c, struct bytes text) {
    struct transmission t;
    struct reply_view v;
    assert(transmission_parse(text, &c->session->params, &t) == OK);
    assert(reply_parse(t.command, c->session->params.version, &v) == OK);
    learn_from(&v);
    if (t.corr_id.n != 0) take_answer(c, t.corr_id);
}

/* Reads a block. */
static bool read_block(struct client *c) {
    uint8_t block[SMP_BLOCK_LEN];
    struct bytes content, parts[SMP_BATCH_MAX];
    unsigned n = 0;
    if (c->conn == NULL || c->conn->is_closed) return false;
    const bool was_running = c->session->state == SESSION_RUNNING;
    c->conn->wants_write = false;
    if (!SESSION_OPS.fill(c->session, block)) return false;
    if (!was_running) return true; /* a service is told its id, or that it is refused */
    assert(block_open(block, c->is_encrypted ? &c->receives : NULL, &content) == OK);
    assert(batch_split(content, parts, &n) == OK);
    for (unsigned i = 0; i < n; i++) take_reply(c, parts[i]);
    return true;
}

/* ---- commands ---- */

static void authorize(struct wr *w, const struct client *c, uint8_t how, struct bytes corr_id,
                      struct bytes text) {
    static const uint8_t LENGTHS[] = {0, ED25519_SIG_LEN, AUTHENTICATOR_LEN, ED448_SIG_LEN};
    const struct wire_params *p = &c->session->params;
    const unsigned n = how / 8 % N_KEYS;
    uint8_t auth[ED448_SIG_LEN] = {0};
    const size_t len = LENGTHS[how % 4];
    const bool is_right = (how & 4) == 0;
    if (is_right && len == ED25519_SIG_LEN)
        assert(ed25519_sign(&sign_keys[n], wire_session(p), text, auth) == OK);
    if (is_right && len == AUTHENTICATOR_LEN) {
        uint8_t secret[X25519_LEN];
        assert(x25519_dh(dh_keys[n].priv, c->session->pub, secret) == OK);
        const struct box_key key = box_key_from_secret(secret);
        assert(authz_box(&key, wire_session(p), text, corr_id, auth) == OK);
    }
    wr_short(w, bytes_of(auth, len));
    if (len != 0 && version_has(p->version, V_SERVICE_CERTS)) wr_maybe(w, false);
    if (!version_has(p->version, V_AUTH_CMDS)) wr_bytes_raw(w, wire_session(p));
}

static void write_command(struct wr *w, const struct client *c) {
    static uint8_t text[SMP_BLOCK_LEN];
    uint8_t corr_id[CORR_LEN] = {(uint8_t)(run.n_sent >> 8), (uint8_t)run.n_sent};
    struct wr t = wr_init(text, sizeof text);
    const uint8_t how = next(), entity = next();
    const size_t n = next() + (how & 0x80 ? 256U * next() : 0);
    wr_short(&t, bytes_of(corr_id, sizeof corr_id));
    wr_short(&t, entity == MARK_ID ? (struct bytes){0} : id_at(entity));
    expand(next_text(n), bytes_of(corr_id, sizeof corr_id), &t);
    if (wr_err(&t) != OK) return;
    const size_t mark = wr_mark_u16(w);
    authorize(w, c, how, bytes_of(corr_id, sizeof corr_id), wr_bytes(&t));
    wr_bytes_raw(w, wr_bytes(&t));
    wr_close_u16(w, mark);
    if (wr_err(w) == OK) run.sent[run.n_sent++].of = c->session;
}

static void send_commands(struct client *c) {
    static uint8_t content[SMP_BLOCK_LEN - SMP_BLOCK_OVERHEAD];
    const unsigned n = next() % 8 + 1, before = run.n_sent;
    if (!can_read(c) || c->session->state != SESSION_RUNNING || run.n_sent + n > SENT_MAX) return;
    struct wr w = wr_init(content, sizeof content);
    uint8_t *count = wr_skip(&w, 1);
    for (unsigned i = 0; i < n && wr_err(&w) == OK; i++) {
        struct wr whole = w;
        write_command(&whole, c);
        if (wr_err(&whole) != OK) break; /* the block is full */
        w = whole;
    }
    *count = (uint8_t)(run.n_sent - before);
    if (*count != 0) deliver(c, wr_bytes(&w));
}

/* ---- the other steps ---- */

static void say_hello(struct client *c) {
    static uint8_t content[SMP_BLOCK_LEN];
    const uint8_t how = next();
    open_client(c);
    struct client_hello hello = {
        .version = (uint16_t)(RELAY_VERSION_MIN + how % VERSIONS),
        .identity = bytes_of(server_cert_fingerprint(cert), SHA256_LEN),
        .proxy_server = (how & 0x40) != 0,
    };
    if ((how & 0x80) == 0) hello.key = pubkey_from_x25519(dh_keys[0].pub);
    struct wr w = wr_init(content, sizeof content);
    client_hello_write(&hello, &w);
    deliver(c, wr_bytes(&w));
}

/* Anything as a block's content; anything as a block. */
static void send_content(struct client *c) {
    const struct bytes text = next_text(256U * next() + next());
    if (can_read(c)) deliver(c, text);
}

static void send_block(struct client *c) {
    uint8_t block[SMP_BLOCK_LEN] = {0};
    const struct bytes text = next_text(256U * next() + next());
    if (text.n != 0 && text.n <= sizeof block) memcpy(block, text.p, text.n);
    if (!can_read(c)) return;
    deliver_block(c, block);
    if (c->is_encrypted) c->sends = c->session->keys->receive_chain;
}

static void answer_store(unsigned i) {
    if (i % 3 == 0 && rig.n_questions != 0) rig_answer(i / 3 % rig.n_questions);
    if (i % 3 == 1 && rig.n_loads != 0) rig_answer_load(i / 3 % rig.n_loads);
    if (i % 3 == 2 && rig.n_scans != 0) rig_answer_scan(i / 3 % rig.n_scans);
}

static void set_share(bool is_used) {
    for (unsigned i = 0; i < N_CLIENTS; i++) {
        if (run.clients[i].conn != NULL) run.clients[i].conn->share_is_used = is_used;
    }
}

static void set_switches(uint8_t how) {
    rig.is_later = (how & 1) != 0;
    rig.is_load_later = (how & 2) != 0;
    rig.is_scan_later = (how & 4) != 0;
    rig.read_err = (how & 8) != 0 ? E_STORE : OK;
    rig.write_lsn = how >> 4;
}

/* Changes only become durable. (Those that are lost are not in the store any more, of which the
 * rig's knows nothing.) */
static void go_durable(lsn_t lsn) {
    if (lsn > rig.durable) rig_set_durable(lsn);
}

static void step(void) {
    const uint8_t which = next();
    struct client *c = &run.clients[next() % N_CLIENTS];
    switch (which % 12) {
    case 0:
        say_hello(c);
        break;
    case 1:
        open_client(c);
        break;
    case 2:
        send_content(c);
        break;
    case 3:
        send_block(c);
        break;
    case 4:
        close_client(c);
        break;
    case 5:
        rig_pass_ms(next() * 100);
        break;
    case 6:
        answer_store(next());
        break;
    case 7:
        set_switches(next());
        break;
    case 8:
        go_durable(next() % 16);
        break;
    case 9:
        (void)read_block(c);
        break;
    case 10:
        set_share(next() % 2 != 0);
        break;
    default:
        send_commands(c);
        break;
    }
    turn();
}

/* ---- the end ---- */

static void answer_all(void) {
    set_switches(0); /* at once, and nothing fails */
    set_share(false);
    go_durable(UINT8_MAX);
    while (rig.n_questions != 0) rig_answer(0);
    while (rig.n_loads != 0) rig_answer_load(0);
    while (rig.n_scans != 0) rig_answer_scan(0);
    turn();
}

static bool read_all(void) {
    bool has_read = false;
    for (unsigned i = 0; i < N_CLIENTS; i++) {
        while (read_block(&run.clients[i])) has_read = true;
    }
    return has_read;
}

static bool wants_run(void) {
    bool wants = false;
    for (unsigned i = 0; i < N_CLIENTS; i++)
        wants = wants || (run.clients[i].conn != NULL && run.clients[i].conn->wants_run);
    return wants;
}

static void finish(void) {
    do {
        answer_all();
    } while (read_all() || wants_run());
    for (unsigned i = 0; i < run.n_sent; i++) {
        const struct session *s = run.sent[i].of;
        if (s != NULL && !s->has_unanswered) abort(); /* a command was not answered */
    }
    for (unsigned i = 0; i < N_CLIENTS; i++) close_client(&run.clients[i]);
    assert(rig_teardown(NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    set_up(bytes_of(data, size));
    while (rd_left(&run.in) != 0) step();
    finish();
    return 0;
}
