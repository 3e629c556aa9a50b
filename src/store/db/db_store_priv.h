/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_store_priv.h -- what the parts of the backend share.
 *
 *   db_store.c      opening, start, stop; what the backend answers
 *   db_change.c     a change as the lane keeps it; what the store tells of changes
 *   db_lane.c       the sink of the commit thread: groups, the lane's row, the connection, outcome
 *   db_group.c      a group as statements
 *   db_log.c        the store log beside the database
 *   db_replay.c     groups that a database has lost are written again
 *   db_reader.c     threads that look up what is not loaded, and bodies
 *   db_scan.c       what waits for a service, on the same threads
 *   db_node.c       our own tables; who is active
 *   db_beat.c       this server's sign of life
 *   db_standby.c    waiting for the end of another (before there is a store)
 *   db_load.c       rows become records in RAM
 *   db_evict.c      records that nobody uses leave RAM
 *   db_services.c   services: read at start, kept, gone through
 *   db_counters.c   columns for the reference, at an orderly stop
 *   db_ntfs.c       notifications of an orderly stop, at start
 *   db_chores.c     what waits for nobody: counts, what expires, rows of deleted queues
 *   db_outage.c     that there is no database, and since when
 *
 * A row never replaces what is newer. Each stripe of queues counts what has left RAM (evictions and
 * deletions that were committed); a row that was asked for before the latest of these may be old,
 * and is asked for again. What is deleted but not yet committed is in a set of its own. */
#pragma once

#include <stdatomic.h>

#include "crypto/crypto.h"
#include "model/limits.h"
#include "store/body_cache.h"
#include "store/db/db_node.h"
#include "store/db/db_pipe.h"
#include "store/db/db_row.h"
#include "store/db/db_store.h"
#include "store/disk/commit.h"
#include "store/queue_table.h"
#include "store/service_table.h"
#include "store/store_priv.h"

enum {
    DB_N_READERS = 2,
    DB_FIND_MAX = 128,            /* ids in one look-up */
    DB_BODIES_MAX = 32,           /* bodies in one look-up */
    DB_GROUP_MAX = 128,           /* changes in a group: more cost more each */
    DB_GROUP_BYTES_MAX = 2 << 20, /* of bodies in it */
    DB_IDS_BLOCK = 65536,         /* message ids that are drawn at a time */
    DB_RETRY_MIN_MS = 50,
    DB_RETRY_MAX_MS = 1000,
    DB_SILENCE_MIN_MS = 5000, /* a slow answer is one as well */
    DB_STRIPES = 256,
    DB_REFUSED_KEPT = 256, /* changes that were refused, of which it is known why */
};

/* ---- changes ---- */

enum db_change_kind {
    DB_SERVICE,
    DB_CREATE,
    DB_UPDATE,
    DB_DAY,
    DB_MESSAGE,
    DB_FORGET,
    DB_DELETE,
    DB_NUDGE, /* nothing: that there is a group */
};

struct db_change {
    struct db_change *next;
    lsn_t lsn;
    enum db_change_kind kind;
    enum record_tag tag;      /* of a record */
    enum err refused;         /* by the database; OK: not */
    int8_t n_notifiers;       /* how many more there are with it */
    bool sets_can_write;      /* msg_can_write changes with it, to: */
    bool can_write;           /* likewise */
    struct queue *queue;      /* counted; NULL: a service, or committed */
    struct id rcv_id;         /* of the queue */
    int64_t group;            /* that it was committed with */
    int64_t committed_ms;     /* monotonic */
    struct message *message;  /* counted; DB_MESSAGE */
    uint64_t message_id;      /* DB_MESSAGE, DB_FORGET */
    const char *sql;          /* DB_UPDATE: static; values[0] is the recipient id */
    struct idnode in_deleted; /* DB_DELETE */
    size_t n_bytes;           /* what it takes */
    uint8_t *line;            /* owned; for the store log, with its newline; NULL: none */
    size_t n_line;
    unsigned n_values;
    struct db_value values[]; /* their bytes follow */
};

void db_change_free(struct db_change *c);
void db_change_drop_line(struct db_change *c); /* it is in the store log, or never will be */

/* ---- outages ---- */

struct db_outage {
    /* fixed */
    const char *what;  /* "changes" */
    const char *shown; /* the connection */
    /* atomic */
    _Atomic int64_t since_ms; /* relaxed; monotonic; 0: none */
    /* of the thread that reports it */
    struct lock mtx;
    bool is_told;
};
void db_outage_init(struct db_outage *o, const char *what, const char *shown);
void db_outage_done(struct db_outage *o);
/* It goes on, since then if it is new, and why. Logs its beginning, and its end. */
void db_outage_note(struct db_outage *o, int64_t since_ms, const char *why);
void db_outage_over(struct db_outage *o, const struct env *env);
bool db_outage_lasts(const struct db_outage *o, const struct env *env, unsigned ms);

