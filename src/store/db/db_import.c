/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_import.c -- logs into the database, in one transaction: schema, services, queues, messages,
 * counters. So there is all or nothing, and it can be repeated.
 *
 * Lines are copied as they are read; what is kept in memory is which services there are, and of
 * each queue its id and secret, without which messages of 2.x cannot be read (60 bytes each). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/idmap.h"
#include "crypto/box.h"
#include "crypto/crypto.h"
#include "store/db/db_row.h"
#include "store/disk/store_log.h"

enum { CHUNK_LEN = 1024 };

/* What is known to be there, found by its id. */
struct known {
    struct idnode node;
    uint8_t secret[X25519_LEN]; /* of a queue: secret */
};
struct chunk {
    struct chunk *next;
    unsigned n;
    struct known all[CHUNK_LEN];
};
struct known_set {
    struct idmap map;
    struct chunk *chunks; /* owned */
};

enum phase { PHASE_SERVICES, PHASE_QUEUES };
enum table { TABLE_QUEUES, TABLE_MESSAGES, N_TABLES };
static const char *const TABLES[N_TABLES] = {"msg_queues", "messages"};

struct importer {
    struct db *db;
    const struct db_import *opts;
    struct db_counts counts;
    struct known_set services, queues;
    PGresult *indexes[N_TABLES]; /* owned: those that were taken away */
    enum phase phase;
    struct db_copy_in copy;
    struct record_scratch record; /* secret */
    struct db_row_buf row;        /* secret */
    struct msg_line_scratch message;
};

/* ---- what is known ---- */

static void known_init(struct known_set *k) {
    uint64_t seed[3];
    env_random(&ENV_SYSTEM, seed, sizeof seed);
    *k = (struct known_set){0};
    idmap_init(&k->map, seed);
}

static void known_done(struct known_set *k) {
    idmap_done(&k->map);
    for (struct chunk *c = k->chunks, *next; c != NULL; c = next) {
        next = c->next;
        crypto_wipe(c, sizeof *c);
        free(c);
    }
}

/* E_EXISTS, E_NO_MEMORY. */
static enum err known_add(struct known_set *k, const struct id *id, struct known **ret) {
    if (k->chunks == NULL || k->chunks->n == CHUNK_LEN) {
        struct chunk *c = malloc(sizeof *c);
        if (c == NULL) return E_NO_MEMORY;
        c->next = k->chunks;
        c->n = 0;
        k->chunks = c;
    }
    struct known *one = &k->chunks->all[k->chunks->n];
    one->node.id = *id;
    const enum err e = idmap_insert(&k->map, &one->node);
    if (e == OK) k->chunks->n++;
    *ret = one;
    return e;
}

static struct known *known_find(const struct known_set *k, const struct id *id) {
    struct idnode *n = idmap_find(&k->map, id);
    return n != NULL ? CONTAINER_OF(n, struct known, node) : NULL;
}

/* ---- indexes ---- */

enum { INDEX_DROP, INDEX_MAKE }; /* columns */

/* What comes row by row, at random places, costs far more than an index that is made of all rows at
 * once. Keys stay. Within the transaction. */
static enum err take_indexes(struct importer *x, enum table table) {
    PGresult **r = &x->indexes[table];
    enum err e = db__query(x->db, "look for the indexes",
                           "SELECT 'DROP INDEX ' || quote_ident(indexname), indexdef "
                           "FROM pg_indexes WHERE schemaname = current_schema() "
                           "AND tablename = $1 AND starts_with(indexname, 'idx_')",
                           TABLES[table], r);
    for (int i = 0; e == OK && i < PQntuples(*r); i++) {
        e = db__exec(x->db, "take an index away", PQgetvalue(*r, i, INDEX_DROP));
    }
    return e;
}

static enum err make_indexes(struct importer *x) {
    enum err e = OK;
    for (size_t t = 0; t < N_TABLES; t++) {
        PGresult *r = x->indexes[t];
        for (int i = 0; e == OK && i < PQntuples(r); i++) {
            e = db__exec(x->db, "make an index", PQgetvalue(r, i, INDEX_MAKE));
        }
    }
    return e;
}

/* ---- a log, line by line ---- */

struct log_reader {
    struct importer *x;
    const char *what; /* for the progress */
};

static void report(void *ctx, uint64_t done, uint64_t total) {
    const struct log_reader *r = ctx;
    if (r->x->opts->progress != NULL) r->x->opts->progress(r->what, done, total);
}

