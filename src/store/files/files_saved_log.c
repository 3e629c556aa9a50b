/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_saved_log.c -- the logs of an orderly stop, when they are read: messages, notifications.
 *
 * Reading leaves the file where it is; it is set aside when nothing that was read can get lost any
 * more. So a start that fails can be repeated, whichever of the files it failed at. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "store/files/files_priv.h"
#include "store/text/msg_line.h"

static void progress(void *ctx, uint64_t done, uint64_t total) {
    const struct files_store *m = ctx;
    if (m->o.progress != NULL) m->o.progress("messages", done, total);
}

/* What the file becomes: one that was not whole is not overwritten by the next. */
static enum err choose_name(const struct files_store *m, struct saved_log *l, bool is_whole) {
    const int n = is_whole ? snprintf(l->aside, sizeof l->aside, "%s.bak", l->path)
                           : snprintf(l->aside, sizeof l->aside, "%s.damaged-%" PRId64, l->path,
                                      env_now_s(m->shared.env));
    if (n >= 0 && (size_t)n < sizeof l->aside) return OK;
    errno = ENAMETOOLONG;
    return E_SYS;
}

enum err files_read_saved(struct files_store *m, struct saved_log *l,
                          enum err (*line)(void *ctx, struct bytes text), void *ctx,
                          struct store_problem *ret_problem) {
    const struct store_log_opts lo = {
        .env = m->shared.env,
        .vfs = m->o.vfs,
        .path = l->path,
        .skip_warnings = m->o.skip_warnings,
        .progress = progress,
        .progress_ctx = m,
    };
    struct store_log_stats stats = {0};
    struct store_log_problem problem = {0};
    enum err e = store_log_read(&lo, line, ctx, &stats, &problem);
    if (e == OK) e = choose_name(m, l, stats.torn_bytes == 0 && stats.n_bad == 0);
    if (e == OK && stats.torn_bytes > 0) {
        log_line(LOG_WARN, "log-cut-short",
                 "path=%s bytes=%" PRIu64
                 " lost=\"%s\" kept=%s: the file does not end with a whole "
                 "line, as if it had been copied, or the server ended, before it was complete",
                 l->path, stats.torn_bytes, l->lost, l->aside);
    }
    if (e == E_SYS) {
        (void)snprintf(ret_problem->text, sizeof ret_problem->text, "cannot read %s: %s", l->path,
                       strerror(errno));
    } else if (e != OK) {
        (void)snprintf(ret_problem->text, sizeof ret_problem->text, "%s", problem.text);
    }
    return e;
}

/* The copy of the last time; unless there is no log to take its place. E_NOT_FOUND then. */
static enum err erase_copy_before(const struct files_store *m, const struct saved_log *l) {
    const struct vfs *v = m->o.vfs;
    struct vfs_identity id;
    const enum err e = v->identity(v->ctx, l->path, &id);
    return e == OK ? store_log_remove_file(v, l->aside) : e;
}

enum err files_set_aside(struct files_store *m, struct saved_log *l) {
    if (l->aside[0] == '\0') return OK;
    enum err e = erase_copy_before(m, l);
    if (e == OK) e = m->o.vfs->rename(m->o.vfs->ctx, l->path, l->aside);
    if (e == OK) e = vfs_sync_parent(m->o.vfs, l->path);
    if (e == E_NOT_FOUND) e = OK;
    if (e != OK) {
        log_line(LOG_ERROR, "log-not-set-aside", "path=%s to=%s error=\"%s\"", l->path, l->aside,
                 strerror(errno));
    }
    return e;
}

/* ---- room for the messages ---- */

uint64_t files_messages_len(const struct files_store *m) {
    if (m->journal != NULL || m->o.messages_log == NULL) return 0;
    return atomic_load_explicit(&m->base.n_messages, memory_order_relaxed) * (MSG_LINE_MAX + 1);
}

void files_watch_room(struct files_store *m) {
    const uint64_t needed = files_messages_len(m);
    const uint64_t room = needed != 0 ? m->o.vfs->room(m->o.vfs->ctx, m->o.messages_log) : 0;
    if (needed > room && !m->compactor.is_short) {
        m->compactor.is_short = true;
        log_line(LOG_WARN, "no-room-for-messages",
                 "path=%s needed=%" PRIu64 " room=%" PRIu64
                 ": at a stop the messages in memory could not be saved, and would be lost: make "
                 "room on this disk before the server is stopped",
                 m->o.messages_log, needed, room);
    } else if (m->compactor.is_short && needed + needed / 8 <= room) {
        m->compactor.is_short = false;
        log_line(LOG_INFO, "room-for-messages", "path=%s needed=%" PRIu64 " room=%" PRIu64,
                 m->o.messages_log, needed, room);
    }
}
