/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Sessions recorded with the reference server, one a version: what each side said is read and
 * verified here, and made again, byte for byte. */
#include <sodium.h>

#include "recorded.h"
#include "wire_fixture.h"

#include "client/smp_queue.h"
#include "crypto/authz.h"
#include "crypto/box.h"
#include "crypto/cert.h"
#include "crypto/crypto.h"
#include "model/message.h"
#include "wire/block.h"
#include "wire/command.h"
#include "wire/handshake.h"
#include "wire/reply.h"

enum { BLOCKS_MAX = 20, COMMANDS_MAX = 10, N_HELLOS = 2 };

struct recorded_block {
    bool from_server;
    uint8_t b[SMP_BLOCK_LEN];
};

/* A recorded session. Secret keys have pub computed from them. */
struct recorded {
    json_t *root; /* owned */
    uint16_t version, version_min, version_max;
    struct wire_params params;
    bool encrypted;
    struct x25519_pair client_session, rcv_dh;
    uint8_t server_session_pub[X25519_LEN], server_dh_pub[X25519_LEN], shared[X25519_LEN];
    struct id rcv_id, snd_id;
    struct pubkey rcv_key, snd_key;
    uint8_t snd_priv[X25519_LEN];
    struct block_chain server_sends, server_receives; /* at their start */
    unsigned n_blocks;
    struct recorded_block blocks[BLOCKS_MAX];
};

/* ---- loading ---- */

static struct x25519_pair x25519_pair_of(const json_t *object, const char *key) {
    static const uint8_t BASE_POINT[X25519_LEN] = {9};
    struct x25519_pair p;
    hex_member(object, key, p.priv, sizeof p.priv);
    assert_int_equal(x25519_dh(p.priv, BASE_POINT, p.pub), OK);
    return p;
}

static struct pubkey ed25519_of(const json_t *object, const char *key) {
    uint8_t seed[crypto_sign_SEEDBYTES], secret[crypto_sign_SECRETKEYBYTES];
    struct pubkey k = {.type = KEY_ED25519};
    hex_member(object, key, seed, sizeof seed);
    assert_int_equal(crypto_sign_seed_keypair(k.b, secret, seed), 0);
    return k;
}

static uint16_t number_of(const json_t *number) {
    assert_true(json_is_integer(number));
    return (uint16_t)json_integer_value(number);
}

static void load_session(struct recorded *r) {
    const json_t *range = json_object_get(r->root, "serverRange");
    r->version = number_of(json_object_get(r->root, "version"));
    r->version_min = number_of(json_array_get(range, 0));
    r->version_max = number_of(json_array_get(range, 1));
    r->params.version = r->version;
    r->params.session[0] = SESSION_LEN;
    hex_member(r->root, "sessionIdentifier", r->params.session + 1, SESSION_LEN);
    r->client_session = x25519_pair_of(r->root, "clientSessionKeyPrivate");
    hex_member(r->root, "serverSessionKeyPublic", r->server_session_pub, X25519_LEN);
    r->encrypted = r->version >= 11;
    uint8_t secret[X25519_LEN];
    assert_int_equal(x25519_dh(r->client_session.priv, r->server_session_pub, secret), OK);
    assert_int_equal(block_chains_init(bytes_of(r->params.session + 1, SESSION_LEN), secret,
                                       &r->server_sends, &r->server_receives),
                     OK);
}

static void load_queue(struct recorded *r) {
    const json_t *q = json_object_get(r->root, "queue");
    hex_member(q, "rcvId", r->rcv_id.b, ID_LEN);
    hex_member(q, "sndId", r->snd_id.b, ID_LEN);
    hex_member(q, "serverDhKeyPublic", r->server_dh_pub, X25519_LEN);
    hex_member(q, "sharedDhPoint", r->shared, X25519_LEN);
    r->rcv_dh = x25519_pair_of(q, "rcvDhKeyPrivate");
    r->rcv_key = ed25519_of(q, "rcvAuthKeyPrivateEd25519");
    if (strcmp(vectors_text(q, "sndKeyType"), "Ed25519") == 0) {
        r->snd_key = ed25519_of(q, "sndKeyPrivate");
        return;
    }
    assert_string_equal(vectors_text(q, "sndKeyType"), "X25519");
    const struct x25519_pair p = x25519_pair_of(q, "sndKeyPrivate");
    r->snd_key = pubkey_from_x25519(p.pub);
    memcpy(r->snd_priv, p.priv, sizeof r->snd_priv);
}