static enum err read_log(struct importer *x, const char *path, const char *what,
                         enum err (*line)(void *ctx, struct bytes text)) {
    struct log_reader r = {x, what};
    const struct store_log_opts o = {
        .env = &ENV_SYSTEM,
        .vfs = &VFS_SYSTEM,
        .path = path,
        .skip_warnings = x->opts->skip_warnings,
        .progress = report,
        .progress_ctx = &r,
    };
    struct store_log_stats stats = {0};
    struct store_log_problem problem = {0};
    const enum err e = store_log_read(&o, line, x, &stats, &problem);
    if (e == E_SYS) return db__say(x->db, e, "cannot read %s: %s", path, strerror(errno));
    if (problem.text[0] != '\0') return db__say(x->db, e, "%s", problem.text);
    return e;
}

/* ---- services and queues ---- */

#define COPY_SERVICES "COPY services (" DB_SERVICE_COLUMNS ") FROM STDIN (FORMAT binary)"
#define COPY_QUEUES   "COPY msg_queues (" DB_QUEUE_COLUMNS ") FROM STDIN (FORMAT binary)"
#define COPY_MESSAGES "COPY messages (" DB_MESSAGE_COLUMNS ") FROM STDIN (FORMAT binary)"

static enum err next_phase(struct importer *x) {
    const enum err e = db_copy_in_end(&x->copy, true);
    if (e != OK) return e;
    x->phase = PHASE_QUEUES;
    return db_copy_in_begin(x->db, "import queues", COPY_QUEUES, &x->copy);
}

/* Services come first in a compact log. */
static enum err take_service(struct importer *x, const struct record *r) {
    struct db_value v[N_DB_SERVICE_COLUMNS];
    struct known *known;
    if (x->phase != PHASE_SERVICES || db_service_to_row(r, &x->row, v) != OK) return E_SYNTAX;
    enum err e = known_add(&x->services, &r->service_id, &known);
    if (e == OK) e = db_copy_in_row(&x->copy, v, N_DB_SERVICE_COLUMNS);
    if (e == OK) x->counts.n_services++;
    return e;
}

/* The log may name a service that it does not have: no row may. */
static enum err take_queue(struct importer *x, struct record *r) {
    struct db_value v[N_DB_QUEUE_COLUMNS];
    enum err e = x->phase == PHASE_SERVICES ? next_phase(x) : OK;
    if (e != OK) return e;
    r->has_service = r->has_service && known_find(&x->services, &r->service_id) != NULL;
    r->has_ntf_service = r->has_ntf_service && known_find(&x->services, &r->ntf_service_id) != NULL;
    e = db_queue_to_row(r, &x->row, v);
    if (e == OK) e = db_copy_in_row(&x->copy, v, N_DB_QUEUE_COLUMNS);
    if (e == OK) x->counts.n_queues++;
    return e;
}

static enum err take_record(void *ctx, struct bytes line) {
    struct importer *x = ctx;
    struct record r;
    enum err e = record_parse(line, &x->record, &r);
    if (e != OK) return e;
    switch (r.tag) {
    case RECORD_NEW_SERVICE:
        e = take_service(x, &r);
        break;
    case RECORD_CREATE:
        e = take_queue(x, &r);
        break;
    default: /* not in a log that has just been compacted */
        e = E_SYNTAX;
    }
    crypto_wipe(&r, sizeof r);
    return e;
}

static enum err import_queues(struct importer *x) {
    enum err e = db_copy_in_begin(x->db, "import services", COPY_SERVICES, &x->copy);
    if (e != OK) return e;
    e = read_log(x, x->opts->store_log, "queues", take_record);
    if (e == OK && x->phase == PHASE_SERVICES) e = next_phase(x);
    if (x->copy.buf == NULL) return e; /* between the two */
    const enum err ended = db_copy_in_end(&x->copy, e == OK);
    return e == OK ? ended : e;
}

/* ---- messages ---- */

static enum err take_known(void *ctx, const struct db_value *v, unsigned n) {
    struct importer *x = ctx;
    struct known *known;
    struct id id;
    if (n != 2 || !id_from_bytes(v[0].b, &id) || v[1].b.n != X25519_LEN) {
        return db__say(x->db, E_STORE, "a row of msg_queues has an id or secret of another length");
    }
    const enum err e = known_add(&x->queues, &id, &known);
    if (e == OK) memcpy(known->secret, v[1].b.p, X25519_LEN);
    return e;
}

