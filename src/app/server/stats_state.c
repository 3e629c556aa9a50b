/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/stats_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/files/file_problem.h"
#include "base/log.h"
#include "base/new_file.h"

enum {
    STATE_FILE_MAX = 1 << 30, /* bytes; the reference's lists have no limit */
    ASIDE_PATH_MAX = PATH_MAX + 32,
    FILE_MODE = 0640,
    KEY_MODE = 0600,
};

enum err stats_state_replace(const struct vfs *v, const char *path, mode_t mode, struct bytes b) {
    struct new_file f;
    const enum err e = new_file_open(&f, v, path, mode, 0);
    if (e != OK) return e;
    new_file_put(&f, b);
    return new_file_commit(&f);
}

/* ---- saving ---- */

/* What has no name any more. That it cannot be overwritten changes nothing for what was saved. */
static void overwrite(const struct vfs *v, int fd) {
    static const uint8_t zeros[STATS_KEY_FILE_LEN];
    enum err e = vfs_write(v, fd, bytes_of(zeros, sizeof zeros), 0);
    if (e == OK) e = v->sync(v->ctx, fd);
    if (e != OK) log_line(LOG_WARN, "stats_key_not_erased", "reason=\"%s\"", strerror(errno));
    v->close(v->ctx, fd);
}

static enum err save_keys(struct stats_state *t, const struct stats_keys *keys,
                          const uint8_t sum[SHA256_LEN]) {
    uint8_t file[STATS_KEY_FILE_LEN];
    int old = -1;
    if (t->vfs->open(t->vfs->ctx, t->paths->stats_key, O_RDWR, 0, &old) != OK) old = -1;
    stats_keys_write(keys, t->sum, sum, file);
    const enum err e =
        stats_state_replace(t->vfs, t->paths->stats_key, KEY_MODE, bytes_of(file, sizeof file));
    crypto_wipe(file, sizeof file);
    const int why = errno;
    if (old >= 0 && e == OK) overwrite(t->vfs, old);
    if (old >= 0 && e != OK) t->vfs->close(t->vfs->ctx, old);
    errno = why;
    return e;
}

enum err stats_state_save(struct stats_state *t, uint64_t q_count) {
    uint8_t *text = NULL, sum[SHA256_LEN];
    size_t n = 0;
    struct stats_keys keys;
    enum err e = stats_save(t->stats, q_count, &text, &n, &keys);
    if (e != OK) return e;
    const struct bytes b = bytes_of(text, n);
    e = crypto_sha256(b, sum);
    if (e == OK) e = save_keys(t, &keys, sum);
    if (e == OK) e = stats_state_replace(t->vfs, t->paths->stats, FILE_MODE, b);
    if (e == OK) memcpy(t->sum, sum, sizeof sum);
    crypto_wipe(&keys, sizeof keys);
    free(text);
    return e;
}

/* ---- restoring ---- */

static enum err keep_aside(const struct stats_state *t, struct problem *p) {
    const struct vfs *v = t->vfs;
    char aside[ASIDE_PATH_MAX];
    (void)snprintf(aside, sizeof aside, "%s.damaged-%lld", t->paths->stats,
                   (long long)env_now_s(t->env));
    const enum err e = v->rename(v->ctx, t->paths->stats, aside);
    if (e != OK) return file_problem(p, "it is damaged: cannot rename", t->paths->stats, errno);
    log_line(LOG_WARN, "stats_damaged", "kept_as=\"%s\" counting=\"from zero\"", aside);
    return OK;
}

/* The caller frees *ret_text. E_NOT_FOUND, E_SYS, E_LIMIT, E_NO_MEMORY. */
static enum err read_all(const struct vfs *v, const char *path, uint8_t **ret_text, size_t *ret_n) {
    int fd = -1;
    uint64_t size = 0;
    uint8_t *text = NULL;
    enum err e = v->open(v->ctx, path, O_RDONLY, 0, &fd);
    if (e != OK) return e;
    e = v->size(v->ctx, fd, &size);
    if (e == OK && size > STATE_FILE_MAX) e = E_LIMIT;
    if (e == OK) {
        text = malloc((size_t)size + 1);
        e = text != NULL ? v->read_at(v->ctx, fd, text, (size_t)size, 0, ret_n) : E_NO_MEMORY;
    }
    const int why = errno;
    v->close(v->ctx, fd);
    if (e != OK) free(text);
    if (e == OK) *ret_text = text;
    errno = why;
    return e;
}

enum err stats_state_check(const struct paths *paths, struct problem *ret_problem) {
    struct stat st;
    const char *path = paths->stats;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return problem_set(ret_problem, E_SYS, "%s is not a regular file: move it away", path);
    if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0 || errno == ENOENT) return OK;
    return file_problem(ret_problem, "cannot read", path, errno);
}

/* Whether there are the keys of this state. */
static bool read_keys(struct stats_state *t, struct bytes state, struct stats_keys *ret) {
    uint8_t *file = NULL;
    size_t n = 0;
    const char *path = t->paths->stats_key;
    if (crypto_sha256(state, t->sum) != OK) return false;
    const enum err e = read_all(t->vfs, path, &file, &n);
    const bool is_there = e == OK && stats_keys_read(bytes_of(file, n), t->sum, ret);
    if (file != NULL) crypto_wipe(file, n);
    free(file);
    if (e == OK && !is_there)
        log_line(LOG_WARN, "stats_key_of_another_file", "file=\"%s\"", path);
    else if (e != OK && e != E_NOT_FOUND)
        log_line(LOG_WARN, "stats_key_lost", "file=\"%s\" reason=\"%s\"", path, err_reason(e));
    return is_there;
}

enum err stats_state_restore(struct stats_state *t, struct problem *ret_problem) {
    const char *path = t->paths->stats;
    uint8_t *text = NULL;
    size_t n = 0;
    struct stats_keys keys;
    enum err e = read_all(t->vfs, path, &text, &n);
    if (e == E_NOT_FOUND) return OK;
    if (e == E_SYS) return file_problem(ret_problem, "cannot read", path, errno);
    if (e != OK) return problem_set(ret_problem, e, "cannot read %s: %s", path, err_meaning(e));
    const struct bytes state = bytes_of(text, n);
    const bool has_keys = read_keys(t, state, &keys);
    e = stats_restore(t->stats, state, has_keys ? &keys : NULL);
    crypto_wipe(&keys, sizeof keys);
    free(text);
    return e == OK ? OK : keep_aside(t, ret_problem);
}
