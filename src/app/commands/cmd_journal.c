/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_journal.c -- `smp-server journal import|export|delete`: messages between the messages log, or
 * the reference's journal, and the journal, while no server runs.
 *
 * What is moved stays where it was until it is durable where it goes. The settings are not changed:
 * each command says what to set. */
#include <inttypes.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <string.h>

#include "app/commands/cli.h"
#include "app/files/file_problem.h"
#include "app/files/files.h"
#include "app/server/journal_dir.h"
#include "app/terminal/progress.h"
#include "app/terminal/prompt.h"
#include "app/server/storage.h"
#include "store/import.h"

struct journal_args {
    bool yes, skip_warnings;
};

static const struct cli_option OPTIONS[] = {
    {"yes", 'y', NULL, offsetof(struct journal_args, yes), "Do not ask"},
    {"skip-warnings", 0, NULL, offsetof(struct journal_args, skip_warnings),
     "Go on in spite of damage: what cannot be read is set\naside"},
};
enum { N_DELETE_OPTIONS = 1 }; /* it reads nothing that could be damaged */

/* What a command works on. */
struct job {
    const struct journal_args *args;
    const struct paths *paths;
    struct conf conf;
    struct storage storage; /* of the journal, whatever the settings say */
    struct store *store;    /* owned; NULL until open_store() */
};

static void job_done(struct job *j) {
    store_close(j->store);
    storage_done(&j->storage);
    conf_done(&j->conf);
}

static enum err job_init(struct job *j, const void *args, const struct paths *paths,
                         struct problem *p) {
    *j = (struct job){.args = args, .paths = paths, .storage = {.lock_fd = -1}};
    conf_init(&j->conf);
    enum err e = conf_load(&j->conf, paths->ini, conf_log_warning, NULL, p);
    if (e == OK && !j->conf.store_log) {
        e = problem_set(p, E_CONFIG, "the store log is disabled: set [STORE_LOG] enable: on in %s",
                        paths->ini);
    }
    if (e == OK) e = storage_init(&j->storage, &j->conf, paths, p);
    if (e != OK) return e;
    j->storage.in_journal = true;
    j->storage.in_database = false;
    j->storage.sync_interval_ms = 0;
    return storage_lock(&j->storage, p);
}

static enum err confirm(const struct job *j, struct problem *p) {
    return j->args->yes ? OK : prompt_confirm("Continue (Y/n): ", "Y", p);
}

static enum err open_store(struct job *j, struct problem *p) {
    const struct storage_use use = {.skip_warnings = j->args->skip_warnings};
    progress_begin(&ENV_SYSTEM, NULL, 0);
    const enum err e = storage_open(&j->storage, &use, &j->store, p);
    progress_end();
    return e;
}

/* Runs one of store_import_messages() and store_export_messages() with the store's threads. */
static enum err run_store(struct job *j, const char *title, const char *path,
                          enum err (*move)(struct store *s, const char *path, uint64_t *ret_n,
                                           struct store_problem *ret_problem),
                          uint64_t *ret_n, struct problem *p) {
    struct store_problem problem = {0};
    enum err e = store_start(j->store);
    if (e == OK) {
        progress_begin(&ENV_SYSTEM, title, 0);
        e = move(j->store, path, ret_n, &problem);
        progress_end();
    }
    struct store_problem stop_problem = {0};
    const enum err stopped = store_stop(j->store, &stop_problem);
    if (e == OK && stopped != OK) {
        e = stopped;
        problem = stop_problem;
    }
    if (e == OK) return OK;
    return problem_set(p, e, "%s", problem.text[0] != '\0' ? problem.text : err_meaning(e));
}

static void print_what_to_set(const struct job *j, const char *wanted) {
    if (strcmp(j->conf.store_messages, wanted) == 0) {
        printf("store_messages is `%s`: start the server.\n", wanted);
    } else {
        printf("Set `store_messages: %s` in [STORE_LOG] of %s, then start the server.\n", wanted,
               j->paths->ini);
    }
}

