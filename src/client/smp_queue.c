/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "client/smp_queue.h"

#include <assert.h>

#include "base/rd.h"
#include "crypto/crypto.h"

void smp_queue_init(struct smp_queue *q, const struct env *env, uint16_t version) {
    *q = (struct smp_queue){.is_signed_by_sender = !version_has(version, V_AUTH_CMDS)};
    ed25519_key_new(env, &q->rcv_key);
    x25519_pair_new(env, &q->dh);
    if (q->is_signed_by_sender) {
        ed25519_key_new(env, &q->snd_key.sign);
    } else {
        x25519_pair_new(env, &q->snd_key.agree);
    }
}

void smp_queue_done(struct smp_queue *q) {
    crypto_wipe(q, sizeof *q);
}

void smp_queue_describe(const struct smp_queue *q, struct smp_new *ret) {
    ret->rcv_key = pubkey_from_ed25519(&q->rcv_key);
    memcpy(ret->dh_key, q->dh.pub, sizeof ret->dh_key);
}

static enum err agree(const struct x25519_pair *ours, const uint8_t theirs[X25519_LEN],
                      struct box_key *ret) {
    uint8_t secret[X25519_LEN];
    const enum err e = x25519_dh(ours->priv, theirs, secret);
    if (e == OK) *ret = box_key_from_secret(secret);
    crypto_wipe(secret, sizeof secret);
    return e;
}

enum err smp_queue_take_ids(struct smp_queue *q, const struct reply_view_ids *ids) {
    const enum err e = agree(&q->dh, ids->dh_key, &q->body_key);
    if (e != OK) return e;
    crypto_wipe(&q->dh, sizeof q->dh);
    q->rcv_id = ids->rcv_id;
    q->snd_id = ids->snd_id;
    return OK;
}

struct pubkey smp_queue_sender_key(const struct smp_queue *q) {
    return q->is_signed_by_sender ? pubkey_from_ed25519(&q->snd_key.sign)
                                  : pubkey_from_x25519(q->snd_key.agree.pub);
}

enum err smp_queue_meet(struct smp_queue *q, const uint8_t *session_key) {
    if (q->is_signed_by_sender) return OK;
    assert(session_key != NULL);
    return agree(&q->snd_key.agree, session_key, &q->snd_box);
}

struct smp_auth smp_queue_recipient(const struct smp_queue *q) {
    return (struct smp_auth){.sign = &q->rcv_key};
}

struct smp_auth smp_queue_sender(const struct smp_queue *q) {
    if (q->is_signed_by_sender) return (struct smp_auth){.sign = &q->snd_key.sign};
    return (struct smp_auth){.box = &q->snd_box};
}

/* ---- messages ---- */

static const char QUOTA_TAG[] = "QUOTA ";

/* No time of a message begins like that: it would be in the year 185 billion. */
static bool is_quota(struct bytes content) {
    const struct bytes tag = bytes_str(QUOTA_TAG);
    return content.n >= tag.n && bytes_equal(bytes_of(content.p, tag.n), tag);
}

static enum err parse_content(struct bytes content, struct smp_received *ret) {
    struct rd r = rd_init(content);
    ret->is_quota = is_quota(content);
    if (ret->is_quota) {
        (void)rd_take(&r, sizeof QUOTA_TAG - 1);
        ret->ts_s = rd_i64(&r);
        return rd_end(&r);
    }
    ret->ts_s = rd_i64(&r);
    ret->notification = rd_bool(&r);
    (void)rd_until(&r, ' '); /* flags of the future */
    rd_lit(&r, ' ');
    ret->body = rd_tail(&r);
    return rd_end(&r);
}

enum err smp_queue_open(const struct smp_queue *q, const struct reply_view_msg *m, uint8_t *message,
                        struct smp_received *ret) {
    const struct box_nonce nonce = box_nonce_from_corr_id(id_bytes(&m->msg_id));
    struct bytes padded;
    uint8_t *box = message + (m->box.n != 0 ? m->box.p - message : 0);
    enum err e = box_open(&q->body_key, &nonce, box, m->box.n, &padded);
    if (e != OK) return e;
    struct rd r = rd_init(padded);
    const struct bytes content = rd_large(&r);
    if (rd_err(&r) != OK) return rd_err(&r);
    struct smp_received received = {.msg_id = m->msg_id};
    e = parse_content(content, &received);
    if (e == OK) *ret = received;
    return e;
}
