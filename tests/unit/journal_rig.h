/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_rig.h -- a journal on a faultfs, with an owner that knows what must be there.
 *
 * The model: every message ever appended, the lsn of its append, of its deletion, and of its
 * queue's. After a crash each must be there, may be there, or must not, according to which lsns had
 * been on stable storage. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "faultfs.h"
#include "store/disk/journal.h"

enum { RIG_MAX_MESSAGES = 4096, RIG_N_QUEUES = 8, RIG_SEGMENT_LEN = 16 << 10, RIG_MAX_BODY = 3000 };

#define RIG_MARK "/journal.stop"

enum rig_state {
    RIG_LIVE,
    RIG_DELETED,
    RIG_LOST, /* its group failed, or a crash took it */
};

struct rig_msg {
    enum rig_state state;
    uint32_t queue; /* its generation */
    uint16_t body_len;
    bool is_quota;
    lsn_t append_lsn, delete_lsn; /* delete_lsn 0: never */
    struct journal_loc loc;
    unsigned n_recovered;
};

#define RIG_GONE UINT64_MAX

struct rig {
    struct faultfs *fs;
    const struct vfs *vfs; /* NULL: of fs */
    const char *dir;
    const struct env *env;
    struct commit *commit;
    struct journal *journal;
    unsigned interval_ms;
    bool skip_warnings;
    _Atomic bool hold; /* the commit thread waits after its group, so that the next one is large */
    pthread_mutex_t mtx; /* guards what follows: "the owner's lock" */
    struct rig_msg messages[RIG_MAX_MESSAGES];
    size_t n_messages;
    uint32_t generations[RIG_N_QUEUES]; /* of the current queues; an id contains the generation */
    lsn_t queue_delete_lsn[RIG_MAX_MESSAGES]; /* by generation: when that queue was deleted;
                                                 RIG_GONE: durably */
    uint32_t next_generation;
    lsn_t line_taken, line_written; /* by a sink that stands for the store log */
    uint64_t random;
    uint64_t n_moved, n_lost;
    /* of the last recovery */
    unsigned n_unknown, n_disorder;
    uint64_t last_order;
    lsn_t safe_lsn; /* before the crash */
    struct journal_problem problem;
};

void rig_init(struct rig *r, uint64_t seed);
void rig_done(struct rig *r);

/* Opens on r->fs. */
enum err rig_open(struct rig *r);
/* Stops; notes what had been synced. Orderly or after a power loss. */
void rig_close(struct rig *r);

unsigned rig_chance(struct rig *r, unsigned n);
/* n random changes, mostly in one group; E_STORE when changes are refused. */
enum err rig_changes(struct rig *r, unsigned n);
enum err rig_append(struct rig *r, unsigned queue, uint16_t body_len);
void rig_delete(struct rig *r, size_t message);       /* nothing happens when refused */
void rig_delete_queue(struct rig *r, unsigned queue); /* with what the store log would say of it */
enum err rig_flush(struct rig *r);
size_t rig_n_live(struct rig *r);
struct id rig_msg_id(size_t message);
struct id rig_queue_id(unsigned slot, uint32_t generation);
void rig_fill_body(size_t message, uint8_t *buf, size_t n);

/* After rig_close(), a crash, and rig_open(): is what is there what should be? NULL: yes; else what
 * is wrong. What is there becomes the model. */
const char *rig_check_recovered(struct rig *r);
/* Reads all live and durable bodies by the worker, which must run. Also while others append. */
const char *rig_check_bodies(struct rig *r);