/* ---- import ---- */

/* Where messages are imported from. */
struct source {
    const char *path;
    bool is_reference; /* its journal, a directory; else a messages log */
};

static enum err choose_source(const struct job *j, struct source *ret, struct problem *p) {
    bool has_log = false, has_reference = false;
    const char *log = j->paths->messages_log, *dir = j->paths->reference_journal;
    enum err e = storage_has_content(log, &has_log, p);
    if (e == OK) e = journal_dir_is_reference(dir, &has_reference, p);
    if (e != OK) return e;
    if (has_log && has_reference) {
        return problem_set(p, E_EXISTS,
                           "there are messages in %s and in %s: if the one was exported from the "
                           "other, move the older away, for messages in both would be delivered "
                           "twice; else import them one after the other, with the other moved away",
                           log, dir);
    }
    *ret = (struct source){has_reference ? dir : log, has_reference};
    if (has_log || has_reference) return OK;
    return problem_set(p, E_NOT_FOUND, "there are no messages in %s or %s: nothing to import", log,
                       dir);
}

/* Without its queue no message can be kept, and the source would be set aside for nothing. */
static enum err check_import(const struct job *j, const struct source *from, struct problem *p) {
    bool has_queues = false;
    char aside[PATH_MAX + sizeof ".bak"];
    const enum err e = storage_has_content(j->paths->store_log, &has_queues, p);
    if (e != OK) return e;
    if (!has_queues) {
        return problem_set(p, E_NOT_FOUND,
                           "there are no queues in %s: messages cannot be imported without them",
                           j->paths->store_log);
    }
    (void)snprintf(aside, sizeof aside, "%s.bak", from->path);
    if (!from->is_reference || !file_exists(aside)) return OK;
    return problem_set(p, E_EXISTS, "%s exists: move it away, nothing is overwritten", aside);
}

/* Messages that are in both would be delivered twice. */
static enum err check_journal_is_empty(const struct job *j, struct problem *p) {
    const uint64_t n = store_counts(j->store).n_messages;
    if (n == 0) return OK;
    return problem_set(p, E_EXISTS,
                       "the journal %s holds %" PRIu64 " messages: if they are of an import that "
                       "was interrupted, or were exported, run `smp-server journal delete` first",
                       j->storage.journal, n);
}

static enum err run_import(const void *args, const struct paths *paths, struct problem *p) {
    CLEANUP(job_done) struct job j;
    struct source from = {.path = NULL};
    uint64_t n = 0;
    enum err e = job_init(&j, args, paths, p);
    if (e == OK) e = choose_source(&j, &from, p);
    if (e == OK) e = check_import(&j, &from, p);
    if (e != OK) return e;
    printf("Messages of %s will be imported into the journal %s.\n", from.path, j.storage.journal);
    e = confirm(&j, p);
    if (e == OK) e = open_store(&j, p);
    if (e == OK) e = check_journal_is_empty(&j, p);
    if (e == OK) {
        e = run_store(&j, "Importing messages", from.path,
                      from.is_reference ? store_import_reference : store_import_messages, &n, p);
    }
    if (e != OK) return e;
    printf("Import completed. Messages: %" PRIu64 ", queues: %" PRIu64 ". %s is now %s.bak\n", n,
           store_counts(j.store).n_queues, from.is_reference ? "The directory" : "The log",
           from.path);
    print_what_to_set(&j, "journal");
    return OK;
}

/* ---- export ---- */

static enum err check_has_journal(const struct job *j, struct problem *p) {
    bool used = false;
    const enum err e = journal_dir_is_used(j->storage.journal, &used, p);
    if (e != OK || used) return e;
    return problem_set(p, E_NOT_FOUND, "there is no journal in %s", j->storage.journal);
}

