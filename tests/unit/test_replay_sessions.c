/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Sessions of versions 19 and 20, recorded with a beta of the reference 7.0, transmission by
 * transmission (key `sessions` of the vectors): queues, notifications, services, forwarded
 * commands, names. What each side said is read and verified here, and made again, byte for byte. */
#include <sodium.h>

#include "recorded.h"
#include "wire_fixture.h"

#include "client/smp_queue.h"
#include "crypto/authz.h"
#include "crypto/cert.h"
#include "model/message.h"
#include "wire/block.h"
#include "wire/command.h"
#include "wire/forward.h"
#include "wire/handshake.h"
#include "wire/reply.h"

/* Within the dates of all certificates of the recording. */
static const int64_t RECORDED_AT = 1795891200;

/* A connection, and the session that it belongs to. */
struct connection {
    const json_t *session, *json; /* borrowed */
    struct wire_params params;
    uint8_t server_pub[X25519_LEN]; /* the server's session key */
};

/* ---- loading ---- */

static uint16_t version_of(const json_t *object, const char *key) {
    const json_t *v = json_object_get(object, key);
    assert_true(json_is_integer(v));
    return (uint16_t)json_integer_value(v);
}

static struct connection connection_of(const json_t *session, const json_t *json) {
    struct connection c = {.session = session, .json = json};
    c.params.version = version_of(json, "version");
    c.params.session[0] = SESSION_LEN;
    hex_member(json, "sessionIdentifier", c.params.session + 1, SESSION_LEN);
    hex_member(json, "serverSessionKeyPublic", c.server_pub, sizeof c.server_pub);
    return c;
}

typedef unsigned on_connection(const struct connection *c);
typedef unsigned on_step(const struct connection *c, const json_t *step);

/* The sum of what fn returned for each connection of a file. */
static unsigned each_connection(void **state, on_connection *fn) {
    json_t *root = vectors_load(*state);
    unsigned sum = 0;
    size_t i, k;
    json_t *session, *json;
    json_array_foreach(json_object_get(root, "sessions"), i, session) {
        json_array_foreach(json_object_get(session, "connections"), k, json) {
            const struct connection c = connection_of(session, json);
            sum += fn(&c);
        }
    }
    json_decref(root);
    return sum;
}

/* The same for each step. */
static unsigned each_step(void **state, on_step *fn) {
    json_t *root = vectors_load(*state);
    unsigned sum = 0;
    size_t i, k, n;
    json_t *session, *json, *step;
    json_array_foreach(json_object_get(root, "sessions"), i, session) {
        json_array_foreach(json_object_get(session, "connections"), k, json) {
            const struct connection c = connection_of(session, json);
            json_array_foreach(json_object_get(json, "steps"), n, step) {
                sum += fn(&c, step);
            }
        }
    }
    json_decref(root);
    return sum;
}

static bool has(const json_t *object, const char *key) {
    return json_object_get(object, key) != NULL;
}

static bool has_type(const json_t *key, const char *type) {
    return strcmp(vectors_text(key, "type"), type) == 0;
}

static struct ed25519_key secret_of(const json_t *object, const char *key,
                                    uint8_t ret_pub[ED25519_LEN]) {
    uint8_t seed[crypto_sign_SEEDBYTES];
    struct ed25519_key k;
    hex_member(object, key, seed, sizeof seed);
    assert_int_equal(crypto_sign_seed_keypair(ret_pub, k.secret, seed), 0);
    return k;
}

static struct box_key agreed(const struct connection *c, const json_t *object, const char *key) {
    uint8_t priv[X25519_LEN], secret[X25519_LEN];
    hex_member(object, key, priv, sizeof priv);
    assert_int_equal(x25519_dh(priv, c->server_pub, secret), OK);
    return box_key_from_secret(secret);
}

/* ---- handshake ---- */

static struct blob hello_of(const struct connection *c, size_t i, const char *who) {
    const json_t *hello = json_array_get(json_object_get(c->json, "handshake"), i);
    assert_string_equal(json_string_value(json_array_get(hello, 0)), who);
    return blob_of_hex(json_string_value(json_array_get(hello, 1)));
}

