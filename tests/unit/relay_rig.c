/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay_rig.h"

#include <stdio.h>
#include <string.h>

#include "base/rd.h"
#include "store/nothing.h"

struct rig rig;

/* ---- the store ---- */

static struct store_ops switched;
static const struct store_ops *real;

static bool answer_now(struct store *s, struct store_next *n) {
    n->ret_message = NULL;
    n->ret_err = rig.read_err;
    if (rig.read_err != OK) return true;
    if (!real->msg_next(s, n, NULL)) fail_msg("the store in RAM answers at once");
    if (n->ret_message != NULL && rig.lsn != 0) n->ret_message->lsn = rig.lsn;
    return true;
}

static bool msg_next(struct store *s, struct store_next *n, struct store_waiter *w) {
    if (!rig.is_later || w != NULL) rig.n_asked++;
    if (!rig.is_later) return answer_now(s, n);
    if (w == NULL) return false;
    assert_true(rig.n_questions < RIG_QUESTIONS_MAX);
    rig.questions[rig.n_questions++] = (struct rig_question){n, w};
    return false;
}

static enum err message(struct store *s, struct queue *q, struct message *m, struct msg_entry *e) {
    const enum err err = real->message(s, q, m, e);
    if (err == OK) m->lsn = rig.write_lsn;
    return err;
}

void rig_answer(unsigned i) {
    assert_true(i < rig.n_questions);
    const struct rig_question q = rig.questions[i];
    rig.n_questions--;
    memmove(&rig.questions[i], &rig.questions[i + 1],
            (rig.n_questions - i) * sizeof rig.questions[0]);
    (void)answer_now(rig.store, q.next);
    q.waiter->ready(q.waiter);
    rig_run_posted();
}

static bool load(struct store *s, struct store_lookup *lookups, size_t n, struct store_waiter *w) {
    if (!rig.is_load_later) return real->load(s, lookups, n, w);
    assert_true(rig.n_loads < RIG_QUESTIONS_MAX);
    rig.loads[rig.n_loads++] = (struct rig_load){lookups, n, w};
    return false;
}

void rig_answer_load(unsigned i) {
    assert_true(i < rig.n_loads);
    const struct rig_load l = rig.loads[i];
    rig.n_loads--;
    memmove(&rig.loads[i], &rig.loads[i + 1], (rig.n_loads - i) * sizeof rig.loads[0]);
    assert_true(real->load(rig.store, l.lookups, l.n, NULL));
    l.waiter->ready(l.waiter);
    rig_run_posted();
}

static bool scan_service(struct store *s, struct store_scan *scan, struct store_waiter *w) {
    if (!rig.is_scan_later) return real->service_scan(s, scan, w);
    assert_true(rig.n_scans < RIG_QUESTIONS_MAX);
    rig.scans[rig.n_scans++] = (struct rig_scan){scan, w};
    return false;
}

void rig_answer_scan(unsigned i) {
    assert_true(i < rig.n_scans);
    const struct rig_scan x = rig.scans[i];
    rig.n_scans--;
    memmove(&rig.scans[i], &rig.scans[i + 1], (rig.n_scans - i) * sizeof rig.scans[0]);
    assert_true(real->service_scan(rig.store, x.scan, NULL));
    x.waiter->ready(x.waiter);
    rig_run_posted();
}

void rig_set_durable(lsn_t lsn) {
    rig.durable = lsn;
    relay_on_durable(rig.relay);
    rig_run_posted();
}

void rig_set_lost(lsn_t lsn) {
    rig.lost = lsn;
    rig_set_durable(lsn); /* it passes over them */
}

static enum err fate(const struct store *s, lsn_t lsn) {
    (void)s;
    if (lsn <= rig.lost) return E_STORE;
    return lsn <= rig.durable ? OK : E_PENDING;
}

static void open_store(void) {
    const struct store_opts o = {.env = &loop_rig.env, .quota = RIG_QUOTA};
    assert_int_equal(nothing_open(&o, &rig.store), OK);
    real = rig.store->ops;
    switched = *real;
    switched.load = load;
    switched.service_scan = scan_service;
    switched.msg_next = msg_next;
    switched.message = message;
    switched.fate = fate;
    rig.store->ops = &switched;
}

/* ---- set-up ---- */

int rig_setup(void **state) {
    (void)state;
    rig = (struct rig){.is_later = false};
    if (crypto_init() != OK) return -1;
    loop_rig_open(1);
    ed25519_key_new(&loop_rig.env, &rig.key);
    open_store();
    const struct relay_opts o = {
        .env = &loop_rig.env,
        .store = rig.store,
        .loops = loop_rig.loops,
        .n_loops = 1,
        .settings.version_min = RELAY_VERSION_MIN,
        .settings.version_max = RELAY_VERSION_MAX,
        .rules = {.allow_new_queues = true},
        .settings.pending_bytes_max = 1 << 20,
        .settings.handshake_timeout_s = 10,
        .settings.ntf_interval_ms = 3000,
        .settings.accept_services = true,
    };
    assert_int_equal(relay_new(&o, &rig.relay), OK);
    assert_int_equal(relay_start(rig.relay), OK);
    rig.rl = &rig.relay->loops[0];
    return 0;
}

int rig_teardown(void **state) {
    (void)state;
    for (struct conn *c = loop_rig.conns; c != NULL; c = c->next) {
        if (c->session != NULL) SESSION_OPS.on_close(c->session);
    }
    while (rig.n_questions != 0) rig_answer(0);
    while (rig.n_loads != 0) rig_answer_load(0);
    while (rig.n_scans != 0) rig_answer_scan(0);
    rig_run_posted();
    relay_free(rig.relay);
    loop_rig_close();
    store_close(rig.store);
    return 0;
}