static void load_blocks(struct recorded *r) {
    size_t i;
    json_t *block;
    json_array_foreach(json_object_get(r->root, "blocks"), i, block) {
        assert_true(i < BLOCKS_MAX);
        const char *who = json_string_value(json_array_get(block, 0));
        const char *hex = json_string_value(json_array_get(block, 1));
        assert_non_null(who);
        assert_non_null(hex);
        r->blocks[i].from_server = strcmp(who, "server") == 0;
        hex_into(hex, r->blocks[i].b, SMP_BLOCK_LEN);
        r->n_blocks++;
    }
    assert_true(r->n_blocks > N_HELLOS);
}

static struct recorded *sessions[VECTORS_N_SESSIONS]; /* owned; NULL until first asked for */

/* State of a test: the file's name on the way in, the session from here on, which the tests of a
 * file share and do not change. */
static int load(void **state) {
    const char *const *file = *state;
    struct recorded **r = &sessions[file - VECTORS_SESSIONS];
    if (*r == NULL) {
        *r = calloc(1, sizeof **r);
        assert_non_null(*r);
        (*r)->root = vectors_load(*file);
        load_session(*r);
        load_queue(*r);
        load_blocks(*r);
    }
    *state = *r;
    return 0;
}

static int unload_all(void **state) {
    (void)state;
    for (size_t i = 0; i < VECTORS_N_SESSIONS; i++) {
        if (sessions[i] == NULL) continue;
        json_decref(sessions[i]->root);
        free(sessions[i]);
    }
    return 0;
}

/* ---- the handshake ---- */

static void open_hello(const struct recorded *r, unsigned i, bool from_server,
                       uint8_t block[SMP_BLOCK_LEN], struct bytes *ret) {
    assert_int_equal(r->blocks[i].from_server, from_server);
    memcpy(block, r->blocks[i].b, SMP_BLOCK_LEN);
    assert_int_equal(block_open(block, NULL, ret), OK);
}

static void parse_server_hello(const struct recorded *r, uint8_t block[SMP_BLOCK_LEN],
                               struct server_hello *ret) {
    struct bytes content;
    open_hello(r, 0, true, block, &content);
    assert_int_equal(server_hello_parse(content, ret), OK);
}

static void server_hello_is_made_again(void **state) {
    const struct recorded *r = *state;
    uint8_t block[SMP_BLOCK_LEN], again[SMP_BLOCK_LEN];
    struct server_hello h;
    parse_server_hello(r, block, &h);
    assert_int_equal(h.version_min, r->version_min);
    assert_int_equal(h.version_max, r->version_max);
    assert_bytes(h.session_id, bytes_of(r->params.session + 1, SESSION_LEN));
    struct wr w = block_begin(again, false);
    server_hello_write(&h, &w);
    assert_int_equal(block_seal(again, &w, NULL), OK);
    assert_memory_equal(again, r->blocks[0].b, SMP_BLOCK_LEN);
}

/* The time of the recorded message is within the certificates' dates. */
static int64_t recorded_time(const struct recorded *r) {
    const json_t *step = json_array_get(json_object_get(r->root, "steps"), 1);
    assert_string_equal(vectors_text(step, "step"), "SEND/MSG");
    return json_integer_value(json_object_get(step, "timestamp"));
}

static void server_session_key_is_signed(void **state) {
    const struct recorded *r = *state;
    uint8_t block[SMP_BLOCK_LEN];
    struct server_hello h;
    parse_server_hello(r, block, &h);
    struct pubkey key;
    const struct pubkey expected = pubkey_from_x25519(r->server_session_pub);
    assert_int_equal(cert_chain_verify_key(h.cert_chain, h.signed_key, recorded_time(r), &key), OK);
    assert_true(pubkey_equal(&key, &expected));
}