/* In the order in which it can be done: a start refuses while both hold messages. */
static void print_after_export(const struct job *j, bool holds_messages) {
    if (holds_messages) {
        printf("The journal still holds the same messages. First run `smp-server journal delete`. "
               "Then:\n");
    }
    print_what_to_set(j, "memory");
}

static enum err run_export(const void *args, const struct paths *paths, struct problem *p) {
    CLEANUP(job_done) struct job j;
    uint64_t n = 0;
    enum err e = job_init(&j, args, paths, p);
    if (e == OK) e = check_has_journal(&j, p);
    if (e == OK && file_exists(paths->messages_log)) {
        e = problem_set(p, E_EXISTS, "%s exists: move it away, nothing is overwritten",
                        paths->messages_log);
    }
    if (e != OK) return e;
    printf("Messages of the journal %s will be exported to %s.\n", j.storage.journal,
           paths->messages_log);
    e = confirm(&j, p);
    if (e == OK) e = open_store(&j, p);
    if (e == OK)
        e = run_store(&j, "Exporting messages", paths->messages_log, store_export_messages, &n, p);
    if (e != OK) return e;
    printf("Export completed. Messages: %" PRIu64 ", queues: %" PRIu64 ".\n", n,
           store_counts(j.store).n_queues);
    print_after_export(&j, n != 0);
    return OK;
}

/* ---- delete ---- */

/* Without its mark, so that nobody asks for the journal any more. */
static enum err delete_all(const struct job *j, struct journal_dir_removed *ret,
                           struct problem *p) {
    const char *mark = j->paths->journal_mark;
    const enum err e = journal_dir_remove(j->storage.journal, ret, p);
    if (e != OK || unlink(mark) == 0 || errno == ENOENT) return e;
    return file_problem(p, "cannot remove", mark, errno);
}

/* One that was removed by hand has left its mark. */
static enum err check_can_delete(const struct job *j, struct problem *p) {
    return file_exists(j->paths->journal_mark) ? OK : check_has_journal(j, p);
}

static enum err run_delete(const void *args, const struct paths *paths, struct problem *p) {
    CLEANUP(job_done) struct job j;
    struct journal_dir_removed removed;
    enum err e = job_init(&j, args, paths, p);
    if (e == OK) e = check_can_delete(&j, p);
    if (e != OK) return e;
    printf("WARNING: all messages in the journal %s will be deleted. THIS CANNOT BE UNDONE!\n",
           j.storage.journal);
    e = confirm(&j, p);
    if (e == OK) e = delete_all(&j, &removed, p);
    if (e != OK) return e;
    printf("Deleted the journal %s. Files: %u, bytes: %" PRIu64 ".\n", j.storage.journal,
           removed.n_files, removed.n_bytes);
    bool has_log = false;
    e = storage_has_content(paths->messages_log, &has_log, p);
    if (e == OK) print_what_to_set(&j, has_log ? "memory" : j.conf.store_messages);
    return e;
}

/* ---- the commands ---- */

#define COMMAND(word, text, function, n)                                                           \
    {                                                                                              \
        .name = "journal " word, .summary = (text), .options = OPTIONS, .n_options = (n),          \
        .args_len = sizeof(struct journal_args), .run = (function)                                 \
    }

static const struct command COMMANDS[] = {
    COMMAND("import",
            "Move messages of the messages log, or the reference's journal, into the journal",
            run_import, ARRAY_LEN(OPTIONS)),
    COMMAND("export", "Write the messages of the journal to a messages log", run_export,
            ARRAY_LEN(OPTIONS)),
    COMMAND("delete", "Delete the journal with all its messages", run_delete, N_DELETE_OPTIONS),
};

const struct command CMD_JOURNAL = {
    .name = "journal",
    .summary = "Move messages between the messages log and the journal, or delete it",
    .commands = COMMANDS,
    .n_commands = ARRAY_LEN(COMMANDS),
};
