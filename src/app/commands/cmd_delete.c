/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_delete.c -- `smp-server delete`: the server's own files go, after a question. Other files in
 * its directories stay and are named; a journal that the settings put elsewhere stays too. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/commands/cli.h"
#include "app/files/file_problem.h"
#include "app/files/files.h"
#include "app/server/own_files.h"
#include "app/terminal/prompt.h"
#include "app/server/storage.h"

struct delete_args {
    bool yes;
};

static const struct cli_option OPTIONS[] = {
    {"yes", 'y', NULL, offsetof(struct delete_args, yes), "Do not ask"},
};

static void print_left(const char *dir, const char *name) {
    printf("Left: %s/%s\n", dir, name);
}

static void ignore_warning(void *ctx, const char *text) {
    (void)ctx;
    (void)text;
}

/* The settings may be damaged: a server can be deleted then, too. */
static void print_journal_elsewhere(const struct paths *paths) {
    CLEANUP(conf_done) struct conf conf;
    struct problem ignored = {0};
    conf_init(&conf);
    const enum err e = conf_load(&conf, paths->ini, ignore_warning, NULL, &ignored);
    const char *path = conf.journal_path;
    if (e != OK || *path == '\0' || strcmp(path, paths->journal) == 0) return;
    if (file_exists(path)) printf("Left: %s (journal_path)\n", path);
}

/* Any of these makes the directories those of a server. */
static enum err check_is_server(const struct paths *paths, struct problem *p) {
    const char *const marks[] = {paths->ini, paths->ca_crt, paths->fingerprint, paths->store_log};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        if (file_exists(marks[i])) return OK;
        if (errno == EACCES) return file_problem(p, "cannot read", marks[i], errno);
    }
    return problem_set(p, E_NOT_FOUND,
                       "there is no server in %s and %s: nothing to delete; set "
                       "SMP_SERVER_CFG_PATH and SMP_SERVER_LOG_PATH if it is elsewhere",
                       paths->cfg, paths->state);
}

static enum err remove_from(const char *dir, struct problem *p) {
    struct own_files_count n;
    const enum err e = own_files_remove(dir, "smp-server.ini", print_left, &n, p);
    if (e != OK) return e;
    printf("%s: files removed: %u%s\n", dir, n.n_removed,
           n.is_gone       ? ", and the directory"
           : n.n_left == 0 ? "; the directory stays"
                           : "; the directory stays with what is not the server's");
    return OK;
}

static enum err confirm(const struct delete_args *a, const struct paths *paths, struct problem *p) {
    printf("WARNING: deleting the server will make all queues inaccessible, because the server "
           "identity (certificate fingerprint) will change.\n"
           "Configuration: %s\nQueues and messages: %s\n"
           "THIS CANNOT BE UNDONE!\n",
           paths->cfg, paths->state);
    return a->yes ? OK : prompt_confirm("Continue (Y/n): ", "Y", p);
}

/* State first: with the settings file, which goes last, the command can be run again. */
static enum err remove_all(const struct paths *paths, bool has_cfg, bool has_state,
                           struct problem *p) {
    enum err e = OK;
    if (has_state && strcmp(paths->state, paths->cfg) != 0) e = remove_from(paths->state, p);
    if (has_cfg && e == OK) e = remove_from(paths->cfg, p);
    if (e == OK) printf("Deleted configuration and log files\n");
    return e;
}

static enum err run_delete(const void *args, const struct paths *paths,
                           struct problem *ret_problem) {
    bool has_cfg = false, has_state = false;
    enum err e = check_is_server(paths, ret_problem);
    if (e == OK) e = own_files_check(paths->cfg, &has_cfg, ret_problem);
    if (e == OK) e = own_files_check(paths->state, &has_state, ret_problem);
    if (e != OK) return e;
    /* The file of the lock is not made before the answer: a no changes nothing. */
    CLEANUP(storage_done)
    struct storage lock = {.paths = paths, .on_disk = file_exists(paths->lock), .lock_fd = -1};
    e = storage_lock(&lock, ret_problem);
    if (e == OK) e = confirm(args, paths, ret_problem);
    if (e == OK && lock.lock_fd < 0 && has_state) {
        lock.on_disk = true;
        e = storage_lock(&lock, ret_problem);
    }
    if (e != OK) return e;
    print_journal_elsewhere(paths);
    return remove_all(paths, has_cfg, has_state, ret_problem);
}

const struct command CMD_DELETE = {
    .name = "delete",
    .summary = "Delete the server: configuration, identity, queues and messages",
    .options = OPTIONS,
    .n_options = ARRAY_LEN(OPTIONS),
    .args_len = sizeof(struct delete_args),
    .run = run_delete,
};