static void check_server_hello(const struct connection *c, struct bytes text) {
    struct server_hello h;
    struct pubkey key;
    uint8_t again[SMP_BLOCK_LEN];
    const struct pubkey expected = pubkey_from_x25519(c->server_pub);
    assert_int_equal(server_hello_parse(text, &h), OK);
    assert_int_equal(cert_chain_verify_key(h.cert_chain, h.signed_key, RECORDED_AT, &key), OK);
    assert_true(pubkey_equal(&key, &expected));
    struct wr w = wr_init(again, sizeof again);
    server_hello_write(&h, &w);
    assert_bytes(wr_bytes(&w), text);
}

static void check_service(const json_t *service, const struct client_service *s) {
    struct pubkey key, expected = {.type = KEY_ED25519};
    (void)secret_of(service, "sessionKeyPrivateEd25519", expected.b);
    assert_int_equal(s->role, vectors_text(service, "role")[0]);
    assert_int_equal(cert_chain_verify_key(s->cert_chain, s->signed_key, RECORDED_AT, &key), OK);
    assert_true(pubkey_equal(&key, &expected));
}

static void check_client_hello(const struct connection *c, struct bytes text) {
    struct client_hello h;
    uint8_t again[SMP_BLOCK_LEN];
    const json_t *service = json_object_get(c->json, "service");
    assert_int_equal(client_hello_parse(text, &h), OK);
    assert_int_equal(h.version, c->params.version);
    assert_int_equal(h.has_service, service != NULL);
    assert_int_equal(h.proxy_server, strcmp(vectors_text(c->json, "name"), "proxy") == 0);
    if (service != NULL) check_service(service, &h.service);
    struct wr w = wr_init(again, sizeof again);
    client_hello_write(&h, &w);
    assert_bytes(wr_bytes(&w), text);
}

static unsigned check_hellos(const struct connection *c) {
    struct blob server = hello_of(c, 0, "server"), client = hello_of(c, 1, "client");
    check_server_hello(c, blob_bytes(&server));
    check_client_hello(c, blob_bytes(&client));
    blob_freep(&server);
    blob_freep(&client);
    const json_t *service = json_object_get(c->json, "service");
    if (service == NULL) return 0;
    struct blob third = hello_of(c, 2, "server");
    struct blob id = vectors_blob(service, "serviceId");
    uint8_t again[64];
    struct wr w = wr_init(again, sizeof again);
    service_accepted_write(blob_bytes(&id), &w);
    assert_bytes(wr_bytes(&w), blob_bytes(&third));
    blob_freep(&third);
    blob_freep(&id);
    return 1;
}

static void hellos_are_made_again(void **state) {
    assert_int_equal(each_connection(state, check_hellos), 10); /* of services */
}

/* ---- commands ---- */

static void assert_hex(struct bytes got, const json_t *object, const char *key) {
    struct blob b = vectors_blob(object, key);
    assert_bytes(got, blob_bytes(&b));
    blob_freep(&b);
}

/* The session as it is signed; with a service signature its certificate's hash precedes it. */
static struct bytes signed_session(const struct connection *c, const struct transmission *t,
                                   uint8_t buf[SHA256_LEN + 1 + SESSION_LEN]) {
    const struct bytes session = wire_session(&c->params);
    if (!t->has_service_sig) return session;
    hex_member(json_object_get(c->json, "service"), "certHash", buf, SHA256_LEN);
    memcpy(buf + SHA256_LEN, session.p, session.n);
    return bytes_of(buf, SHA256_LEN + session.n);
}

