/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* command_fixture.h -- a valid text of each command in each version, and what credentials it comes
 * with. */
#pragma once

#include "wire_fixture.h"

#include "model/limits.h"
#include "wire/command.h"

enum { TEXT_MAX = SMP_BLOCK_LEN };

/* What a transmission brings besides the command. */
enum { BARE = 0, WITH_AUTH = 1, WITH_ENTITY = 2, WITH_BOTH = 3 };

static inline enum err parse_with(unsigned credentials, uint16_t version, struct bytes text,
                                  struct command *ret) {
    static const uint8_t FILL[64];
    struct transmission t = {.command = text};
    if ((credentials & WITH_AUTH) != 0) t.auth = bytes_of(FILL, 64);
    if ((credentials & WITH_ENTITY) != 0) t.entity = bytes_of(FILL, ID_LEN);
    memset(ret, 0xee, sizeof *ret);
    return command_parse(&t, version, ret);
}

/* ---- a valid text of each command ---- */

static inline void put_no_params(struct wr *w, uint16_t version) {
    (void)w;
    (void)version;
}

static inline void put_auth_key(struct wr *w, uint16_t version) {
    (void)version;
    wr_u8(w, ' ');
    put_key(w, KEY_ED448, 0x21);
}

static inline void put_new(struct wr *w, uint16_t version) {
    wr_u8(w, ' ');
    put_key(w, KEY_ED25519, 0x21);
    put_key(w, KEY_X25519, 0x22);
    wr_str(w, version < 9 ? "A" : "1");
    wr_short(w, bytes_str("secret"));
    wr_str(w, "S");
    if (version < 9) return;
    if (version < 15) {
        wr_str(w, "T");
        return;
    }
    wr_str(w, "1C1");
    wr_short(w, bytes_str("link"));
    wr_short(w, bytes_str("sender"));
    wr_large(w, bytes_str("fixed"));
    wr_large(w, bytes_str("user data"));
    if (version < 17) return;
    wr_str(w, "1");
    put_key(w, KEY_X25519, 0x23);
    put_key(w, KEY_X25519, 0x24);
}

static inline void put_rkey(struct wr *w, uint16_t version) {
    (void)version;
    wr_str(w, " \x03");
    put_key(w, KEY_ED25519, 1);
    put_key(w, KEY_X25519, 2);
    put_key(w, KEY_ED448, 3);
}

static inline void put_lset(struct wr *w, uint16_t version) {
    (void)version;
    wr_u8(w, ' ');
    wr_short(w, bytes_str("link"));
    wr_large(w, bytes_str("fixed"));
    wr_large(w, bytes_str("user data"));
}

static inline void put_nkey(struct wr *w, uint16_t version) {
    (void)version;
    wr_u8(w, ' ');
    put_key(w, KEY_ED25519, 0x31);
    put_key(w, KEY_X25519, 0x32);
}

static inline void put_ack(struct wr *w, uint16_t version) {
    (void)version;
    wr_u8(w, ' ');
    wr_short(w, bytes_str("message id"));
}

static inline void put_send(struct wr *w, uint16_t version) {
    (void)version;
    wr_str(w, " T body");
}

static inline void put_subs(struct wr *w, uint16_t version) {
    if (version < 19) return;
    wr_u8(w, ' ');
    wr_i64(w, 0x1234567890);
    wr_short(w, bytes_str("0123456789abcdef"));
}

static inline void put_prxy(struct wr *w, uint16_t version) {
    (void)version;
    wr_str(w, " \x02");
    wr_short(w, bytes_str("smp.example.com"));
    wr_short(w, bytes_str("example.onion"));
    wr_short(w, bytes_str("5223"));
    wr_short(w, bytes_str("identity"));
    wr_str(w, "1");
    wr_short(w, bytes_str("secret"));
}

static inline void put_pfwd(struct wr *w, uint16_t version) {
    (void)version;
    wr_u8(w, ' ');
    wr_u16(w, 18);
    put_key(w, KEY_X25519, 0x41);
    wr_str(w, "body");
}

static inline void put_rfwd(struct wr *w, uint16_t version) {
    (void)version;
    wr_str(w, " body");
}

static inline void put_rslv(struct wr *w, uint16_t version) {
    (void)version;
    wr_str(w, " alice.simplex");
}

/* What to answer without anything, with an authorization alone, with an entity alone, with both. */
/* clang-format off */
#define NEEDS_BOTH   {E_CMD_NO_AUTH,   E_CMD_NO_AUTH,   E_CMD_NO_AUTH,  OK}
#define NEEDS_AUTH   {E_CMD_NO_AUTH,   OK,              E_CMD_NO_AUTH,  E_CMD_HAS_AUTH}
#define ENTITY_ONLY  {E_CMD_NO_ENTITY, E_CMD_NO_ENTITY, OK,             E_CMD_HAS_AUTH}
#define AUTH_IF_KEYS {E_CMD_NO_ENTITY, E_CMD_NO_ENTITY, OK,             OK}
#define NEITHER      {OK,              E_CMD_HAS_AUTH,  E_CMD_HAS_AUTH, E_CMD_HAS_AUTH}

/* tail: bytes of the text that may be cut off, or followed by others, without an error. */
static const struct sample {
    const char *tag;
    void (*put)(struct wr *w, uint16_t version);
    unsigned credentials; /* with which it is valid */
    size_t tail;
    bool has_tail;
    enum err answers[4];
} SAMPLES[N_COMMANDS] = {
    [CMD_NEW]   = {"NEW",   put_new,       WITH_AUTH,   0, false, NEEDS_AUTH},
    [CMD_SUB]   = {"SUB",   put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_SUBS]  = {"SUBS",  put_subs,      WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_KEY]   = {"KEY",   put_auth_key,  WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_RKEY]  = {"RKEY",  put_rkey,      WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_LSET]  = {"LSET",  put_lset,      WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_LDEL]  = {"LDEL",  put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_NKEY]  = {"NKEY",  put_nkey,      WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_NDEL]  = {"NDEL",  put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_GET]   = {"GET",   put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_ACK]   = {"ACK",   put_ack,       WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_OFF]   = {"OFF",   put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_DEL]   = {"DEL",   put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_QUE]   = {"QUE",   put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_SKEY]  = {"SKEY",  put_auth_key,  WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_SEND]  = {"SEND",  put_send,      WITH_BOTH,   4, true,  AUTH_IF_KEYS},
    [CMD_LKEY]  = {"LKEY",  put_auth_key,  WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_LGET]  = {"LGET",  put_no_params, WITH_ENTITY, 0, false, ENTITY_ONLY},
    [CMD_NSUB]  = {"NSUB",  put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_NSUBS] = {"NSUBS", put_subs,      WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_PING]  = {"PING",  put_no_params, BARE,        0, false, NEITHER},
    [CMD_PRXY]  = {"PRXY",  put_prxy,      BARE,        0, false, NEITHER},
    [CMD_PFWD]  = {"PFWD",  put_pfwd,      WITH_ENTITY, 4, true,  ENTITY_ONLY},
    [CMD_RFWD]  = {"RFWD",  put_rfwd,      BARE,        4, true,  NEITHER},
    [CMD_RSLV]  = {"RSLV",  put_rslv,      BARE,        6, true,  NEITHER},
};
/* clang-format on */

static inline struct bytes sample_text(const struct sample *s, uint16_t version,
                                       uint8_t ret[TEXT_MAX]) {
    struct wr w = wr_init(ret, TEXT_MAX);
    wr_str(&w, s->tag);
    s->put(&w, version);
    assert_int_equal(wr_err(&w), OK);
    return wr_bytes(&w);
}