/* SHA-256 of the second certificate. */
static void identity_of(const struct recorded *r, uint8_t ret[SHA256_LEN]) {
    uint8_t block[SMP_BLOCK_LEN];
    struct server_hello h;
    parse_server_hello(r, block, &h);
    struct rd rd = rd_init(h.cert_chain);
    assert_int_equal(rd_list(&rd), 2);
    (void)rd_large(&rd);
    const struct bytes ca = rd_large(&rd);
    assert_int_equal(rd_end(&rd), OK);
    assert_int_equal(crypto_sha256(ca, ret), OK);
}

static void client_hello_is_made_again(void **state) {
    const struct recorded *r = *state;
    uint8_t block[SMP_BLOCK_LEN], again[SMP_BLOCK_LEN], identity[SHA256_LEN];
    struct bytes content;
    struct client_hello h;
    open_hello(r, 1, false, block, &content);
    assert_int_equal(client_hello_parse(content, &h), OK);
    identity_of(r, identity);
    assert_int_equal(h.version, r->version);
    assert_bytes(h.identity, bytes_of(identity, sizeof identity));
    struct pubkey expected = {0};
    if (r->version >= 7) expected = pubkey_from_x25519(r->client_session.pub);
    assert_true(pubkey_equal(&h.key, &expected));
    assert_false(h.proxy_server || h.has_service);
    struct wr w = block_begin(again, false);
    client_hello_write(&h, &w);
    assert_int_equal(block_seal(again, &w, NULL), OK);
    assert_memory_equal(again, r->blocks[1].b, SMP_BLOCK_LEN);
}

/* ---- commands ---- */

/* One command of the recorded client. The views point into block. */
struct sent {
    uint8_t block[SMP_BLOCK_LEN];
    struct bytes text;
    struct transmission t;
    enum err e;
    struct command c; /* when e is OK */
};

struct all_sent {
    unsigned n;
    struct sent items[COMMANDS_MAX];
};

/* Owned by the caller: free(). */
static struct all_sent *open_commands(const struct recorded *r) {
    struct all_sent *all = calloc(1, sizeof *all);
    assert_non_null(all);
    struct block_chain chain = r->server_receives;
    for (unsigned i = N_HELLOS; i < r->n_blocks; i++) {
        if (r->blocks[i].from_server) continue;
        assert_true(all->n < COMMANDS_MAX);
        struct sent *s = &all->items[all->n++];
        memcpy(s->block, r->blocks[i].b, SMP_BLOCK_LEN);
        struct bytes content, texts[SMP_BATCH_MAX];
        unsigned n;
        assert_int_equal(block_open(s->block, r->encrypted ? &chain : NULL, &content), OK);
        assert_int_equal(batch_split(content, texts, &n), OK);
        assert_int_equal(n, 1);
        s->text = texts[0];
        assert_int_equal(transmission_parse(s->text, &r->params, &s->t), OK);
        s->e = command_parse(&s->t, r->version, &s->c);
    }
    return all;
}

/* The command of that tag, which was sent once. */
static const struct sent *sent_of(const struct all_sent *all, enum command_tag tag) {
    for (unsigned i = 0; i < all->n; i++) {
        if (all->items[i].e == OK && all->items[i].c.tag == tag) return &all->items[i];
    }
    fail_msg("no %s was sent", command_row(tag)->tag);
    return NULL;
}

static enum command_tag secure_tag(const struct recorded *r) {
    return r->version < 9 ? CMD_KEY : CMD_SKEY;
}

static void commands_come_in_order(void **state) {
    const struct recorded *r = *state;
    const enum command_tag expected[] = {CMD_NEW,  secure_tag(r), CMD_SEND,   CMD_ACK,
                                         CMD_PING, CMD_SUB,       N_COMMANDS, CMD_DEL};
    struct all_sent *all = open_commands(r);
    assert_int_equal(all->n, ARRAY_LEN(expected));
    for (unsigned i = 0; i < all->n; i++) {
        const bool known = expected[i] != N_COMMANDS;
        assert_int_equal(all->items[i].e, known ? OK : E_CMD_UNKNOWN);
        if (known) assert_int_equal(all->items[i].c.tag, expected[i]);
    }
    free(all);
}

static void assert_view(struct bytes got, const json_t *step, const char *key) {
    struct blob b = vectors_blob(step, key);
    assert_bytes(got, blob_bytes(&b));
    blob_freep(&b);
}