/* By the step's key. Agreements are made from the client's side: test_replay tells why. */
static bool is_authorized(const struct connection *c, const struct transmission *t,
                          const json_t *key, struct bytes text) {
    uint8_t buf[SHA256_LEN + 1 + SESSION_LEN], priv[X25519_LEN] = {0};
    struct pubkey by = pubkey_from_x25519(c->server_pub);
    if (has_type(key, "X25519")) {
        hex_member(key, "private", priv, sizeof priv);
    } else {
        by = (struct pubkey){.type = KEY_ED25519};
        (void)secret_of(key, "private", by.b);
    }
    const struct authz a = {.auth = t->auth,
                            .text_a = signed_session(c, t, buf),
                            .text_b = text,
                            .corr_id = t->corr_id,
                            .session_priv = priv};
    return authz_verify(&a, &by, 1);
}

static void check_authorization(const struct connection *c, const struct transmission *t,
                                const json_t *key) {
    assert_true(is_authorized(c, t, key, t->signed_text));
    uint8_t *changed = exact_copy(t->signed_text);
    changed[t->signed_text.n - 1] ^= 1;
    assert_false(is_authorized(c, t, key, bytes_of(changed, t->signed_text.n)));
    free(changed);
}

static void check_service_signature(const struct connection *c, const struct transmission *t) {
    struct pubkey by = {.type = KEY_ED25519};
    (void)secret_of(json_object_get(c->json, "service"), "sessionKeyPrivateEd25519", by.b);
    const struct authz a = {.auth = t->service_sig,
                            .text_a = wire_session(&c->params),
                            .text_b = t->signed_text};
    assert_true(authz_verify(&a, &by, 1));
}

/* What parsing says is also what the reference answered. */
static void check_refusal(const json_t *step, enum err e) {
    const json_t *answer = json_array_get(json_object_get(step, "answers"), 0);
    struct blob text = blob_of_hex(json_string_value(json_array_get(answer, 2)));
    char expected[64];
    (void)snprintf(expected, sizeof expected, "ERR %s", err_wire(e));
    assert_text(blob_bytes(&text), expected);
    blob_freep(&text);
}

static unsigned check_command(const struct connection *c, const json_t *step) {
    if (!has(step, "command")) return 0;
    struct blob text = vectors_blob(step, "transmission");
    struct transmission t;
    struct command cmd;
    assert_int_equal(transmission_parse(blob_bytes(&text), &c->params, &t), OK);
    assert_hex(t.corr_id, step, "corrId");
    assert_hex(t.entity, step, "entityId");
    assert_hex(t.command, step, "command");
    assert_int_equal(t.has_service_sig, has(step, "serviceSigned"));
    if (t.auth.n != 0) check_authorization(c, &t, json_object_get(step, "key"));
    if (t.has_service_sig) check_service_signature(c, &t);
    const enum err e = command_parse(&t, c->params.version, &cmd);
    if (e != OK) check_refusal(step, e);
    blob_freep(&text);
    return 1;
}

static void commands_verify(void **state) {
    assert_true(each_step(state, check_command) >= 110);
}

/* ---- our client in place of the recorded one ---- */

/* As far as it writes such commands; false when not. */
static bool rewrite(const struct smp_head *h, const struct command *c, struct wr *w) {
    struct smp_new q = {.rcv_key = c->new_queue.rcv_auth_key,
                        .subscribe = c->new_queue.subscribe,
                        .mode = c->new_queue.is_contact ? MODE_CONTACT : MODE_MESSAGING};
    struct id msg_id;
    switch ((int)c->tag) {
    case CMD_NEW:
        if (c->new_queue.data.present || c->new_queue.has_notifier || c->new_queue.is_contact)
            return false;
        memcpy(q.dh_key, c->new_queue.rcv_dh_key.b, sizeof q.dh_key);
        smp_command_new(w, h, &q);
        return true;
    case CMD_KEY:
    case CMD_SKEY:
    case CMD_LKEY:
        smp_command_key(w, h, c->tag, &c->key);
        return true;
    case CMD_SEND:
        smp_command_send(w, h, c->send.notification, c->send.body);
        return true;
    case CMD_ACK:
        assert_true(id_from_bytes(c->ack.msg_id, &msg_id));
        smp_command_ack(w, h, &msg_id);
        return true;
    case CMD_NKEY:
        smp_command_nkey(w, h, &c->nkey.key, c->nkey.dh_key.b);
        return true;
    case CMD_LSET:
    case CMD_RKEY:
    case CMD_SUBS:
    case CMD_NSUBS:
    case CMD_RFWD:
    case CMD_RSLV:
        return false;
    default:
        smp_command_plain(w, h, c->tag);
        return true;
    }
}

