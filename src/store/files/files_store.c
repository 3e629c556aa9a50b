/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_store.c -- opening, starting, stopping; what the backend answers. The parts are listed in
 * files_priv.h. */
#include "store/files/files_priv.h"
#include "store/import.h"
#include "store/ntf_log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"

/* ---- durability ---- */

static enum err files_fate(const struct store *s, lsn_t lsn) {
    const struct files_store *m = files_of_const(s);
    return files_is_held_lsn(lsn) ? files_hold_fate(m, lsn) : commit_fate(m->commit, lsn);
}

static unsigned files_leisure_ms(struct store *s) {
    return commit_leisure_ms(files_of(s)->commit);
}

static bool files_is_delivered_early(const struct store *s, lsn_t lsn) {
    return files_hold_waits(&files_of_const(s)->hold, lsn);
}

static void files_hurry(struct store *s, lsn_t lsn, bool in_vain) {
    if (files_is_held_lsn(lsn)) return;
    commit_hurry(files_of(s)->commit, lsn, in_vain);
}

/* Commit thread. */
static void on_durable(void *ctx) {
    struct files_store *m = ctx;
    if (m->journal != NULL)
        body_cache_trim(&m->bodies, MESSAGE_CACHE_BYTES, commit_durable_lsn(m->commit));
    if (m->shared.on_durable != NULL) m->shared.on_durable(m->shared.ctx);
}

static unsigned files_state(const struct store *s) {
    return commit_state(files_of_const(s)->commit);
}

/* ---- start and stop ---- */

/* Messages first: a notification of one that is not there does no harm. */
static enum err files_start(struct store *s) {
    struct files_store *m = files_of(s);
    store_log_start(m->log);
    enum err e = files_note_places(m);
    if (e == OK) e = commit_start(m->commit);
    if (e != OK) return e;
    m->started = true;
    if (m->journal != NULL) e = journal_start(m->journal);
    if (e == OK && m->journal != NULL) e = files_hold_start(m);
    m->was_started = e == OK;
    if (e == OK) e = files_set_aside(m, &m->saved_messages);
    if (e == OK) e = files_set_aside(m, &m->saved_ntfs);
    if (e == OK) e = files_compactor_start(m);
    return e;
}

/* What is not written as it happens. */
static enum err files_save(struct store *s, struct store_problem *ret_problem) {
    struct files_store *m = files_of(s);
    enum err e = OK;
    if (!m->was_started) return OK;
    if (m->o.ntfs_log != NULL) {
        const int before = store_log_hold(m->o.vfs, m->o.ntfs_log);
        e = ntf_log_save(s, m->shared.env, m->o.vfs, m->o.ntfs_log, ret_problem);
        store_log_release(m->o.vfs, m->o.ntfs_log, before, e == OK);
    }
    if (m->journal != NULL || m->o.messages_log == NULL) return e;
    uint64_t n;
    const int before = store_log_hold(m->o.vfs, m->o.messages_log);
    const enum err saved = files_save_messages(m, m->o.messages_log, &n, ret_problem);
    store_log_release(m->o.vfs, m->o.messages_log, before, saved == OK);
    return saved != OK ? saved : e;
}

/* At a stop with a full disk: waits for somebody to make room, as long as it may. */
static enum err save_patiently(struct files_store *m, struct store_problem *ret_problem) {
    enum { AGAIN_MS = 1000, TRY_MS = 60 * 1000 }; /* a wait; a try that writes all, at most */
    const int64_t until_ms = env_mono_ms(m->shared.env) + m->o.save_retry_ms;
    enum err e = files_save(&m->base, ret_problem);
    for (bool is_told = false; e == E_SYS && (errno == ENOSPC || errno == EDQUOT) &&
                               env_mono_ms(m->shared.env) < until_ms;
         is_told = true) {
        if (!is_told) {
            log_line(LOG_ERROR, "no-room-to-save",
                     "needed=%" PRIu64 " reason=\"%s\": make room on this disk: it is tried again "
                     "every second for %u s, then the messages in memory are lost; SIGTERM or "
                     "SIGINT ends the server without them at once",
                     files_messages_len(m), ret_problem->text, m->o.save_retry_ms / 1000);
        }
        if (m->o.stop_takes != NULL) m->o.stop_takes(AGAIN_MS + TRY_MS);
        const struct timespec pause = {AGAIN_MS / 1000, AGAIN_MS % 1000 * 1000000L};
        (void)nanosleep(&pause, NULL);
        e = files_save(&m->base, ret_problem);
    }
    return e;
}

static enum err files_stop(struct store *s, struct store_problem *ret_problem) {
    struct files_store *m = files_of(s);
    enum err e = OK;
    if (m->started) {
        m->started = false;
        files_compactor_stop(m);
        files_hold_stop(m);
        if (m->journal != NULL) journal_stop(m->journal);
        e = commit_stop(m->commit);
        if (e != OK) {
            (void)snprintf(ret_problem->text, sizeof ret_problem->text,
                           "not everything could be written to disk: what was not acknowledged is "
                           "lost");
        }
    }
    const enum err saved = save_patiently(m, ret_problem);
    return saved != OK ? saved : e;
}

static void files_close(struct store *s) {
    struct files_store *m = files_of(s);
    if (m->started) {
        files_compactor_stop(m);
        files_hold_stop(m);
        if (m->journal != NULL) journal_stop(m->journal);
        if (commit_stop(m->commit) != OK)
            m->started = false; /* an unorderly end: nobody was promised more */
    }
    journal_close(m->journal);
    store_log_close(m->log);
    body_cache_done(&m->bodies);
    files_hold_done(&m->hold);
    commit_free(m->commit);
    store__done(&m->base);
    files_erase_done(&m->deleted);
    free(m);
}