static void commands_have_the_recorded_parts(void **state) {
    const struct recorded *r = *state;
    struct all_sent *all = open_commands(r);
    unsigned compared = 0;
    size_t i;
    const json_t *step;
    json_array_foreach(json_object_get(r->root, "steps"), i, step) {
        if (json_object_get(step, "transmission") == NULL) continue;
        struct blob corr_id = vectors_blob(step, "corrId");
        for (unsigned k = 0; k < all->n; k++) {
            const struct sent *s = &all->items[k];
            if (!bytes_equal(s->t.corr_id, blob_bytes(&corr_id))) continue;
            assert_view(s->text, step, "transmission");
            assert_view(s->t.entity, step, "entityId");
            assert_view(s->t.command, step, "command");
            compared++;
        }
        blob_freep(&corr_id);
    }
    assert_int_equal(compared, 6);
    free(all);
}

static void parameters_are_the_recorded_ones(void **state) {
    const struct recorded *r = *state;
    struct all_sent *all = open_commands(r);
    const struct cmd_new *q = &sent_of(all, CMD_NEW)->c.new_queue;
    const struct pubkey rcv_dh = pubkey_from_x25519(r->rcv_dh.pub);
    assert_true(pubkey_equal(&q->rcv_auth_key, &r->rcv_key));
    assert_true(pubkey_equal(&q->rcv_dh_key, &rcv_dh));
    assert_int_equal(q->has_mode, r->version >= 9);
    assert_false(q->is_contact || q->data.present || q->has_notifier);
    assert_true(q->subscribe); /* the MSG came without SUB */
    assert_true(pubkey_equal(&sent_of(all, secure_tag(r))->c.key, &r->snd_key));
    const json_t *step = json_array_get(json_object_get(r->root, "steps"), 1);
    const struct command *send = &sent_of(all, CMD_SEND)->c;
    assert_int_equal(send->send.notification, strcmp(vectors_text(step, "flags"), "T") == 0);
    assert_text(send->send.body, vectors_text(step, "body"));
    assert_view(sent_of(all, CMD_ACK)->c.ack.msg_id, step, "msgId");
    free(all);
}

/* ---- authorizations ---- */

/* The server's session key is not known; but an agreement is the same from both sides, so that the
 * sender's private key with the server's public one stand for the server's with the sender's. */
static bool verifies(const struct recorded *r, const struct sent *s, const struct pubkey *key,
                     struct bytes signed_text, struct bytes corr_id) {
    const struct pubkey server = pubkey_from_x25519(r->server_session_pub);
    const struct authz a = {.auth = s->t.auth,
                            .text_a = wire_session(&r->params),
                            .text_b = signed_text,
                            .corr_id = corr_id,
                            .session_priv = r->snd_priv};
    return authz_verify(&a, key->type == KEY_X25519 ? &server : key, 1);
}

static void assert_authorized_by(const struct recorded *r, const struct sent *s,
                                 const struct pubkey *key) {
    assert_true(verifies(r, s, key, s->t.signed_text, s->t.corr_id));
    uint8_t *changed = exact_copy(s->t.signed_text);
    for (size_t at = 0; at < s->t.signed_text.n; at += 7) {
        changed[at] ^= 1;
        assert_false(verifies(r, s, key, bytes_of(changed, s->t.signed_text.n), s->t.corr_id));
        changed[at] ^= 1;
    }
    free(changed);
    const uint8_t other_corr_id[] = "another";
    assert_int_equal(verifies(r, s, key, s->t.signed_text,
                              bytes_of(other_corr_id, sizeof other_corr_id)),
                     key->type != KEY_X25519); /* only authenticators use it beside the text */
}

static void authorizations_verify(void **state) {
    const struct recorded *r = *state;
    struct all_sent *all = open_commands(r);
    assert_authorized_by(r, sent_of(all, CMD_NEW), &r->rcv_key);
    assert_authorized_by(r, sent_of(all, secure_tag(r)),
                         r->version < 9 ? &r->rcv_key : &r->snd_key);
    assert_authorized_by(r, sent_of(all, CMD_SEND), &r->snd_key);
    assert_authorized_by(r, sent_of(all, CMD_ACK), &r->rcv_key);
    assert_authorized_by(r, sent_of(all, CMD_DEL), &r->rcv_key);
    assert_int_equal(sent_of(all, CMD_PING)->t.auth.n, 0);
    assert_int_equal(sent_of(all, CMD_SUB)->t.auth.n, ED25519_SIG_LEN);
    /* and by no other key */
    const struct sent *del = sent_of(all, CMD_DEL);
    const struct pubkey other = sample_key(KEY_ED25519, 1);
    assert_false(verifies(r, del, &other, del->t.signed_text, del->t.corr_id));
    free(all);
}

