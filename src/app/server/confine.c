/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/confine.h"

#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "app/process/sandbox.h"
#include "base/log.h"
#include "crypto/secret.h"

enum { DIRS_MAX = 32 };

/* Directories of files that are read again while the server runs. */
struct dirs {
    size_t n;
    const char *at[DIRS_MAX];
    char text[DIRS_MAX][PATH_MAX];
};

static void add_dir_of(struct dirs *d, const char *path) {
    if (d->n == DIRS_MAX) return; /* there are fewer files */
    char copy[PATH_MAX];
    if (strlen(path) >= sizeof copy) return;
    memcpy(copy, path, strlen(path) + 1);
    const char *dir = dirname(copy);
    memcpy(d->text[d->n], dir, strlen(dir) + 1);
    d->at[d->n] = d->text[d->n];
    d->n++;
}

/* A renewed file takes the place of the old one, and so may what a link leads to. */
static void add_file(struct dirs *d, const char *path) {
    char real[PATH_MAX];
    if (path[0] == '\0') return;
    add_dir_of(d, path);
    if (realpath(path, real) != NULL) add_dir_of(d, real);
}

/* A password or certificate of the database is read with each connection. */
static void add_database_file(void *ctx, const char *path) {
    add_file(ctx, path);
}

static void log_state(const struct sandbox_state *s) {
    static const char *const LOCKED[] = {"unlocked", "partly-locked", "locked"};
    log_line(LOG_INFO, "sandbox", "files=%s syscalls=%s core=%s keys=%s", s->files ? "own" : "all",
             s->syscalls ? "own" : "all", s->dumps ? "off" : "on", LOCKED[secret_locking()]);
}

enum err confine(const struct conf *c, const struct paths *paths, const struct storage *storage,
                 struct problem *ret_problem) {
    struct sandbox_state state = {0};
    if (!c->sandbox) {
        log_state(&state);
        return OK;
    }
    struct dirs reads = {.n = 0};
    const char *const files[] = {paths->ini,        paths->fingerprint, paths->ca_crt,
                                 paths->server_crt, paths->server_key,  c->web_cert,
                                 c->web_key};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) add_file(&reads, files[i]);
    if (storage->in_database) db_each_file(storage->db.db.connection, add_database_file, &reads);
    const char *const writes[] = {paths->state, storage->journal, c->web_static_path};
    const struct sandbox_paths allowed = {reads.at, reads.n, writes, ARRAY_LEN(writes)};
    enum err e = sandbox_keep_memory(&state, ret_problem);
    if (e == OK) e = sandbox_enter(&allowed, &state, ret_problem);
    if (e == OK) log_state(&state);
    return e;
}