enum err store_import_messages(struct store *s, const char *path, uint64_t *ret_n,
                               struct store_problem *ret_problem) {
    struct files_store *m = files_of(s);
    struct saved_log log = {.path = path};
    enum err e = files_restore_messages(m, &log, ret_n, ret_problem);
    if (e == OK) e = commit_flush(m->commit);
    return e == OK ? files_set_aside(m, &log) : e;
}

enum err store_export_messages(struct store *s, const char *path, uint64_t *ret_n,
                               struct store_problem *ret_problem) {
    return files_save_messages(files_of(s), path, ret_n, ret_problem);
}

static const struct store_ops MEMORY_OPS = {
    .start = files_start,
    .stop = files_stop,
    .save = files_save,
    .close = files_close,
    .record = files_record,
    .service = files_service,
    .message = files_memory_message,
    .forget = files_memory_forget,
    .fate = files_fate,
    .load = store__load_at_once,
    .msg_next = store__next_at_once,
    .service_open = store__service_open_at_once,
    .service_scan = store__service_scan_at_once,
    .state = files_state,
};

static const struct store_ops JOURNAL_OPS = {
    .start = files_start,
    .stop = files_stop,
    .save = files_save,
    .close = files_close,
    .record = files_journal_record,
    .service = files_service,
    .message = files_journal_message,
    .forget = files_journal_forget,
    .fate = files_fate,
    .leisure_ms = files_leisure_ms,
    .hurry = files_hurry,
    .hold = files_journal_hold,
    .is_held = files_is_delivered_early,
    .load = store__load_at_once,
    .msg_next = files_journal_next,
    .service_open = store__service_open_at_once,
    .service_scan = store__service_scan_at_once,
    .state = files_state,
};

/* ---- opening ---- */

static void journal_progress(void *ctx, uint64_t done, uint64_t total) {
    const struct files_store *m = ctx;
    if (m->o.progress != NULL) m->o.progress("messages", done, total);
}

static enum err open_journal(struct files_store *m, struct store_problem *ret_problem) {
    const struct journal_opts jo = {
        .env = m->shared.env,
        .vfs = m->o.vfs,
        .dir = m->o.journal_dir,
        .mark_path = m->o.journal_mark,
        .commit = m->commit,
        .owner = files_journal_owner(m),
        .skip_warnings = m->o.skip_warnings,
        .segment_len = m->o.journal_segment_len,
        .progress = journal_progress,
    };
    struct journal_problem problem = {0};
    const enum err e = journal_open(&jo, &m->journal, &problem);
    if (e != OK) (void)snprintf(ret_problem->text, sizeof ret_problem->text, "%s", problem.text);
    return e;
}

/* Where a step of opening failed, unless it has said so itself. */
static enum err place(enum err e, const char *path, struct store_problem *ret_problem) {
    if (e != OK && ret_problem->text[0] == '\0') {
        (void)snprintf(ret_problem->text, sizeof ret_problem->text, "cannot use %s: %s", path,
                       err_reason(e));
    }
    return e;
}

static enum err open_disk(struct files_store *m, bool with_journal,
                          struct store_problem *ret_problem) {
    const struct commit_opts co = {
        .env = m->shared.env,
        .interval_ms = m->o.sync_interval_ms,
        .on_durable = on_durable,
        .ctx = m,
        .stats = m->o.commit_stats,
        .missing = files_missing,
    };
    enum err e = commit_new(&co, &m->commit);
    if (e == OK) e = place(files_load_log(m, ret_problem), m->o.store_log, ret_problem);
    if (e == OK && with_journal)
        e = place(open_journal(m, ret_problem), m->o.journal_dir, ret_problem);
    m->saved_ntfs.path = m->o.ntfs_log;
    m->saved_messages.path = m->o.messages_log;
    if (e == OK && m->o.ntfs_log != NULL) e = files_restore_ntfs(m, &m->saved_ntfs, ret_problem);
    if (e != OK || with_journal || !m->o.restore_messages || m->o.messages_log == NULL) return e;
    uint64_t n;
    return files_restore_messages(m, &m->saved_messages, &n, ret_problem);
}

static enum err open_files(const struct store_opts *o, const struct files_opts *f,
                           bool with_journal, struct store **ret,
                           struct store_problem *ret_problem) {
    struct files_store *m = calloc(1, sizeof *m);
    if (m == NULL) return E_NO_MEMORY;
    m->shared = *o;
    m->o = *f;
    files_erase_init(&m->deleted);
    body_cache_init(&m->bodies);
    const enum err held = files_hold_init(&m->hold, with_journal ? f->hold_ms : 0);
    enum err e = store__init(&m->base, with_journal ? &JOURNAL_OPS : &MEMORY_OPS, o);
    m->bodies.table = m->base.table;
    if (e == OK) e = held;
    if (e == OK) e = open_disk(m, with_journal, ret_problem);
    if (e != OK) {
        if (ret_problem->text[0] == '\0') {
            (void)snprintf(ret_problem->text, sizeof ret_problem->text,
                           "store cannot be opened: %s", err_reason(e));
        }
        files_close(&m->base);
        return e;
    }
    *ret = &m->base;
    return OK;
}

enum err files_open_memory(const struct store_opts *o, const struct files_opts *f,
                           struct store **ret, struct store_problem *ret_problem) {
    return open_files(o, f, false, ret, ret_problem);
}

enum err files_open_journal(const struct store_opts *o, const struct files_opts *f,
                            struct store **ret, struct store_problem *ret_problem) {
    assert(f->journal_dir != NULL);
    return open_files(o, f, true, ret, ret_problem);
}