/* ---- answers ---- */

static void remake_msg(const struct recorded *r, struct wr *w, const struct reply_to *to) {
    const json_t *step = json_array_get(json_object_get(r->root, "steps"), 1);
    uint8_t shared[X25519_LEN];
    assert_int_equal(x25519_dh(r->rcv_dh.priv, r->server_dh_pub, shared), OK);
    assert_memory_equal(shared, r->shared, sizeof shared);
    const struct box_key key = box_key_from_secret(shared);
    struct id id;
    hex_member(step, "msgId", id.b, ID_LEN);
    struct message *m = NULL;
    assert_int_equal(message_new(&id, recorded_time(r),
                                 strcmp(vectors_text(step, "flags"), "T") == 0,
                                 bytes_str(vectors_text(step, "body")), &m),
                     OK);
    assert_bytes(to->entity, id_bytes(&r->rcv_id));
    reply_msg(w, &r->params, to, m, &key);
    message_unref(m);
}

static void remake_ids(const struct recorded *r, struct wr *w, const struct reply_to *to) {
    struct reply_ids ids = {.rcv_id = r->rcv_id, .snd_id = r->snd_id, .mode = MODE_MESSAGING};
    memcpy(ids.dh_key, r->server_dh_pub, sizeof ids.dh_key);
    reply_ids(w, &r->params, to, &ids);
}

/* What the reference answers to these commands (the SUB is for a queue that does not exist). */
static void remake_answer(const struct recorded *r, const struct sent *s, struct wr *w) {
    const struct reply_to to = {s->t.corr_id, s->t.entity};
    if (s->e != OK) {
        reply_err(w, &r->params, &to, s->e);
        return;
    }
    switch ((int)s->c.tag) {
    case CMD_NEW:
        remake_ids(r, w, &to);
        return;
    case CMD_PING:
        reply_pong(w, &r->params, &to);
        return;
    case CMD_SUB:
        reply_err(w, &r->params, &to, E_AUTH);
        return;
    default:
        reply_ok(w, &r->params, &to);
        return;
    }
}

/* The answer to the command that has this correlation id, or the MSG, which has none. */
static void remake(const struct recorded *r, const struct all_sent *all, struct bytes answer,
                   struct wr *w) {
    struct transmission t;
    assert_int_equal(transmission_parse(answer, &r->params, &t), OK);
    if (t.corr_id.n == 0) {
        remake_msg(r, w, &(struct reply_to){t.corr_id, t.entity});
        return;
    }
    for (unsigned i = 0; i < all->n; i++) {
        if (!bytes_equal(all->items[i].t.corr_id, t.corr_id)) continue;
        remake_answer(r, &all->items[i], w);
        return;
    }
    fail_msg("answer to no command");
}

/* The order of the answers, and which share a block, is the recorded one; their bytes are ours. */
static void server_blocks_are_made_again(void **state) {
    const struct recorded *r = *state;
    struct all_sent *all = open_commands(r);
    struct block_chain opens = r->server_sends, seals = r->server_sends;
    unsigned n_answers = 0;
    for (unsigned i = N_HELLOS; i < r->n_blocks; i++) {
        if (!r->blocks[i].from_server) continue;
        uint8_t block[SMP_BLOCK_LEN], again[SMP_BLOCK_LEN];
        struct bytes content, answers[SMP_BATCH_MAX];
        unsigned n;
        memcpy(block, r->blocks[i].b, sizeof block);
        assert_int_equal(block_open(block, r->encrypted ? &opens : NULL, &content), OK);
        assert_int_equal(batch_split(content, answers, &n), OK);
        struct wr w = block_begin(again, r->encrypted);
        wr_u8(&w, (uint8_t)n);
        for (unsigned k = 0; k < n; k++) {
            const size_t mark = wr_mark_u16(&w);
            remake(r, all, answers[k], &w);
            wr_close_u16(&w, mark);
        }
        assert_int_equal(block_seal(again, &w, r->encrypted ? &seals : NULL), OK);
        assert_memory_equal(again, r->blocks[i].b, SMP_BLOCK_LEN);
        n_answers += n;
    }
    assert_int_equal(n_answers, 8);
    free(all);
}