static unsigned remake_command(const struct connection *c, const json_t *step) {
    if (!has(step, "command") || has(step, "serviceSigned")) return 0;
    struct blob text = vectors_blob(step, "transmission");
    struct transmission t;
    struct command cmd;
    bool remade = false;
    assert_int_equal(transmission_parse(blob_bytes(&text), &c->params, &t), OK);
    if (command_parse(&t, c->params.version, &cmd) == OK) {
        const json_t *key = json_object_get(step, "key");
        struct smp_head h = {.params = &c->params, .entity = t.entity};
        struct ed25519_key sign;
        struct box_key box;
        uint8_t again[SMP_BLOCK_LEN], pub[ED25519_LEN];
        assert_true(id_from_bytes(t.corr_id, &h.corr_id));
        if (key != NULL && has_type(key, "X25519")) {
            box = agreed(c, key, "private");
            h.auth.box = &box;
        } else if (key != NULL) {
            sign = secret_of(key, "private", pub);
            h.auth.sign = &sign;
        }
        struct wr w = wr_init(again, sizeof again);
        remade = rewrite(&h, &cmd, &w);
        if (remade) assert_bytes(wr_bytes(&w), blob_bytes(&text));
    }
    blob_freep(&text);
    return remade;
}

static void commands_are_made_again(void **state) {
    assert_true(each_step(state, remake_command) >= 50);
}

/* ---- answers ---- */

/* The queue of this recipient id, or the notifier of this id. */
static const json_t *queue_of(const struct connection *c, struct bytes id, bool is_notifier) {
    size_t i;
    const json_t *q;
    json_array_foreach(json_object_get(c->session, "queues"), i, q) {
        const json_t *of = is_notifier ? json_object_get(q, "notifier") : q;
        if (of == NULL) continue;
        struct blob b = vectors_blob(of, is_notifier ? "id" : "rcvId");
        const bool found = bytes_equal(blob_bytes(&b), id);
        blob_freep(&b);
        if (found) return of;
    }
    fail_msg("no such queue");
    return NULL;
}

/* Opened with the recipient's key, and boxed again with the server's. */
static void remake_msg(const struct connection *c, struct wr *w, const struct reply_to *to,
                       const struct reply_view_msg *msg) {
    const json_t *json = queue_of(c, to->entity, false);
    struct smp_queue q = {0};
    struct smp_received got;
    uint8_t shared[X25519_LEN], *text = exact_copy(msg->box);
    hex_member(json, "sharedDhPoint", shared, sizeof shared);
    q.body_key = box_key_from_secret(shared);
    const struct reply_view_msg copy = {msg->msg_id, bytes_of(text, msg->box.n)};
    assert_int_equal(smp_queue_open(&q, &copy, text, &got), OK);
    struct message *m = NULL;
    assert_int_equal(message_new(&got.msg_id, got.ts_s, got.notification, got.body, &m), OK);
    reply_msg(w, &c->params, to, m, &q.body_key);
    message_unref(m);
    free(text);
}

static void remake_nmsg(const struct connection *c, struct wr *w, const struct reply_to *to,
                        struct bytes nonce) {
    const json_t *notifier = queue_of(c, to->entity, true);
    const json_t *told = json_array_get(json_object_get(c->session, "notifications"), 0);
    uint8_t secret[X25519_LEN];
    struct id msg_id;
    hex_member(notifier, "sharedDhPoint", secret, sizeof secret);
    hex_member(told, "msgId", msg_id.b, sizeof msg_id.b);
    const struct reply_ntf n = {
        .msg_id = &msg_id,
        .ts_s = json_integer_value(json_object_get(told, "timestamp")),
        .dh_secret = secret,
        .nonce = nonce.p,
    };
    reply_nmsg(w, &c->params, to, &n);
}

