/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "client/smp_command.h"

#include <stdio.h>

#include "crypto/authz.h"
#include "wire/transmission.h"

/* ---- head and authorization ---- */

/* Where the parts of a transmission are that is being written. */
struct draft {
    struct wr *w;
    const struct smp_head *head;
    size_t auth, text; /* offsets */
};

static size_t auth_len(const struct smp_auth *a) {
    if (a->sign != NULL) return ED25519_SIG_LEN;
    return a->box != NULL ? AUTHENTICATOR_LEN : 0;
}

/* The authorization's length is known beforehand, its room is left free. What is not authorized
 * says nothing about a service signature either. */
static struct draft begin(struct wr *w, const struct smp_head *h, const char *tag) {
    struct draft d = {.w = w, .head = h};
    const size_t n_auth = auth_len(&h->auth);
    wr_u8(w, (uint8_t)n_auth);
    d.auth = w->at;
    (void)wr_skip(w, n_auth);
    if (n_auth != 0 && version_has(h->params->version, V_SERVICE_CERTS)) wr_maybe(w, false);
    if (!version_has(h->params->version, V_AUTH_CMDS)) wr_bytes_raw(w, wire_session(h->params));
    d.text = w->at;
    wr_short(w, id_bytes(&h->corr_id));
    wr_short(w, h->entity);
    wr_str(w, tag);
    return d;
}

static void finish(const struct draft *d) {
    struct wr *w = d->w;
    const struct smp_auth *a = &d->head->auth;
    if (wr_err(w) != OK) return;
    const struct bytes session = wire_session(d->head->params);
    const struct bytes text = bytes_of(w->p + d->text, w->at - d->text);
    enum err e = OK;
    if (a->sign != NULL) {
        e = ed25519_sign(a->sign, session, text, w->p + d->auth);
    } else if (a->box != NULL) {
        e = authz_box(a->box, session, text, id_bytes(&d->head->corr_id), w->p + d->auth);
    }
    if (e != OK) w->err = e;
}

static void write_key(struct wr *w, const struct pubkey *k) {
    wr_u8(w, (uint8_t)pubkey_spki_len(k->type));
    pubkey_write_spki(k, w);
}

static void write_x25519(struct wr *w, const uint8_t pub[X25519_LEN]) {
    const struct pubkey k = pubkey_from_x25519(pub);
    write_key(w, &k);
}

static void write_maybe_short(struct wr *w, struct bytes b) {
    wr_maybe(w, b.n != 0);
    if (b.n != 0) wr_short(w, b);
}

/* ---- commands ---- */

/* Below V_SND_AUTH_KEY the password is marked by 'A', and nothing is said of a mode. */
static void write_legacy_new(struct wr *w, const struct smp_new *q) {
    if (q->basic_auth.n != 0) {
        wr_str(w, "A");
        wr_short(w, q->basic_auth);
    }
    wr_u8(w, q->subscribe ? 'S' : 'C');
}

static void write_new(struct wr *w, uint16_t version, const struct smp_new *q) {
    if (!version_has(version, V_SND_AUTH_KEY)) {
        write_legacy_new(w, q);
        return;
    }
    write_maybe_short(w, q->basic_auth);
    wr_u8(w, q->subscribe ? 'S' : 'C');
    if (!version_has(version, V_SHORT_LINKS)) {
        wr_bool(w, q->mode == MODE_MESSAGING);
        return;
    }
    wr_maybe(w, q->mode != MODE_UNKNOWN);
    if (q->mode != MODE_UNKNOWN) {
        wr_u8(w, q->mode == MODE_MESSAGING ? 'M' : 'C');
        wr_maybe(w, false); /* no link data */
    }
    if (version_has(version, V_NEW_NTF_CREDS)) wr_maybe(w, false);
}

void smp_command_new(struct wr *w, const struct smp_head *h, const struct smp_new *q) {
    const struct draft d = begin(w, h, "NEW ");
    write_key(w, &q->rcv_key);
    write_x25519(w, q->dh_key);
    write_new(w, h->params->version, q);
    finish(&d);
}

void smp_command_plain(struct wr *w, const struct smp_head *h, enum command_tag tag) {
    const struct draft d = begin(w, h, command_row(tag)->tag);
    finish(&d);
}

void smp_command_key(struct wr *w, const struct smp_head *h, enum command_tag tag,
                     const struct pubkey *key) {
    const struct draft d = begin(w, h, command_row(tag)->tag);
    wr_str(w, " ");
    write_key(w, key);
    finish(&d);
}

void smp_command_send(struct wr *w, const struct smp_head *h, bool notification,
                      struct bytes body) {
    const struct draft d = begin(w, h, "SEND ");
    wr_bool(w, notification);
    wr_str(w, " ");
    wr_bytes_raw(w, body);
    if (body.n > command_max_body(h->params->version)) w->err = E_LIMIT;
    finish(&d);
}

void smp_command_ack(struct wr *w, const struct smp_head *h, const struct id *msg_id) {
    const struct draft d = begin(w, h, "ACK ");
    wr_short(w, id_bytes(msg_id));
    finish(&d);
}

void smp_command_nkey(struct wr *w, const struct smp_head *h, const struct pubkey *key,
                      const uint8_t dh_key[X25519_LEN]) {
    const struct draft d = begin(w, h, "NKEY ");
    write_key(w, key);
    write_x25519(w, dh_key);
    finish(&d);
}

void smp_command_prxy(struct wr *w, const struct smp_head *h, const struct smp_relay *relay) {
    char port[sizeof "65535"];
    (void)snprintf(port, sizeof port, "%u", (unsigned)relay->port);
    const struct draft d = begin(w, h, "PRXY ");
    wr_u8(w, 1); /* host */
    wr_short(w, bytes_str(relay->host));
    wr_short(w, bytes_str(port));
    wr_short(w, relay->identity);
    write_maybe_short(w, relay->basic_auth);
    finish(&d);
}

void smp_command_pfwd(struct wr *w, const struct smp_head *h, uint16_t version,
                      const uint8_t key[X25519_LEN], struct bytes body) {
    const struct draft d = begin(w, h, "PFWD ");
    wr_u16(w, version);
    write_x25519(w, key);
    wr_bytes_raw(w, body);
    finish(&d);
}
