/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* service_table.h -- service clients in RAM: who they are, and how many queues they have.
 *
 * A service is found by its id or by the hash of its identity certificate. A queue that is
 * associated with a service points to it (queue_table.h); here is only the sum over those queues,
 * changed with each association, so that nobody has to count. A log may name a service before the
 * line that describes it: such a service has an id alone until then.
 *
 * A pointer to a service stays good while it is used (service_use()) or has queues. One that is
 * neither used nor has queues is forgotten after a time: it is marked by service_table_forget() and
 * removed by service_table_sweep(), once no log on the disk has its line any more. If it comes back
 * before that, it is what it was, with its id: another id for the same certificate would not be
 * read at the next start.
 *
 * Locks: the table's mutex, for finding and adding; each service's own, for its sums. The latter
 * may be taken under a queue's stripe, the former may not. Any thread. */
#pragma once

#include "base/env.h"
#include "base/idmap.h"
#include "base/lock.h"
#include "model/service_record.h"
#include "store/subscribe.h"

struct service {
    /* guarded by the table's mutex; fixed once described */
    struct idnode by_id, by_cert; /* by_cert: the first bytes of cert_hash */
    bool is_described;
    enum service_role role;
    uint8_t cert_hash[SHA256_LEN];
    uint8_t *line; /* owned: its line of the store log, word for word; NULL: nothing is written */
    size_t n_line;
    bool is_logged;
    bool is_left_out;     /* of a log that is written anew: the one before it may be there still */
    bool is_forgotten;    /* nobody needs it: may be removed */
    unsigned n_users;     /* sessions */
    int64_t used_s;       /* when the last of them ended; before that, when it was made */
    lsn_t lsn;            /* of that line */
    struct service *next; /* in the order of their lines */
    /* guarded by mtx */
    struct lock mtx;
    struct ids_sum sums[N_SUB_PARTIES];
};

struct service_table {
    struct lock mtx;
    /* guarded by mtx */
    struct idmap by_id, by_cert;
    struct service *first, *last; /* owned, those that are described */
    size_t n;                     /* of them */
    size_t n_forgotten;           /* of these, is_forgotten */
};

void service_table_init(struct service_table *t, const struct env *env);
void service_table_done(struct service_table *t);

/* The service with this id, which may be one that nothing else is known of yet. E_NO_MEMORY. */
MUST_USE enum err service_table_need(struct service_table *t, const struct id *id,
                                     struct service **ret);
/* NULL when there is none. The table's mutex is held. */
struct service *service_table_by_cert(struct service_table *t, const uint8_t hash[SHA256_LEN]);
/* Describes a service. E_EXISTS when the id or the certificate is taken, E_NO_MEMORY. The table's
 * mutex is held. */
MUST_USE enum err service_table_add(struct service_table *t, const struct service_rec *rec,
                                    struct service **ret);
/* For a service that has none: a copy of its line, not empty. E_NO_MEMORY. The table's mutex is
 * held. */
MUST_USE enum err service_set_line(struct service *svc, struct bytes line);

/* A session begins and ends to use it. The table's mutex is held. */
void service_use(struct service_table *t, struct service *svc);
void service_unuse(struct service *svc, int64_t now_s);
/* Marks those that have no queues, and that no session has used since then. */
void service_table_forget(struct service_table *t, int64_t before_s);
size_t service_table_n_forgotten(struct service_table *t);
/* Removes those that are marked and in no log. logs_are_new: no log on the disk has what was left
 * out of the last one. */
void service_table_sweep(struct service_table *t, bool logs_are_new);

/* How many services there are for each party, and queues (or notifiers) of theirs. */
void service_table_counts(struct service_table *t, uint64_t ret_services[N_SUB_PARTIES],
                          uint64_t ret_queues[N_SUB_PARTIES]);

/* A queue (or notifier) of this id was associated, or is no more; NULL is a no-op. */
void service_count(struct service *svc, enum sub_party party, const struct id *id);
void service_uncount(struct service *svc, enum sub_party party, const struct id *id);