static void remake_ids(const struct wire_params *p, struct wr *w, const struct reply_to *to,
                       const struct reply_view_ids *a) {
    struct reply_ids ids = {.rcv_id = a->rcv_id,
                            .snd_id = a->snd_id,
                            .mode = a->mode,
                            .link_id = a->has_link ? &a->link_id : NULL,
                            .service_id = a->has_service ? &a->service_id : NULL,
                            .notifier_id = a->has_notifier ? &a->notifier_id : NULL};
    memcpy(ids.dh_key, a->dh_key, sizeof ids.dh_key);
    memcpy(ids.ntf_dh_key, a->ntf_dh_key, sizeof ids.ntf_dh_key);
    reply_ids(w, p, to, &ids);
}

static void remake_lnk(const struct wire_params *p, struct wr *w, const struct reply_to *to,
                       const struct reply_view *a) {
    struct link_data *link = NULL;
    assert_int_equal(link_data_new(&a->lnk.snd_id, a->lnk.fixed, a->lnk.user, &link), OK);
    reply_lnk(w, p, to, &a->lnk.snd_id, link);
    link_data_unref(link);
}

static struct name_failure name_failure_of(struct bytes text) {
    static const char *const TEXTS[] = {
        [NAME_NOT_FOUND] = "NAME NOT_FOUND",
        [NAME_TIMEOUT] = "NAME RESOLVER timeout",
        [NAME_TRANSPORT] = "NAME RESOLVER transport failure",
        [NAME_TOO_LARGE] = "NAME RESOLVER response too large",
        [NAME_INVALID] = "NAME RESOLVER invalid response",
    };
    struct name_failure f = {.error = NAME_HTTP};
    for (enum name_error e = NAME_NOT_FOUND; e < NAME_HTTP; e++) {
        if (bytes_equal(text, bytes_str(TEXTS[e]))) return (struct name_failure){.error = e};
    }
    char s[64] = {0};
    assert_true(text.n < sizeof s);
    memcpy(s, text.p, text.n);
    assert_int_equal(sscanf(s, "NAME RESOLVER HTTP %u", &f.status), 1);
    return f;
}

static void remake_err(const struct wire_params *p, struct wr *w, const struct reply_to *to,
                       const struct reply_view_err *err) {
    if (err->code != N_ERRS) {
        reply_err(w, p, to, err->code);
        return;
    }
    const struct name_failure f = name_failure_of(err->text);
    reply_name_err(w, p, to, &f);
}

/* False for what we do not write so: INFO (the reference tells fractions of seconds), and layers,
 * which are below. */
static bool remake(const struct connection *c, const struct wire_params *p, struct wr *w,
                   const struct reply_to *to, const struct reply_view *a) {
    switch ((int)a->tag) {
    case REPLY_IDS:
        remake_ids(p, w, to, &a->ids);
        return true;
    case REPLY_LNK:
        remake_lnk(p, w, to, a);
        return true;
    case REPLY_SOK:
        reply_sok(w, p, to, a->sok.has_service ? &a->sok.service_id : NULL);
        return true;
    case REPLY_SOKS:
        reply_soks(w, p, to, &a->sum);
        return true;
    case REPLY_ENDS:
        reply_ends(w, p, to, &a->sum);
        return true;
    case REPLY_ALLS:
        reply_alls(w, p);
        return true;
    case REPLY_MSG:
        remake_msg(c, w, to, &a->msg);
        return true;
    case REPLY_NID:
        reply_nid(w, p, to, &a->nid.notifier_id, a->nid.dh_key);
        return true;
    case REPLY_NMSG:
        remake_nmsg(c, w, to, a->nmsg.nonce);
        return true;
    case REPLY_END:
        reply_end(w, p, to);
        return true;
    case REPLY_DELD:
        reply_deld(w, p, to);
        return true;
    case REPLY_OK:
        reply_ok(w, p, to);
        return true;
    case REPLY_PONG:
        reply_pong(w, p, to);
        return true;
    case REPLY_ERR:
        remake_err(p, w, to, &a->err);
        return true;
    default:
        return false;
    }
}

