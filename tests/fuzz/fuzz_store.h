/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* fuzz_store.h -- a whole store on files that the fuzzer has written: it is refused in words, or
 * opened; and what was opened, and ended in order, is opened again without a complaint and holds as
 * much. */
#pragma once

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/faultfs.h"
#include "base/log.h"
#include "crypto/crypto.h"
#include "store/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_LOG      "/store.log"
#define FUZZ_MESSAGES "/messages.log"
#define FUZZ_NTFS     "/ntfs.log"
#define FUZZ_JOURNAL  "/journal"

enum { FUZZ_SEGMENT_LEN = 16 << 10, FUZZ_NOW_S = 1700000000 };

static inline int64_t fuzz_now_s(void *ctx) {
    (void)ctx;
    return FUZZ_NOW_S;
}

static inline int64_t fuzz_mono_us(void *ctx) {
    (void)ctx;
    return 1000000;
}

static inline void fuzz_random(void *ctx, void *buf, size_t n) {
    (void)ctx;
    memset(buf, 7, n);
}

/* NULL: refused. */
static inline struct store *fuzz_open(struct faultfs *fs, bool in_journal, bool skips) {
    static const struct env env = {fuzz_now_s, fuzz_mono_us, fuzz_random, NULL};
    const struct store_opts o = {.env = &env, .quota = 16};
    const struct files_opts files = {
        .vfs = faultfs_vfs(fs),
        .store_log = FUZZ_LOG,
        .messages_log = in_journal ? NULL : FUZZ_MESSAGES,
        .restore_messages = true,
        .ntfs_log = FUZZ_NTFS,
        .journal_dir = in_journal ? FUZZ_JOURNAL : NULL,
        .journal_segment_len = FUZZ_SEGMENT_LEN,
        .skip_warnings = skips,
    };
    struct store_problem problem = {0};
    struct store *s = NULL;
    const enum err e = in_journal ? files_open_journal(&o, &files, &s, &problem)
                                  : files_open_memory(&o, &files, &s, &problem);
    assert(e == OK || e == E_STORE || e == E_SYS);
    assert(e == OK || problem.text[0] != '\0');
    return e == OK ? s : NULL;
}

static inline struct store_counts fuzz_close(struct store *s) {
    struct store_problem problem = {0};
    const struct store_counts counts = store_counts(s);
    assert(store_stop(s, &problem) == OK);
    store_close(s);
    return counts;
}

static inline void fuzz_store(struct faultfs *owned_fs, bool in_journal, bool skips) {
    log_set_level(LOG_ERROR);
    assert(crypto_init() == OK);
    struct store *s = fuzz_open(owned_fs, in_journal, skips);
    if (s != NULL) {
        assert(store_start(s) == OK);
        const struct store_counts before = fuzz_close(s);
        s = fuzz_open(owned_fs, in_journal, false);
        assert(s != NULL);
        const struct store_counts after = fuzz_close(s);
        assert(after.n_queues == before.n_queues && after.n_messages == before.n_messages);
        assert(after.n_notifiers == before.n_notifiers && after.n_ntfs == before.n_ntfs);
    }
    faultfs_free(owned_fs);
}
