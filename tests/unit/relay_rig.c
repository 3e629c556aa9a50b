/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay_rig.h"

#include <stdio.h>
#include <string.h>

#include "base/rd.h"
#include "net/conn_priv.h"

struct rig rig;

/* ---- clock and randomness ---- */

static int64_t now_s(void *ctx) {
    (void)ctx;
    return RIG_EPOCH_S + rig.now_ms / 1000;
}

static int64_t mono_us(void *ctx) {
    (void)ctx;
    return rig.now_ms * 1000;
}

/* xorshift64 */
static void random_bytes(void *ctx, void *buf, size_t n) {
    (void)ctx;
    for (size_t i = 0; i < n; i++) {
        rig.random ^= rig.random << 13;
        rig.random ^= rig.random >> 7;
        rig.random ^= rig.random << 17;
        ((uint8_t *)buf)[i] = (uint8_t)(rig.random >> 32);
    }
}

/* ---- timers: in place of the loop's (--wrap) ---- */

struct rig_timer {
    struct list in_rig;
    struct loop_timer *timer;
    int64_t due_ms, repeat_ms;
    void (*fn)(void *ctx);
    void *ctx;
};

enum err __wrap_loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t first_ms,
                                 uint64_t repeat_ms, void (*fn)(void *ctx), void *ctx);
void __wrap_loop_timer_stop(struct loop_timer *t);
int64_t __wrap_loop_turn_ms(const struct loop *l);

void __wrap_loop_timer_stop(struct loop_timer *t) {
    struct rig_timer *rt = t->impl;
    if (rt == NULL) return;
    list_remove(&rt->in_rig);
    free(rt);
    t->impl = NULL;
}

enum err __wrap_loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t first_ms,
                                 uint64_t repeat_ms, void (*fn)(void *ctx), void *ctx) {
    (void)l;
    __wrap_loop_timer_stop(t);
    struct rig_timer *rt = malloc(sizeof *rt);
    assert_non_null(rt);
    *rt = (struct rig_timer){.timer = t,
                             .due_ms = rig.now_ms + (int64_t)first_ms,
                             .repeat_ms = (int64_t)repeat_ms,
                             .fn = fn,
                             .ctx = ctx};
    list_push_back(&rig.timers, &rt->in_rig);
    t->impl = rt;
    return OK;
}

int64_t __wrap_loop_turn_ms(const struct loop *l) {
    (void)l;
    return rig.now_ms;
}

/* The first that is due until then; NULL: none. */
static struct rig_timer *first_due(int64_t until_ms) {
    struct rig_timer *first = NULL;
    for (struct list *l = rig.timers.next; l != &rig.timers; l = l->next) {
        struct rig_timer *rt = CONTAINER_OF(l, struct rig_timer, in_rig);
        if (rt->due_ms <= until_ms && (first == NULL || rt->due_ms < first->due_ms)) first = rt;
    }
    return first;
}

void rig_run_posted(void) {
    loop_join(rig.loop);
}

void rig_pass_ms(int64_t ms) {
    const int64_t until_ms = rig.now_ms + ms;
    for (struct rig_timer *rt; (rt = first_due(until_ms)) != NULL;) {
        rig.now_ms = rt->due_ms;
        void (*fn)(void *ctx) = rt->fn;
        void *ctx = rt->ctx;
        if (rt->repeat_ms != 0) {
            rt->due_ms += rt->repeat_ms;
        } else {
            __wrap_loop_timer_stop(rt->timer);
        }
        fn(ctx);
        rig_run_posted();
    }
    rig.now_ms = until_ms;
    rig_run_posted();
}

/* ---- connections: in place of net/conn ---- */

struct loop *conn_loop(const struct conn *c) {
    (void)c;
    return rig.loop;
}

void conn_want_write(struct conn *c) {
    c->wants_write = true;
}

void conn_want_run(struct conn *c) {
    c->wants_run = true;
}

bool conn_share_is_used(const struct conn *c) {
    return c->share_is_used;
}

void conn_pause_read(struct conn *c) {
    c->is_paused = true;
}

void conn_resume_read(struct conn *c) {
    c->is_paused = false;
}

void conn_set_deadline(struct conn *c, int64_t mono_ms) {
    c->deadline_ms = mono_ms;
}

void conn_finish(struct conn *c) {
    c->is_finishing = true;
}

void conn_close(struct conn *c) {
    c->is_closed = true;
}

struct bytes conn_tls_unique(const struct conn *c) {
    (void)c;
    return bytes_str("thirty-two bytes of TLS's unique");
}

bool conn_has_alpn(const struct conn *c) {
    (void)c;
    return true;
}

const char *conn_tls_problem(const struct conn *c) {
    (void)c;
    return "";
}

const struct server_cert *conn_cert(const struct conn *c) {
    (void)c;
    return NULL;
}

enum err conn_peer_chain(const struct conn *c, uint8_t *buf, size_t cap, struct bytes *ret) {
    (void)c;
    (void)buf;
    (void)cap;
    (void)ret;
    return E_CERT;
}

bool conn_take_new_queue(struct conn *c) {
    return !c->may_not_make_queues;
}

enum err conn_up(struct stream *s, const struct stream_opts *o) {
    (void)s;
    (void)o;
    return E_INTERNAL;
}

enum err conn_frame(struct stream *s, const struct conn_opts *o) {
    (void)s;
    (void)o;
    return E_INTERNAL;
}

enum err conn__connect(struct loop *l, int owned_fd, SSL_CTX *tls, const struct conn_opts *o,
                       void *session, struct conn **ret) {
    (void)l;
    (void)owned_fd;
    (void)tls;
    (void)o;
    (void)session;
    (void)ret;
    return E_INTERNAL;
}

void conn__begin(struct conn *c) {
    (void)c;
}

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
    const struct store_opts o = {.env = &rig.env, .quota = RIG_QUOTA};
    struct store_problem problem = {0};
    assert_int_equal(store_open("memory", &o, &rig.store, &problem), OK);
    real = rig.store->ops;
    switched = *real;
    switched.load = load;
    switched.msg_next = msg_next;
    switched.message = message;
    switched.fate = fate;
    rig.store->ops = &switched;
}

/* ---- set-up ---- */

int rig_setup(void **state) {
    (void)state;
    rig = (struct rig){.now_ms = 1000, .random = 88172645463325252u};
    rig.env = (struct env){.now_s = now_s, .mono_us = mono_us, .random = random_bytes};
    list_init(&rig.timers);
    if (crypto_init() != OK) return -1;
    ed25519_key_new(&rig.env, &rig.key);
    assert_int_equal(loop_new(0, &rig.env, &rig.loop), OK);
    open_store();
    const struct relay_opts o = {
        .env = &rig.env,
        .store = rig.store,
        .loops = &rig.loop,
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
    for (struct conn *c; (c = rig.conns) != NULL;) {
        if (c->session != NULL) SESSION_OPS.on_close(c->session);
        rig.conns = c->next;
        free(c);
    }
    while (rig.n_questions != 0) rig_answer(0);
    while (rig.n_loads != 0) rig_answer_load(0);
    rig_run_posted();
    relay_free(rig.relay);
    assert_true(list_is_empty(&rig.timers));
    loop_free(rig.loop);
    store_close(rig.store);
    return 0;
}

struct session *rig_session(uint16_t version) {
    struct conn *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->next = rig.conns;
    rig.conns = c;
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
    env_random(&rig.env, &id, sizeof id);
    assert_int_equal(message_new(&id, env_now_s(&rig.env), false, bytes_str(body), &m), OK);
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
