/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_node.h -- who is active on a schema, and who waits to take over.
 *
 * One process at a time has the row of node 0 in smpn_node. It sets beat_at there each second, by
 * the database's clock, and state when it leaves; its epoch is that of the lane (db_lane.c), so
 * whoever takes the row can commit, and nobody else. Who waits has a row in smpn_standby. */
#pragma once

#include "crypto/crypto.h"
#include "store/db/db.h"

enum {
    DB_ADDRESS_MAX = 96,       /* bytes of who a process is, in words, with terminator */
    DB_BEAT_MS = 1000,         /* from beat to beat */
    DB_BEAT_SILENT_MS = 7000,  /* without one, an active server that has a standby ends */
    DB_BEAT_DEAD_MS = 10000,   /* without one, it is taken for dead */
    DB_BEAT_PATIENCE_MS = 2000 /* that one may take */
};

/* A server, as others find it in the database. */
struct db_node {
    char address[DB_ADDRESS_MAX];
    char version[32];
    uint8_t identity[SHA256_LEN]; /* fingerprint of its CA */
    int64_t epoch;                /* claimed already, by db_standby_look(); 0: not */
};

/* What is in the database of them. */
struct db_nodes {
    bool is_there; /* somebody has been active */
    bool has_left; /* by an orderly stop */
    char active[DB_ADDRESS_MAX], version[32];
    int64_t epoch, beat_us; /* the beat: database's clock */
    int64_t age_ms;         /* of the beat */
    int64_t n_standbys;
    bool db_is_old; /* PostgreSQL has run for longer than DB_BEAT_DEAD_MS */
    bool is_other;  /* identity: not ours, or not known */
    uint8_t identity[SHA256_LEN];
};
/* Changes nothing. identity: ours. E_STORE, E_CLOSED. */
MUST_USE enum err db_nodes_find(const struct db_opts *o, const uint8_t identity[SHA256_LEN],
                                struct db_nodes *ret, struct store_problem *ret_problem);

/* ---- waiting ---- */

struct db_standby;

struct db_standby_opts {
    const struct env *env;
    struct db_opts db; /* borrowed strings */
    struct db_node node;
    bool migrates; /* makes what the schema lacks */
};
struct db_standby_view {
    int64_t epoch; /* not 0: it is our turn, and nobody else can commit with an older one */
    struct db_nodes nodes;
};
MUST_USE enum err db_standby_new(const struct db_standby_opts *o, struct db_standby **ret);
/* Looks, and takes over when the active one has left, or has shown no sign of life for
 * DB_BEAT_DEAD_MS in which the database could be seen; to be called a few times a second. E_CLOSED:
 * there is no way to the database, for now. E_CONFIG, E_NOT_FOUND, E_VERSION, E_IDENTITY: there is
 * no use in waiting. */
MUST_USE enum err db_standby_look(struct db_standby *s, struct db_standby_view *ret,
                                  struct store_problem *ret_problem);
void db_standby_free(struct db_standby *s); /* NULL is a no-op */