/* ---- the lane ---- */

struct db_group;

struct db_replay {
    struct db_change *oldest, *newest; /* owned; by their groups */
    size_t n_bytes;
};

struct db_lane {
    struct db_store *store;
    /* guarded by the mutex of the commit thread */
    struct db_change *head, *tail; /* owned */
    size_t n_bytes;
    uint64_t next_id, end_id; /* message ids: the next, and behind the last */
    uint64_t block_last;      /* of the block that is used: end_id - 1, also of the commit thread */
    /* commit thread */
    struct db_change *taken, *taken_tail; /* owned */
    struct db_group *group;               /* owned: what statements are made in */
    struct db *db;                        /* owned; NULL: no connection */
    int64_t epoch, last_group;
    uint64_t drawn_last; /* of a block of ids that is not used yet; 0: there is none */
    bool wants_ids;
    struct db_replay replay;
    struct db_outage outage;
    struct store_problem problem;
    /* guarded by mtx */
    struct lock mtx;
    struct {
        lsn_t lsn;
        enum err err;
    } refused[DB_REFUSED_KEPT];
    unsigned n_refused; /* ever */
    /* atomic */
    _Atomic unsigned any_refused; /* release after the list has it */
    _Atomic int64_t committed;    /* last_group, for readers: release after it is committed */
};

/* ---- the store log beside the database; commit thread, but for start and stop ---- */

struct db_log {
    int fd; /* -1: there is none */
    uint64_t len;
    bool is_failing; /* the last group could not be written */
};

/* ---- the sign of life ---- */

struct db_beat {
    struct thread thread;
    struct lock mtx;
    struct lock_cond cond;
    bool stopping;           /* guarded by mtx */
    _Atomic int64_t last_ms; /* relaxed; monotonic: the last that came through; 0: before */
    /* its thread */
    struct db *db; /* owned; NULL: no connection */
    struct store_problem problem;
};

/* ---- readers ---- */

struct db_find;
struct db_body;
struct db_scan;

struct db_readers {
    struct thread threads[DB_N_READERS];
    struct lock mtx;
    struct lock_cond cond;
    /* guarded by mtx */
    struct db_find *finds, **finds_end; /* owned */
    struct db_body *bodies, **bodies_end;
    struct db_scan *scans, **scans_end;
    bool stopping;
    struct db_outage outage;
};

/* ---- the whole ---- */

struct db_cache {
    /* atomic */
    _Atomic uint32_t left[DB_STRIPES]; /* what has left RAM: release under the stripe's lock */
    _Atomic int64_t n_entries, n_link_bytes;
    /* guarded by mtx */
    struct lock mtx;
    struct store_cursor cursor;
};

struct db_store {
    struct store base;
    /* fixed after open */
    struct store_opts shared;
    struct db_store_opts o;
    char shown[DB_SHOWN_MAX];         /* the connection, without password */
    uint8_t ids_key[SIPHASH_KEY_LEN]; /* fixed after start: smpn_cluster.key */
    struct commit *commit;            /* owned */
    struct db_lane lane;
    struct db_log log;
    struct db_readers readers;
    struct thread counter;
    struct db_beat beat;
    struct db *chores; /* owned; the thread of the store's expiry; NULL: no connection */
    struct body_cache bodies;
    struct db_cache cache;
    bool started;
    bool was_started; /* the notifications log was read, so it has to be written again */
    struct lock deleted_mtx;
    /* guarded by deleted_mtx */
    struct idmap deleted; /* of struct db_change: deletions that are not committed */
    /* atomic */
    _Atomic bool abandon; /* the database is waited for no longer */
    _Atomic bool is_lost; /* another process has it, or may have: nothing can be stored any more */
    _Atomic unsigned n_standbys; /* that wait to take over */
    /* Since the start: made and gone. What was there before is added when it was counted. */
    _Atomic int64_t n_queues, n_notifiers, n_before_messages;
    _Atomic int64_t n_committed_queues, n_committed_messages, n_committed_notifiers;
};

static inline struct db_store *db_of(struct store *s) {
    return CONTAINER_OF(s, struct db_store, base);
}

/* base is the first field */
static inline const struct db_store *db_of_const(const struct store *s) {
    return (const struct db_store *)(const void *)s;
}

