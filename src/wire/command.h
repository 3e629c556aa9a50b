/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* command.h -- a command's text parsed into a struct, and the rules on its credentials (spec: wire,
 * section 5).
 *
 * Pure; any thread; all byte views point into the block. To add a command: one row in commands.def,
 * its arguments here, its parse_<params> in command.c, its cmd_<fn> in relay/. */
#pragma once

#include "crypto/key.h"
#include "model/queue.h"
#include "model/service_record.h"
#include "wire/transmission.h"
#include "wire/version.h"

enum command_tag {
#define CMD(tag, since, party, auth, entity, sig, lookup, want, key, blocked, forward, refused,    \
            fn, params)                                                                            \
    CMD_##tag,
#include "wire/commands.def"
#undef CMD
    N_COMMANDS
};

enum command_party {
    PARTY_CREATOR,
    PARTY_RECIPIENT,
    PARTY_RECIPIENT_SERVICE,
    PARTY_SENDER,
    PARTY_SENDER_LINK,
    PARTY_NOTIFIER,
    PARTY_NOTIFIER_SERVICE,
    PARTY_IDLE,
    PARTY_PROXIED_CLIENT,
    PARTY_PROXY_SERVICE,
    PARTY_RESOLVER
};
enum credential { CREDENTIAL_NO, CREDENTIAL_YES, CREDENTIAL_OPT };
enum command_lookup {
    LOOKUP_NOTHING,
    LOOKUP_RECIPIENT,
    LOOKUP_SENDER,
    LOOKUP_LINK,
    LOOKUP_NOTIFIER
};
enum command_key {
    NEED_KEY_NONE,
    NEED_KEY_IN_COMMAND,
    NEED_KEY_RECIPIENT,
    NEED_KEY_SENDER,
    NEED_KEY_NOTIFIER,
    NEED_KEY_SERVICE
};

/* What a blocked queue does about a command. */
enum command_blocked { BLOCKED_ANSWERS, BLOCKED_LEAVES, BLOCKED_IGNORES };

struct command_row {
    const char *tag;
    uint8_t since;
    enum command_party party;
    enum credential auth, entity;
    bool service_sig; /* needs the service signature in the session of a service */
    enum command_lookup lookup;
    enum queue_want want; /* what of its queue it looks at; WANT_FREE: its own ids */
    enum command_key key;
    enum command_blocked blocked;
    bool may_be_forwarded;
};
const struct command_row *command_row(enum command_tag tag); /* static */
/* May a service of this role send it? */
bool command_fits_role(const struct command_row *row, enum service_role role);

/* What the creator says about the queue (versions 9 to 14 know only the mode). */
struct new_queue_data {
    bool present;                 /* link data follows */
    struct bytes link_id, snd_id; /* link_id: contact queues only */
    struct bytes fixed, user;
};

struct cmd_new {
    struct pubkey rcv_auth_key;
    struct pubkey rcv_dh_key; /* X25519 */
    bool has_basic_auth;
    struct bytes basic_auth;
    bool subscribe;
    bool has_mode;
    bool is_contact; /* when has_mode */
    struct new_queue_data data;
    bool has_notifier;
    struct pubkey ntf_key;
    struct pubkey ntf_dh_key; /* X25519 */
};

struct cmd_link {
    struct bytes link_id, fixed, user;
};

struct cmd_service_subs {
    int64_t count;         /* -1 below version 19 */
    struct bytes ids_hash; /* 16 bytes, empty below version 19 */
};

struct command {
    enum command_tag tag;
    union {
        struct cmd_new new_queue;
        struct pubkey key; /* KEY, SKEY, LKEY */
        struct {
            struct bytes items;
            unsigned n;
        } rkey; /* command_rkey() */
        struct cmd_link lset;
        struct {
            struct pubkey key, dh_key;
        } nkey;
        struct {
            struct bytes msg_id;
        } ack;
        struct {
            bool notification;
            struct bytes body;
        } send;
        struct cmd_service_subs subs; /* SUBS, NSUBS */
        struct {
            struct bytes hosts, port, identity;
            bool has_basic_auth;
            struct bytes basic_auth;
        } prxy; /* hosts: items of the list */
        struct {
            uint16_t version;
            struct pubkey key;
            struct bytes body;
        } pfwd;
        struct {
            struct bytes body;
        } rfwd;
        struct {
            struct bytes name;
        } rslv;
    };
};

/* E_CMD_UNKNOWN, E_CMD_SYNTAX, or one of the credential errors of the table's auth and entity
 * columns. */
MUST_USE enum err command_parse(const struct transmission *t, uint16_t version,
                                struct command *ret);

/* The keys of an RKEY command; ret has room for c->rkey.n of them. */
void command_rkey(const struct command *c, struct pubkey *ret);

/* Largest SEND body of a version. */
size_t command_max_body(uint16_t version);