struct session *rig_session(uint16_t version) {
    struct conn *c = rig_conn(loop_rig.loops[0]);
    assert_int_equal(SESSION_OPS.on_open(c, rig.relay, &c->session), OK);
    struct session *s = c->session;
    s->state = SESSION_RUNNING;
    s->params.version = version;
    conn_set_deadline(c, 0);
    return s;
}

void rig_close(struct session *s) {
    struct conn *c = s->conn;
    c->session = NULL;
    SESSION_OPS.on_close(s);
}

struct queue *rig_queue(uint8_t n) {
    const struct pubkey key = pubkey_from_ed25519(&rig.key);
    struct queue_rec rec = {.rcv_id = {{n}}, .snd_id = {{n, 1}}};
    struct queue *q = NULL;
    lsn_t lsn;
    assert_int_equal(keyset_new(&key, 1, &rec.rcv_keys), OK);
    assert_int_equal(store_queue_create(rig.store, &rec, &q, &lsn), OK);
    keyset_unref(rec.rcv_keys);
    return q;
}

void rig_put_message(struct queue *q, const char *body) {
    struct message *m;
    struct msg_written written;
    struct id id;
    env_random(&loop_rig.env, &id, sizeof id);
    assert_int_equal(message_new(&id, env_now_s(&loop_rig.env), false, bytes_str(body), &m), OK);
    assert_int_equal(store_msg_write(rig.store, q, m, &written), OK);
}

/* ---- writing ---- */

void rig_begin(struct rig_block *b, struct session *s) {
    b->session = s;
    b->n = 0;
    b->w = wr_init(b->content, sizeof b->content);
    (void)wr_skip(&b->w, 1);
}

static struct smp_head head(const struct rig_block *b, const char *corr_id, const struct id *entity,
                            const struct ed25519_key *key) {
    struct smp_head h = {.params = &b->session->params, .auth = {.sign = key}};
    assert_true(strlen(corr_id) < sizeof h.corr_id);
    memcpy(h.corr_id.b, corr_id, strlen(corr_id));
    if (entity != NULL) h.entity = id_bytes(entity);
    return h;
}

void rig_plain(struct rig_block *b, const char *corr_id, enum command_tag tag,
               const struct id *entity, const struct ed25519_key *key) {
    const struct smp_head h = head(b, corr_id, entity, key);
    const size_t mark = wr_mark_u16(&b->w);
    smp_command_plain(&b->w, &h, tag);
    wr_close_u16(&b->w, mark);
    b->n++;
}

void rig_send(struct rig_block *b, const char *corr_id, const struct id *snd_id, const char *body) {
    const struct smp_head h = head(b, corr_id, snd_id, NULL);
    const size_t mark = wr_mark_u16(&b->w);
    smp_command_send(&b->w, &h, false, bytes_str(body));
    wr_close_u16(&b->w, mark);
    b->n++;
}

void rig_ack(struct rig_block *b, const char *corr_id, const struct id *rcv_id,
             const struct id *msg_id) {
    const struct smp_head h = head(b, corr_id, rcv_id, &rig.key);
    const size_t mark = wr_mark_u16(&b->w);
    smp_command_ack(&b->w, &h, msg_id);
    wr_close_u16(&b->w, mark);
    b->n++;
}

void rig_transmission(struct rig_block *b, struct bytes t) {
    const size_t mark = wr_mark_u16(&b->w);
    wr_bytes_raw(&b->w, t);
    wr_close_u16(&b->w, mark);
    b->n++;
}

void rig_write(struct rig_block *b) {
    uint8_t block[SMP_BLOCK_LEN];
    struct wr w = block_begin(block, false);
    b->content[0] = (uint8_t)b->n;
    assert_int_equal(wr_err(&b->w), OK);
    wr_bytes_raw(&w, wr_bytes(&b->w));
    assert_int_equal(block_seal(block, &w, NULL), OK);
    if (SESSION_OPS.on_block(b->session, block) != OK) conn_close(b->session->conn);
}

void rig_run(struct session *s) {
    if (!s->conn->wants_run) return;
    s->conn->wants_run = false;
    SESSION_OPS.run(s);
}

/* ---- reading ---- */

static size_t describe(struct bytes transmission, char *text, size_t cap) {
    struct rd t = rd_init(transmission);
    (void)rd_short(&t); /* authorization */
    const struct bytes corr = rd_short(&t);
    const struct bytes entity = rd_short(&t);
    struct bytes word = rd_tail(&t);
    const bool is_err = word.n > 3 && memcmp(word.p, "ERR", 3) == 0;
    for (size_t i = 0; i < word.n && !is_err; i++) {
        if (word.p[i] == ' ') word.n = i;
    }
    const size_t n = (size_t)snprintf(text, cap, "%.*s", (int)word.n, (const char *)word.p);
    if (corr.n != 0)
        return n + (size_t)snprintf(text + n, cap - n, " %.*s", (int)corr.n, (const char *)corr.p);
    if (entity.n != 0) return n + (size_t)snprintf(text + n, cap - n, " #%u", entity.p[0]);
    return n;
}

const char *rig_read(struct session *s) {
    static char text[8192];
    uint8_t block[SMP_BLOCK_LEN];
    struct conn *c = s->conn;
    struct bytes content, parts[SMP_BATCH_MAX];
    unsigned n;
    c->wants_write = false;
    const bool has_block = SESSION_OPS.fill(s, block);
    if (c->is_closed) return "closed";
    if (!has_block) return "nothing";
    assert_int_equal(block_open(block, NULL, &content), OK);
    assert_int_equal(batch_split(content, parts, &n), OK);
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        if (i > 0) text[at++] = ',';
        at += describe(parts[i], text + at, sizeof text - at);
    }
    return text;
}