/* A connection for a thread of the store's, ready for these statements. */
MUST_USE enum err db_store_connect(const struct db_store *m, const struct db_statement *statements,
                                   unsigned n, struct db **ret, struct store_problem *ret_problem);
/* The same for what clients wait for: it is lost when nothing comes for as long as they wait. */
MUST_USE enum err db_store_connect_for_clients(const struct db_store *m,
                                               const struct db_statement *statements, unsigned n,
                                               struct db **ret, struct store_problem *ret_problem);

/* ---- db_node.c ---- */
MUST_USE enum err db_node_make_tables(struct db *db, const struct env *env);
MUST_USE enum err db_node_read_key(struct db *db, uint8_t ret[SIPHASH_KEY_LEN]);
/* Takes the row of the active server, and the lane with it: from then on nobody else commits. dead:
 * only if it is still as it was seen there; NULL: in any case. E_EXISTS: it is not. E_STORE,
 * E_CLOSED. */
MUST_USE enum err db_node_claim(struct db *db, const struct db_node *node,
                                const struct db_nodes *dead, int64_t *ret_epoch,
                                int64_t *ret_group);
/* Ends backends that a server left in the middle of a group, which hold the lane's row: it was
 * stopped, its machine is gone, or the connection. E_STORE, E_CLOSED. */
MUST_USE enum err db_node_end_backends(struct db *db);
MUST_USE enum err db_node_find(struct db *db, const uint8_t identity[SHA256_LEN],
                               struct db_nodes *ret);

/* ---- db_beat.c ---- */
#define DB_TAKEN_OVER                                                                              \
    "another smp-server was started on it, or took over from this one: it can store nothing any "  \
    "more, and ends"
void db_beat_init(struct db_store *m);
void db_beat_done(struct db_store *m);
MUST_USE enum err db_beat_start(struct db_store *m); /* after the lane */
void db_beat_stop(struct db_store *m);               /* says that we leave */
/* Has the database been out of reach for so long? Any thread. */
bool db_beat_is_silent(const struct db_store *m, unsigned ms);
/* This server has to end: says so once, and why. Any thread. */
void db_store_lose(struct db_store *m, const char *event, const char *why);

/* ---- db_change.c: struct store_ops ---- */
enum err db_record(struct store *s, struct queue *q, const struct record *r, lsn_t *ret_lsn);
enum err db_service(struct store *s, struct service *svc, const struct service_rec *rec);
enum err db_message(struct store *s, struct queue *q, struct message *msg, struct msg_entry *e);
enum err db_forget(struct store *s, struct queue *q, const struct msg_entry *e,
                   enum store_pace pace, lsn_t *ret_lsn);
void db_change_nudge(struct db_store *m); /* the lane is to look at the database */
/* The lane could not keep it, for what it is: RAM is made as if it had not been asked for. */
void db_change_undo(struct db_store *m, struct db_change *c);

/* ---- db_lane.c ---- */
#define DB_LANE_STATEMENT                                                                          \
    { "lane", "SELECT epoch, last_group FROM %s.smpn_lane WHERE node_id = 0 AND lane = 0" }
void db_lane_init(struct db_store *m);
void db_lane_done(struct db_lane *l);
struct commit_sink db_lane_sink(struct db_lane *l);
/* Makes our own tables, takes the lane over, draws the first ids. E_STORE, E_NO_MEMORY. */
MUST_USE enum err db_lane_start(struct db_lane *l, struct store_problem *ret_problem);
/* Between commit_begin() and commit_end(): c has its lsn. E_STORE: too much waits already. */
MUST_USE enum err db_lane_append(struct db_lane *l, struct db_change *owned);
uint64_t db_lane_draw(struct db_lane *l); /* a message id; 0: there is none; likewise */
enum err db_lane_fate(const struct db_lane *l, lsn_t lsn); /* E_PENDING: nothing was refused */

/* ---- db_log.c ---- */
/* E_NO_MEMORY, E_LIMIT. */
MUST_USE enum err db_log_describe(const struct db_store *m, struct db_change *c,
                                  const struct record *r);
MUST_USE enum err db_log_describe_service(const struct db_store *m, struct db_change *c,
                                          const struct service_rec *rec);
MUST_USE enum err db_log_open(struct db_store *m, struct store_problem *ret_problem);
void db_log_append(struct db_store *m, const struct db_change *first); /* what was committed */
void db_log_close(struct db_store *m);