/* ---- our client in place of the recorded one ---- */

static struct ed25519_key secret_of(const json_t *object, const char *key) {
    uint8_t seed[crypto_sign_SEEDBYTES], pub[ED25519_LEN];
    struct ed25519_key k;
    hex_member(object, key, seed, sizeof seed);
    assert_int_equal(crypto_sign_seed_keypair(pub, k.secret, seed), 0);
    return k;
}

/* The recorded client's queue, as it was before the answer to NEW. */
static struct smp_queue recorded_queue(const struct recorded *r) {
    const json_t *q = json_object_get(r->root, "queue");
    struct smp_queue ret = {
        .is_signed_by_sender = r->snd_key.type == KEY_ED25519,
        .rcv_key = secret_of(q, "rcvAuthKeyPrivateEd25519"),
        .dh = r->rcv_dh,
    };
    if (ret.is_signed_by_sender) {
        ret.snd_key.sign = secret_of(q, "sndKeyPrivate");
    } else {
        ret.snd_key.agree = x25519_pair_of(q, "sndKeyPrivate");
    }
    return ret;
}

/* The same after it, in this session. */
static struct smp_queue recorded_queue_in_use(const struct recorded *r) {
    struct smp_queue q = recorded_queue(r);
    struct reply_view_ids ids = {.rcv_id = r->rcv_id, .snd_id = r->snd_id};
    memcpy(ids.dh_key, r->server_dh_pub, sizeof ids.dh_key);
    assert_int_equal(smp_queue_take_ids(&q, &ids), OK);
    assert_int_equal(smp_queue_meet(&q, r->server_session_pub), OK);
    return q;
}

/* Writes the same command with the head of the recorded one. */
static void rewrite(const struct recorded *r, const struct sent *s, const struct smp_queue *q,
                    struct wr *w) {
    struct smp_head h = {.params = &r->params, .entity = s->t.entity};
    struct smp_new new_queue = {.subscribe = true, .mode = MODE_MESSAGING};
    struct id msg_id;
    assert_true(id_from_bytes(s->t.corr_id, &h.corr_id));
    const bool by_sender = s->c.tag == CMD_SKEY || s->c.tag == CMD_SEND;
    if (s->t.auth.n != 0) h.auth = by_sender ? smp_queue_sender(q) : smp_queue_recipient(q);
    switch ((int)s->c.tag) {
    case CMD_NEW:
        smp_queue_describe(q, &new_queue);
        smp_command_new(w, &h, &new_queue);
        return;
    case CMD_KEY:
    case CMD_SKEY:
        smp_command_key(w, &h, s->c.tag, &r->snd_key);
        return;
    case CMD_SEND:
        smp_command_send(w, &h, s->c.send.notification, s->c.send.body);
        return;
    case CMD_ACK:
        assert_true(id_from_bytes(s->c.ack.msg_id, &msg_id));
        smp_command_ack(w, &h, &msg_id);
        return;
    default:
        smp_command_plain(w, &h, s->c.tag);
    }
}

/* All but the one that no server knows. Signatures and authenticators leave nothing to chance. */
static void commands_are_made_again(void **state) {
    const struct recorded *r = *state;
    struct all_sent *all = open_commands(r);
    const struct smp_queue before = recorded_queue(r), after = recorded_queue_in_use(r);
    uint8_t text[SMP_BLOCK_LEN];
    unsigned n = 0;
    for (unsigned i = 0; i < all->n; i++) {
        const struct sent *s = &all->items[i];
        struct wr w = wr_init(text, sizeof text);
        if (s->e != OK) continue;
        rewrite(r, s, s->c.tag == CMD_NEW ? &before : &after, &w);
        assert_int_equal(wr_err(&w), OK);
        assert_bytes(wr_bytes(&w), s->text);
        n++;
    }
    assert_int_equal(n, 7);
    free(all);
}

