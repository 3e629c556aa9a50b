/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_fault_fixture.h -- a store on a file system that fails when it is told to (faultfs). */
#pragma once

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "crypto/crypto.h"
#include "faultfs.h"
#include "store/files.h"
#include "store/messages.h"
#include "store/ntfs.h"
#include "store/records.h"
#include "store/subscribe.h"

enum { DAY = 20000, NOW_S = 1700000000 };

static const char LOG[] = "/d/log", MESSAGES[] = "/d/messages", NTFS[] = "/d/ntfs";

/* ---- a store ---- */

struct fixture {
    struct faultfs *fs;
    bool in_journal;
    struct store *store;
    struct store_problem problem;
    unsigned n_ids;
    bool compacts, erases; /* all the time */
    unsigned save_retry_ms;
    const struct env *env; /* NULL: the system's */
    int64_t copies_ttl_s;
    void (*stop_takes)(unsigned ms);
};

static inline enum err try_open(struct fixture *f) {
    const struct store_opts o = {.env = f->env != NULL ? f->env : &ENV_SYSTEM, .quota = 16};
    const struct files_opts files = {
        .vfs = faultfs_vfs(f->fs),
        .store_log = LOG,
        .messages_log = f->in_journal ? NULL : MESSAGES,
        .restore_messages = true,
        .ntfs_log = NTFS,
        .journal_dir = f->in_journal ? "/journal" : NULL,
        .journal_segment_len = 64 << 10,
        .compact_later_len = f->compacts ? 1 : 0,
        .compact_waste_lines = f->compacts ? 8 : 0,
        .compact_look_ms = f->compacts || f->erases ? 1 : 0,
        .erase_ms = f->erases ? 1 : 0,
        .copies_ttl_s = f->copies_ttl_s,
        .save_retry_ms = f->save_retry_ms,
        .stop_takes = f->stop_takes,
    };
    f->problem.text[0] = '\0';
    return f->in_journal ? files_open_journal(&o, &files, &f->store, &f->problem)
                         : files_open_memory(&o, &files, &f->store, &f->problem);
}

static inline void open_store(struct fixture *f) {
    const enum err e = try_open(f);
    if (e != OK) fail_msg("%s: %s", err_name(e), f->problem.text);
    assert_int_equal(store_start(f->store), OK);
}

static inline void close_store(struct fixture *f) {
    const enum err e = store_stop(f->store, &f->problem);
    if (e != OK) fail_msg("%s: %s", err_name(e), f->problem.text);
    store_close(f->store);
}

static inline struct fixture setup(bool in_journal) {
    struct fixture f = {.fs = faultfs_new(1), .in_journal = in_journal};
    open_store(&f);
    return f;
}

static inline void teardown(struct fixture *f) {
    close_store(f);
    faultfs_free(f->fs);
}

static inline struct id new_id(struct fixture *f) {
    struct id id = {{0}};
    f->n_ids++;
    memcpy(id.b, &f->n_ids, sizeof f->n_ids);
    return id;
}

static inline struct pubkey new_key(struct fixture *f, enum key_type type) {
    struct pubkey k = {.type = (uint8_t)type};
    const struct id id = new_id(f);
    memcpy(k.b, id.b, ID_LEN);
    return k;
}

struct made {
    struct queue_rec rec;
    struct queue *queue; /* counted */
};

static inline enum err try_make(struct fixture *f, struct made *ret) {
    const struct pubkey key = new_key(f, KEY_ED25519);
    lsn_t lsn;
    *ret = (struct made){.rec = {.rcv_id = new_id(f),
                                 .snd_id = new_id(f),
                                 .mode = MODE_CONTACT,
                                 .updated_day = DAY}};
    const enum err e = keyset_new(&key, 1, &ret->rec.rcv_keys);
    return e == OK ? store_queue_create(f->store, &ret->rec, &ret->queue, &lsn) : e;
}

static inline struct made make_queue(struct fixture *f) {
    struct made m;
    assert_int_equal(try_make(f, &m), OK);
    return m;
}

static inline void drop(struct made *m) {
    queue_unref(m->queue);
    keyset_unref(m->rec.rcv_keys);
}

static inline struct queue *find(struct fixture *f, enum queue_id_kind kind, struct id id) {
    struct store_lookup l = {.kind = kind, .id = id};
    assert_true(store_load(f->store, &l, 1, NULL));
    struct queue *q = l.ret_queue != NULL ? queue_ref(l.ret_queue) : NULL;
    store_lookup_done(&l);
    return q;
}

static inline struct id write_message(struct fixture *f, struct queue *q) {
    struct message *m;
    struct msg_written written;
    const struct id id = new_id(f);
    assert_int_equal(message_new(&id, NOW_S, false, bytes_str("body"), &m), OK);
    assert_int_equal(store_msg_write(f->store, q, m, &written), OK);
    return id;
}

static inline bool wait_durable(struct fixture *f, lsn_t lsn) {
    for (int i = 0; i < 20000; i++) {
        const enum err fate = store_fate(f->store, lsn);
        if (fate != E_PENDING) return fate == OK;
        usleep(20);
    }
    return false;
}