static bool begins_with(struct bytes text, const char *start) {
    const struct bytes s = bytes_str(start);
    return text.n >= s.n && memcmp(text.p, s.p, s.n) == 0;
}

/* Of an answer's text. */
static bool remake_text(const struct connection *c, const struct wire_params *p, struct wr *w,
                        const struct reply_to *to, struct bytes text) {
    static const char RNAME[] = "RNAME "; /* our clients ask for no names */
    struct reply_view a;
    if (begins_with(text, RNAME)) {
        const size_t n = strlen(RNAME);
        reply_rname(w, p, to, bytes_of(text.p + n, text.n - n));
        return true;
    }
    assert_int_equal(reply_parse(text, p->version, &a), OK);
    return remake(c, p, w, to, &a);
}

/* answer: [corrId, entity, text]. */
static unsigned check_answer(const struct connection *c, const struct wire_params *p,
                             const json_t *answer) {
    struct blob parts[3];
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        parts[i] = blob_of_hex(json_string_value(json_array_get(answer, i)));
    }
    const struct bytes text = blob_bytes(&parts[2]);
    const struct reply_to to = {blob_bytes(&parts[0]), blob_bytes(&parts[1])};
    uint8_t again[SMP_BLOCK_LEN], expected[SMP_BLOCK_LEN];
    struct wr w = wr_init(again, sizeof again), e = wr_init(expected, sizeof expected);
    transmission_begin(&e, p, to.corr_id, to.entity);
    wr_bytes_raw(&e, text);
    const bool remade = remake_text(c, p, &w, &to, text);
    if (remade) assert_bytes(wr_bytes(&w), wr_bytes(&e));
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) blob_freep(&parts[i]);
    return remade;
}

static unsigned check_answers(const struct connection *c, const json_t *step) {
    unsigned sum = 0;
    size_t i;
    const json_t *answer;
    json_array_foreach(json_object_get(step, "answers"), i, answer) {
        sum += check_answer(c, &c->params, answer);
    }
    return sum;
}

static void answers_are_made_again(void **state) {
    assert_true(each_step(state, check_answers) >= 110);
}

/* ---- forwarded commands: both layers, both directions ---- */

struct layers {
    struct box_key proxy, client;
    struct blob corr_id, client_corr_id;
    struct box_nonce nonce;
    struct wire_params inner; /* of the client, in the relay's session */
};

static void check_inner(const struct connection *c, const struct layers *l, const json_t *step,
                        struct bytes content) {
    struct bytes texts[SMP_BATCH_MAX];
    struct transmission t;
    unsigned n = 0;
    assert_int_equal(batch_split(content, texts, &n), OK);
    assert_int_equal(n, 1);
    assert_hex(texts[0], step, "innerTransmission");
    assert_int_equal(transmission_parse(texts[0], &l->inner, &t), OK);
    if (t.auth.n == 0) return;
    const json_t *queue = json_array_get(json_object_get(c->session, "queues"), 0);
    check_authorization(c, &t, json_object_get(queue, "sndKey"));
}

static void check_forwarded(const struct connection *c, const struct layers *l,
                            const json_t *step) {
    struct blob command = vectors_blob(step, "command"),
                text = vectors_blob(step, "innerTransmission");
    const size_t head = strlen("RFWD ");
    struct forward f;
    struct bytes content;
    uint8_t inner[SMP_BLOCK_LEN], outer[SMP_BLOCK_LEN];
    uint8_t *opened = exact_copy(bytes_of(command.p + head, command.n - head));
    assert_int_equal(forward_open(&l->proxy, &l->nonce, opened, command.n - head, &f), OK);
    assert_int_equal(f.version, l->inner.version);
    assert_bytes(f.corr_id, blob_bytes(&l->client_corr_id));
    struct wr in = wr_init(inner, sizeof inner), out = wr_init(outer, sizeof outer);
    wr_str(&out, "RFWD ");
    assert_int_equal(forward_seal_command(&l->client, f.corr_id, blob_bytes(&text), &in), OK);
    assert_bytes(wr_bytes(&in), f.body);
    assert_int_equal(forward_seal(&l->proxy, &l->nonce, &f, &out), OK);
    assert_bytes(wr_bytes(&out), blob_bytes(&command));
    assert_int_equal(forward_open_inner(&l->client, &f, opened, &content), OK);
    check_inner(c, l, step, content);
    free(opened);
    blob_freep(&command);
    blob_freep(&text);
}