static void assert_recorded_ids(const struct recorded *r, const struct reply_view_ids *ids) {
    assert_true(id_equal(&ids->rcv_id, &r->rcv_id));
    assert_true(id_equal(&ids->snd_id, &r->snd_id));
    assert_memory_equal(ids->dh_key, r->server_dh_pub, X25519_LEN);
    assert_int_equal(ids->mode, r->version < 9 ? MODE_UNKNOWN : MODE_MESSAGING);
    assert_false(ids->has_link || ids->has_service || ids->has_notifier);
}

static void assert_recorded_message(const struct recorded *r, const struct reply_view_msg *m,
                                    uint8_t *block) {
    const json_t *step = json_array_get(json_object_get(r->root, "steps"), 1);
    const struct smp_queue q = recorded_queue_in_use(r);
    struct smp_received got;
    assert_int_equal(smp_queue_open(&q, m, block, &got), OK);
    assert_text(got.body, vectors_text(step, "body"));
    assert_int_equal(got.ts_s, recorded_time(r));
    assert_int_equal(got.notification, strcmp(vectors_text(step, "flags"), "T") == 0);
    assert_view(id_bytes(&got.msg_id), step, "msgId");
}

static void answers_are_read(void **state) {
    const struct recorded *r = *state;
    struct block_chain chain = r->server_sends;
    unsigned counts[N_REPLIES] = {0};
    for (unsigned i = N_HELLOS; i < r->n_blocks; i++) {
        uint8_t block[SMP_BLOCK_LEN];
        struct bytes content, texts[SMP_BATCH_MAX];
        unsigned n = 0;
        if (!r->blocks[i].from_server) continue;
        memcpy(block, r->blocks[i].b, sizeof block);
        assert_int_equal(block_open(block, r->encrypted ? &chain : NULL, &content), OK);
        assert_int_equal(batch_split(content, texts, &n), OK);
        for (unsigned k = 0; k < n; k++) {
            struct transmission t;
            struct reply_view a;
            assert_int_equal(transmission_parse(texts[k], &r->params, &t), OK);
            assert_int_equal(reply_parse(t.command, r->version, &a), OK);
            if (a.tag == REPLY_IDS) assert_recorded_ids(r, &a.ids);
            if (a.tag == REPLY_MSG) assert_recorded_message(r, &a.msg, block);
            counts[a.tag]++;
        }
    }
    assert_int_equal(counts[REPLY_IDS], 1);
    assert_int_equal(counts[REPLY_MSG], 1);
    assert_int_equal(counts[REPLY_PONG], 1);
    assert_int_equal(counts[REPLY_OK], 3); /* to SEND, securing, and one of ACK and DEL */
    assert_int_equal(counts[REPLY_ERR], 2);
}

/* ---- each test for each session ---- */

static const struct {
    const char *name;
    CMUnitTestFunction fn;
} TESTS[] = {
    {"server hello is made again", server_hello_is_made_again},
    {"server session key is signed", server_session_key_is_signed},
    {"client hello is made again", client_hello_is_made_again},
    {"commands come in order", commands_come_in_order},
    {"commands have the recorded parts", commands_have_the_recorded_parts},
    {"parameters are the recorded ones", parameters_are_the_recorded_ones},
    {"authorizations verify", authorizations_verify},
    {"server blocks are made again", server_blocks_are_made_again},
    {"commands are made again", commands_are_made_again},
    {"answers are read", answers_are_read},
};

int main(void) {
    static char names[VECTORS_N_SESSIONS][ARRAY_LEN(TESTS)][64];
    struct CMUnitTest tests[VECTORS_N_SESSIONS * ARRAY_LEN(TESTS)], *next = tests;
    for (size_t i = 0; i < VECTORS_N_SESSIONS; i++) {
        const char *const *file = &VECTORS_SESSIONS[i];
        void *state;
        memcpy(&state, &file, sizeof state); /* cmocka has no const state */
        for (size_t k = 0; k < ARRAY_LEN(TESTS); k++) {
            (void)snprintf(names[i][k], sizeof names[i][k], "%s: %s", *file, TESTS[k].name);
            *next++ = (struct CMUnitTest){names[i][k], TESTS[k].fn, load, NULL, state};
        }
    }
    return cmocka_run_group_tests_name("replay", tests, init_crypto, unload_all);
}