/* ---- db_replay.c ---- */
void db_replay_keep(struct db_lane *l, struct db_change *owned); /* it was committed */
void db_replay_done(struct db_lane *l);
/* The database knows of no group after this one. E_STORE, E_CLOSED: to be done again. */
MUST_USE enum err db_replay_run(struct db_lane *l, int64_t last);
/* A new connection of a reader, which knows the statement "lane": has it all that was committed?
 * E_STORE: not yet. E_CLOSED. */
MUST_USE enum err db_replay_check(struct db_store *m, struct db *db);

/* ---- db_group.c ---- */
extern const struct db_statement DB_GROUP_STATEMENTS[];
extern const unsigned N_DB_GROUP_STATEMENTS;
MUST_USE enum err db_group_new(struct db_group **ret); /* E_NO_MEMORY */
void db_group_free(struct db_group *g);
struct db_group_row {
    int64_t epoch, number;
};
/* One transaction. OK: it is committed. E_STORE: it is not, and ret_state is why (SQLSTATE).
 * E_CLOSED: nobody knows. E_NO_MEMORY: nothing was sent. */
MUST_USE enum err db_group_write(struct db_group *g, struct db *db, struct db_group_row row,
                                 struct db_change *const *changes, unsigned n, char ret_state[6]);

/* ---- db_reader.c ---- */
void db_readers_init(struct db_store *m);
void db_readers_done(struct db_store *m);
MUST_USE enum err db_readers_start(struct db_store *m);
void db_readers_stop(struct db_store *m); /* what was asked is answered: E_STORE */
bool db_load(struct store *s, struct store_lookup *lookups, size_t n, struct store_waiter *w);
bool db_msg_next(struct store *s, struct store_next *n, struct store_waiter *w);

/* Going through what the database has of a service, on a reader: queues with messages, from the
 * cursor on. */
bool db_scan_is_stored(const struct store_cursor *c);
void db_scan_begin_stored(struct store_cursor *c);
bool db_scan_stored(struct db_store *m, struct store_scan *scan, struct store_waiter *w);

/* ---- db_load.c ---- */
struct db_finder; /* of one reader */
MUST_USE enum err db_finder_new(struct db_store *m, struct db_finder **ret);
void db_finder_free(struct db_finder *f);
extern const struct db_statement DB_FIND_STATEMENTS[];
extern const unsigned N_DB_FIND_STATEMENTS;
struct db_find {
    struct db_find *next;
    struct store_lookup *lookup; /* borrowed */
    struct db_finding *of;       /* who asked */
    bool is_answered;            /* the look-up is filled in */
    unsigned n_tries;
};
/* Looks up; what could not be decided is not answered, and to be asked again. E_STORE, E_CLOSED,
 * E_NO_MEMORY: none is answered. */
MUST_USE enum err db_find_all(struct db_finder *f, struct db *db, struct db_find *const *finds,
                              unsigned n);
enum { DB_SCAN_PAGE = 1000 }; /* as the statement "page" says */
/* A page of what waits for a service. E_STORE, E_CLOSED, E_NO_MEMORY: nothing is found yet. */
MUST_USE enum err db_scan_run(struct db_store *m, struct db_finder *f, struct db *db,
                              struct store_scan *scan);
/* What is loaded. False: it is not, and l is as it was. */
bool db_find_in_ram(struct db_store *m, struct store_lookup *l);

/* ---- db_evict.c ---- */
void db_cache_init(struct db_cache *c);
void db_cache_done(struct db_cache *c);
void db_cache_trim(struct db_store *m); /* under no lock */
/* A record has left RAM. Under its lock. */
void db_cache_left(struct db_store *m, const struct queue *q);

/* ---- db_services.c ---- */
MUST_USE enum err db_services_read(struct db_store *m, struct db *db);
/* Those that have had no queues, and not come, for long. After the lane was taken over. */
MUST_USE enum err db_services_forget(struct db_store *m, struct store_problem *ret_problem);
bool db_service_scan(struct store *s, struct store_scan *scan, struct store_waiter *w);

/* ---- db_counters.c ---- */
void db_counters_set(struct db_store *m); /* after the last group; what goes wrong is logged */

/* ---- db_ntfs.c ---- */
MUST_USE enum err db_ntfs_restore(struct db_store *m, struct store_problem *ret_problem);

/* ---- db_chores.c ---- */
MUST_USE enum err db_count_start(struct db_store *m, struct store_problem *ret_problem);
void db_counts(const struct store *s, struct store_counts *io);
bool db_old_queues(struct store *s, int64_t before_ts_s, struct id *io_after, struct id *ret_ids,
                   unsigned max, unsigned *ret_n);