static unsigned check_forwarded_answer(const struct connection *c, const struct layers *l,
                                       const json_t *step) {
    const json_t *answer = json_array_get(json_object_get(step, "answers"), 0);
    struct blob rres = blob_of_hex(json_string_value(json_array_get(answer, 2)));
    const size_t head = strlen("RRES ");
    struct bytes body, content, texts[SMP_BATCH_MAX];
    unsigned n = 0;
    uint8_t again[SMP_BLOCK_LEN];
    uint8_t *opened = exact_copy(bytes_of(rres.p + head, rres.n - head));
    assert_int_equal(forward_open_answer(&l->proxy, &l->nonce, opened, rres.n - head, &body), OK);
    assert_int_equal(forward_open_pres(&l->client, blob_bytes(&l->client_corr_id),
                                       opened + (body.p - opened), body.n, &content),
                     OK);
    assert_int_equal(batch_split(content, texts, &n), OK);
    assert_int_equal(n, 1);
    struct wr w = wr_init(again, sizeof again);
    wr_str(&w, "RRES ");
    assert_int_equal(forward_seal_answer(&l->client, &l->proxy, &l->nonce,
                                         blob_bytes(&l->client_corr_id), texts[0], &w),
                     OK);
    assert_bytes(wr_bytes(&w), blob_bytes(&rres));
    (void)check_answer(c, &l->inner, json_object_get(step, "innerAnswer"));
    free(opened);
    blob_freep(&rres);
    return 1;
}

static unsigned check_layers(const struct connection *c, const json_t *step) {
    if (!has(step, "clientVersion")) return 0;
    struct layers l = {.proxy = agreed(c, c->json, "clientSessionKeyPrivate"),
                       .client = agreed(c, step, "clientKeyPrivate"),
                       .corr_id = vectors_blob(step, "corrId"),
                       .client_corr_id = vectors_blob(step, "clientCorrId"),
                       .inner = c->params};
    l.nonce = box_nonce_from_corr_id(blob_bytes(&l.corr_id));
    l.inner.version = version_of(step, "clientVersion");
    check_forwarded(c, &l, step);
    /* Without: the answer did not fit. */
    const unsigned n = has(step, "innerAnswer") ? check_forwarded_answer(c, &l, step) : 0;
    blob_freep(&l.corr_id);
    blob_freep(&l.client_corr_id);
    return n;
}

static void layers_are_made_again(void **state) {
    assert_true(each_step(state, check_layers) >= 6);
}

/* ---- each test for each file ---- */

static const struct {
    const char *name;
    CMUnitTestFunction fn;
} TESTS[] = {
    {"hellos are made again", hellos_are_made_again},
    {"commands verify", commands_verify},
    {"commands are made again", commands_are_made_again},
    {"answers are made again", answers_are_made_again},
    {"layers are made again", layers_are_made_again},
};

int main(void) {
    static char files[][32] = {"session-v19.json", "session-v20.json"};
    static char names[ARRAY_LEN(files)][ARRAY_LEN(TESTS)][96];
    struct CMUnitTest tests[ARRAY_LEN(files) * ARRAY_LEN(TESTS)], *next = tests;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        for (size_t k = 0; k < ARRAY_LEN(TESTS); k++) {
            (void)snprintf(names[i][k], sizeof names[i][k], "%s: %s", files[i], TESTS[k].name);
            *next++ = (struct CMUnitTest){names[i][k], TESTS[k].fn, NULL, NULL, files[i]};
        }
    }
    return cmocka_run_group_tests_name("replay_sessions", tests, init_crypto, NULL);
}