/* Lines of 2.x hold what the recipient was to get (msg_line.h). */
static enum err unseal(const struct known *queue, struct msg_line *m,
                       struct msg_line_scratch *scratch) {
    struct box_key key = box_key_from_secret(queue->secret);
    const struct box_nonce nonce = box_nonce_from_corr_id(id_bytes(&m->msg_id));
    struct bytes padded;
    const enum err e = box_open(&key, &nonce, scratch->body, m->body.n, &padded);
    crypto_wipe(&key, sizeof key);
    if (e != OK) return E_SYNTAX;
    struct rd r = rd_init(padded);
    m->body = rd_large(&r);
    return rd_err(&r);
}

static enum err take_message(void *ctx, struct bytes line) {
    struct importer *x = ctx;
    struct msg_line m;
    struct db_value v[N_DB_MESSAGE_COLUMNS];
    uint8_t time[DB_I64_LEN];
    enum err e = msg_line_parse(line, &x->message, &m);
    if (e != OK) return e;
    const struct known *queue = known_find(&x->queues, &m.rcv_id);
    if (queue == NULL) {
        x->counts.n_left_out++;
        return OK;
    }
    if (m.is_sealed) e = unseal(queue, &m, &x->message);
    if (e != OK) return e;
    db_message_to_row(&m, time, v);
    e = db_copy_in_row(&x->copy, v, N_DB_MESSAGE_COLUMNS);
    if (e == OK) x->counts.n_messages++;
    return e;
}

/* As the functions keep them; only rows that differ are written. */
static const char SET_COUNTERS[] =
    "UPDATE msg_queues q SET msg_queue_size = c.n, msg_can_write = NOT c.is_full, "
    "msg_queue_expire = c.n > c.n_quota FROM ("
    "SELECT qq.recipient_id, count(m.message_id) AS n, "
    "count(m.message_id) FILTER (WHERE m.msg_quota) AS n_quota, "
    "coalesce(bool_or(m.msg_quota), false) AS is_full "
    "FROM msg_queues qq LEFT JOIN messages m USING (recipient_id) GROUP BY qq.recipient_id) c "
    "WHERE q.recipient_id = c.recipient_id AND (q.msg_queue_size, q.msg_can_write, "
    "q.msg_queue_expire) IS DISTINCT FROM (c.n, NOT c.is_full, c.n > c.n_quota)";

static enum err import_messages(struct importer *x) {
    enum err e = db__exec(x->db, "remove the messages", "TRUNCATE messages");
    if (e == OK) {
        e = db_copy_out(x->db, "read the queues",
                        "COPY (SELECT recipient_id, rcv_dh_secret FROM msg_queues "
                        "WHERE deleted_at IS NULL) TO STDOUT (FORMAT binary)",
                        take_known, x);
    }
    if (e == OK) e = db_copy_in_begin(x->db, "import messages", COPY_MESSAGES, &x->copy);
    if (e != OK) return e;
    e = read_log(x, x->opts->messages_log, "messages", take_message);
    const enum err ended = db_copy_in_end(&x->copy, e == OK);
    if (e == OK) e = ended;
    return e == OK ? db__exec(x->db, "set the counters of queues", SET_COUNTERS) : e;
}

/* ---- all of it ---- */

static enum err make_schema(struct db *db) {
    char sql[DB_NAME_MAX + 32];
    (void)snprintf(sql, sizeof sql, "CREATE SCHEMA %s", db->schema);
    enum err e = db__exec(db, "make the schema", sql);
    if (e == OK) e = db__migrate_here(db);
    return e == OK ? db__tune_here(db) : e;
}

static enum err import_all(struct importer *x) {
    enum err e = db__begin(x->db, "");
    if (e == OK && x->opts->store_log != NULL) {
        e = make_schema(x->db);
        if (e == OK) e = take_indexes(x, TABLE_QUEUES);
        if (e == OK) e = import_queues(x);
    }
    if (e == OK && x->opts->messages_log != NULL) {
        e = take_indexes(x, TABLE_MESSAGES);
        if (e == OK) e = import_messages(x);
    }
    if (e == OK) e = make_indexes(x);
    if (e == OK) e = db__commit(x->db);
    db__rollback(x->db);
    return e;
}

enum err db_import(struct db *db, const struct db_import *i, struct db_counts *ret,
                   struct store_problem *ret_problem) {
    struct importer *x = calloc(1, sizeof *x);
    if (x == NULL) return E_NO_MEMORY;
    db->problem = ret_problem;
    x->db = db;
    x->opts = i;
    known_init(&x->services);
    known_init(&x->queues);
    const enum err e = import_all(x);
    *ret = x->counts;
    known_done(&x->services);
    known_done(&x->queues);
    for (size_t t = 0; t < N_TABLES; t++) PQclear(x->indexes[t]);
    crypto_wipe(x, sizeof *x);
    free(x);
    return e;
}
