/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/files/dir_lock.h"
#include "app/files/file_problem.h"
#include "app/server/journal_dir.h"
#include "app/server/notify.h"
#include "app/terminal/progress.h"
#include "base/day.h"
#include "base/log.h"
#include "base/vfs_dry.h"
#include "store/files.h"
#include "store/nothing.h"

enum {
    SYNC_INTERVAL_MS = 1000, /* as the explanation of `sync` says */
    TRY_PROGRESS_DELAY_MS = 500,
    /* A log that is written anew in less time than anybody notices; and how much of one is waste.
     */
    COMPACT_LATER_LEN = 8 << 20,
    COMPACT_WASTE_LINES = 10000,
    COMPACT_LOOK_MS = 1000,
    ERASE_MS = 30000,
    /* How long a stop waits for room: managers kill after some 90 s, unless they can be told. */
    SAVE_RETRY_MS = 60 * 1000,
    SAVE_RETRY_HEARD_MS = 300 * 1000,
    DB_STOP_MS = 20 * 1000, /* for a database that is not there, at a stop */
    DB_COUNTERS_MS = 10 * 1000,
};

static struct db_store_opts database_of(const struct conf *c, const struct paths *paths) {
    const bool is_days = c->db_deleted_ttl <= CONF_DB_TTL_DAYS_MAX;
    return (struct db_store_opts){
        .db = {.connection = c->db_connection, .schema = c->db_schema},
        .cache_bytes = (size_t)c->db_cache_mb << 20,
        .patience_ms = (unsigned)c->db_patience_s * 1000,
        .replay_ms = (unsigned)c->db_replay_s * 1000,
        .stop_ms = DB_STOP_MS,
        .deleted_ttl_s = is_days ? c->db_deleted_ttl * DAY_S : c->db_deleted_ttl,
        .ntfs_log = paths->ntfs_log,
        .store_log = c->db_store_log ? paths->store_log : NULL,
    };
}

enum err storage_init(struct storage *ret, const struct conf *c, const struct paths *paths,
                      struct problem *ret_problem) {
    *ret = (struct storage){
        .paths = paths,
        .on_disk = c->store_log,
        .in_journal = strcmp(c->store_messages, "journal") == 0,
        .saves_messages = c->restore_messages,
        .quota = (unsigned)c->message_quota,
        .sync_interval_ms = strcmp(c->sync, "interval") == 0 ? SYNC_INTERVAL_MS : 0,
        .hold_ms = (unsigned)c->hold_ms,
        .copies_ttl_s = c->keep_copies_hours * 3600,
        .lock_fd = -1,
    };
    ret->in_database = c->store_log && strcmp(c->store_messages, "database") == 0;
    if (ret->in_database) {
        ret->saves_messages = false;
        ret->has_log_beside = c->db_store_log;
        ret->db = database_of(c, paths);
    }
    const char *journal = c->journal_path[0] != '\0' ? c->journal_path : paths->journal;
    const int n = snprintf(ret->journal, sizeof ret->journal, "%s", journal);
    if (n >= 0 && (size_t)n < sizeof ret->journal) return OK;
    return problem_set(ret_problem, E_CONFIG, "[STORE_LOG] journal_path is too long");
}

void storage_done(struct storage *s) {
    if (s->lock_fd >= 0) (void)close(s->lock_fd);
    s->lock_fd = -1;
    while (s->n_dirs > 0) (void)close(s->dir_fds[--s->n_dirs]);
}

/* ---- rights ---- */

static bool may_use(const char *path, int mode) {
    return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0;
}

enum err storage_check_dir(const char *dir, struct problem *ret_problem) {
    struct stat st;
    const bool is_there = stat(dir, &st) == 0;
    if (!is_there && errno == ENOENT) {
        char me[USER_NAME_MAX] = "USER";
        if (geteuid() != 0) user_name(geteuid(), me);
        return problem_set(ret_problem, E_NOT_FOUND,
                           "the directory %s does not exist: restore it from your backup, make it "
                           "as root for the user that runs smp-server (`install -d -o %s -m 750 "
                           "%s`), or set SMP_SERVER_LOG_PATH",
                           dir, me, dir);
    }
    if (is_there && !S_ISDIR(st.st_mode)) {
        return problem_set(ret_problem, E_SYS, "%s is not a directory: move it away", dir);
    }
    if (is_there && may_use(dir, R_OK | W_OK | X_OK)) return OK;
    return file_problem(ret_problem, "cannot write into", dir, errno);
}

enum err storage_check_journal_dir(const char *dir, struct problem *ret_problem) {
    struct stat st;
    char above[PATH_MAX];
    const struct new_dir journal = {dir, 0700, "[STORE_LOG] journal_path"};
    if (stat(dir, &st) == 0 || (errno != ENOENT && errno != ENOTDIR))
        return storage_check_dir(dir, ret_problem);
    (void)snprintf(above, sizeof above, "%s", dir);
    if (may_use(dirname(above), W_OK | X_OK)) return OK;
    return new_dir_problem(ret_problem, dir, &journal, errno);
}

enum err storage_check_file(const char *path, struct problem *ret_problem) {
    struct stat st;
    if (lstat(path, &st) != 0 && errno == ENOENT) return OK;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        return problem_set(ret_problem, E_SYS, "%s is not a regular file: move it away", path);
    }
    if (may_use(path, R_OK | W_OK)) return OK;
    return file_problem(ret_problem, "cannot read and write", path, errno);
}

/* ---- the lock ---- */

static long pid_in(int fd) {
    char text[24] = {0};
    return pread(fd, text, sizeof text - 1, 0) > 0 ? strtol(text, NULL, 10) : 0;
}

/* For the message that the next one gets; the lock itself does not need it. */
static void write_pid(int fd) {
    char text[24];
    const int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) {
        log_line(LOG_WARN, "lock", "pid=not written error=\"%s\"", strerror(errno));
    }
}

static bool is_elsewhere(const struct storage *s) {
    return s->in_journal && strcmp(s->journal, s->paths->journal) != 0;
}

void storage_make(const struct storage *s) {
    char parent[PATH_MAX];
    const struct vfs *v = &VFS_SYSTEM;
    if (!s->on_disk || !is_elsewhere(s) || v->mkdir(v->ctx, s->journal, 0700) != OK) return;
    (void)snprintf(parent, sizeof parent, "%s", s->journal);
    (void)v->sync_dir(v->ctx, dirname(parent));
}

static enum err lock_dir(struct storage *s, const char *dir, const char *remedy,
                         struct problem *p) {
    int fd = -1;
    const enum err e = dir_lock(dir, remedy, &fd, p);
    if (fd >= 0) s->dir_fds[s->n_dirs++] = fd;
    return e;
}

/* Twice the same directory would be locked against itself. */
static enum err lock_dirs(struct storage *s, struct problem *p) {
    struct stat state, journal;
    if (s->n_dirs != 0) return OK;
    const enum err e = lock_dir(s, s->paths->state, "", p);
    const bool is_same = stat(s->paths->state, &state) == 0 && stat(s->journal, &journal) == 0 &&
                         state.st_dev == journal.st_dev && state.st_ino == journal.st_ino;
    if (e != OK || !s->on_disk || !is_elsewhere(s) || is_same) return e;
    return lock_dir(s, s->journal, ", or set another [STORE_LOG] journal_path", p);
}

enum err storage_lock(struct storage *s, struct problem *ret_problem) {
    if (!s->on_disk) return lock_dirs(s, ret_problem);
    const char *path = s->paths->lock;
    enum err e = storage_check_dir(s->paths->state, ret_problem);
    if (e == OK) e = storage_check_file(path, ret_problem);
    if (e != OK) return e;
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0) return file_problem(ret_problem, "cannot open", path, errno);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        write_pid(fd);
        s->lock_fd = fd;
        return lock_dirs(s, ret_problem);
    }
    if (errno == EWOULDBLOCK) {
        (void)problem_set(ret_problem, E_EXISTS,
                          "another smp-server (process %ld) uses the directory %s: stop it first",
                          pid_in(fd), s->paths->state);
    } else {
        (void)file_problem(ret_problem, "cannot lock", path, errno);
    }
    (void)close(fd);
    return E_EXISTS;
}

/* Trying the lock would keep a server from starting that tries it at the same moment. */
long storage_locked_by(const struct storage *s) {
    const int fd = open(s->paths->lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return 0;
    const long pid = pid_in(fd);
    const bool has_lock = pid > 0 && dir_lock_owner(fd) == pid;
    (void)close(fd);
    return has_lock ? pid : 0;
}

/* ---- files that contradict the settings ---- */

enum err storage_has_content(const char *path, bool *ret, struct problem *ret_problem) {
    struct stat st;
    *ret = false;
    if (stat(path, &st) == 0) {
        *ret = st.st_size > 0;
        return OK;
    }
    return errno == ENOENT ? OK : file_problem(ret_problem, "cannot read", path, errno);
}

static enum err check_reference_journal(const struct storage *s, struct problem *p) {
    bool found = false;
    const char *dir = s->paths->reference_journal;
    const enum err e = journal_dir_is_reference(dir, &found, p);
    if (e != OK || !found) return e;
    return problem_set(p, E_CONFIG,
                       "%s is the message journal of the reference server, in a format of its own: "
                       "run `smp-server journal import`, or move that directory away to do without "
                       "its messages",
                       dir);
}

static enum err check_journal(const struct storage *s, bool has_log, bool has_journal,
                              struct problem *p) {
    if (has_log && has_journal) {
        return problem_set(p, E_CONFIG,
                           "store_messages is journal, but there are messages in %s too: if they "
                           "were exported from the journal or copied there, move that file away; "
                           "else run `smp-server journal delete` (which drops the messages of the "
                           "journal), then `smp-server journal import`",
                           s->paths->messages_log);
    }
    if (has_log) {
        return problem_set(p, E_CONFIG,
                           "store_messages is journal, but there are messages in %s: run "
                           "`smp-server journal import`, or move that file away to do without them",
                           s->paths->messages_log);
    }
    return OK;
}

void storage_log_warning(void *ctx, const char *text) {
    (void)ctx;
    log_line(LOG_WARN, "storage", "%s", text);
}

static void warn_not_read(const char *path, const char *why, conf_warn *warn, void *ctx) {
    struct problem text;
    (void)problem_set(&text, OK, "%s is not read: %s", path, why);
    warn(ctx, text.text);
}

static enum err check_memory(const struct storage *s, bool has_log, bool has_journal,
                             struct problem *p) {
    if (has_journal && has_log) {
        return problem_set(p, E_CONFIG,
                           "store_messages is memory, but the journal %s still exists beside %s: "
                           "if it was exported, run `smp-server journal delete`; else set "
                           "store_messages: journal",
                           s->journal, s->paths->messages_log);
    }
    if (has_journal) {
        return problem_set(p, E_CONFIG,
                           "store_messages is memory, but the journal %s may hold messages: run "
                           "`smp-server journal export` and `smp-server journal delete`, or set "
                           "store_messages: journal",
                           s->journal);
    }
    return OK;
}

static void ignore_warning(void *ctx, const char *text) {
    (void)ctx;
    (void)text;
}

/* Segments alone say nothing: a server that never got a message has some too. One that cannot be
 * read may hold messages. */
static enum err holds_messages(const struct storage *s, bool *ret, struct problem *p) {
    struct problem damage;
    struct store_counts n = {0};
    struct storage journal = *s;
    const enum err e = journal_dir_is_used(s->journal, ret, p);
    if (e != OK || !*ret) return e;
    journal.in_journal = true;
    journal.in_database = false;
    *ret = storage_try(&journal, ignore_warning, NULL, &n, &damage) != OK || n.n_messages != 0;
    return OK;
}

/* A log that began somewhere in the middle would not be a copy of anything. */
static enum err check_log_beside(const struct storage *s, struct problem *p) {
    if (access(s->paths->store_log, F_OK) != 0 && errno == ENOENT) {
        return problem_set(p, E_CONFIG,
                           "db_store_log is on, and %s does not exist: write it by `smp-server "
                           "database export --table queues`, or set db_store_log = off",
                           s->paths->store_log);
    }
    return storage_check_file(s->paths->store_log, p);
}

/* What is in files would not be served. */
static enum err check_database(const struct storage *s, struct problem *p) {
    bool has_queues = false, has_messages = false, has_journal = false;
    enum err e = s->has_log_beside ? check_log_beside(s, p)
                                   : storage_has_content(s->paths->store_log, &has_queues, p);
    if (e == OK) e = storage_has_content(s->paths->messages_log, &has_messages, p);
    if (e == OK && !has_queues) e = holds_messages(s, &has_journal, p);
    if (e != OK || (!has_queues && !has_messages && !has_journal)) return e;
    return problem_set(p, E_CONFIG,
                       "store_queues is database, but there %s %s%s: run `smp-server database "
                       "import`%s, or move that away to do without it",
                       has_queues ? "are queues in" : "are messages in",
                       has_queues     ? s->paths->store_log
                       : has_messages ? s->paths->messages_log
                                      : s->journal,
                       has_queues && has_messages ? " and the messages log" : "",
                       has_journal ? " --table messages, after `smp-server journal export`" : "");
}

enum err storage_check(const struct storage *s, conf_warn *warn, void *ctx,
                       struct problem *ret_problem) {
    bool has_store_log = false, has_log = false, has_journal = false;
    if (!s->on_disk) {
        const enum err e = storage_has_content(s->paths->store_log, &has_store_log, ret_problem);
        if (e == OK && has_store_log)
            warn_not_read(s->paths->store_log, "[STORE_LOG] enable is off", warn, ctx);
        return e;
    }
    enum err e = check_reference_journal(s, ret_problem);
    if (e == OK && s->in_database) return check_database(s, ret_problem);
    if (e == OK) e = storage_has_content(s->paths->messages_log, &has_log, ret_problem);
    if (e == OK && (!s->in_journal || has_log)) e = holds_messages(s, &has_journal, ret_problem);
    if (e == OK && s->in_journal) e = journal_dir_check_access(s->journal, ret_problem);
    if (e != OK) return e;
    if (s->in_journal) return check_journal(s, has_log, has_journal, ret_problem);
    e = check_memory(s, has_log, has_journal, ret_problem);
    if (e == OK && has_log && !s->saves_messages)
        warn_not_read(s->paths->messages_log, "restore_messages is off", warn, ctx);
    return e;
}

/* ---- opening ---- */

static void print_database(const struct storage *s) {
    char shown[DB_SHOWN_MAX];
    struct wr w = wr_init(shown, sizeof shown);
    db_show_connection(s->db.db.connection, &w);
    const struct bytes b = wr_bytes(&w);
    printf("PostgreSQL database: %.*s, schema: %s\n", (int)b.n, (const char *)b.p, s->db.db.schema);
    if (s->has_log_beside) printf("Store log: %s, a copy\n", s->paths->store_log);
}

void storage_print(const struct storage *s) {
    if (!s->on_disk) {
        printf("Store log disabled.\n");
        return;
    }
    if (s->in_database) {
        print_database(s);
        return;
    }
    printf("Store log: %s\n", s->paths->store_log);
    if (s->in_journal) {
        printf("Messages: journal %s%s\n", s->journal,
               s->sync_interval_ms != 0 ? ", synced every second" : "");
        printf("Backups must copy the journal too: there is no %s with it\n",
               s->paths->messages_log);
    } else if (s->saves_messages) {
        printf("Messages: memory, saved at an orderly stop to %s\n", s->paths->messages_log);
    } else {
        printf("Messages: memory, not saved\n");
    }
}

static void log_counts(struct store *store) {
    const struct store_counts n = store_counts(store);
    log_line(LOG_INFO, "store", "queues=%" PRIu64 " messages=%" PRIu64, n.n_queues, n.n_messages);
}

static unsigned save_retry_ms(const struct storage_use *use) {
    if (!use->serves) return 0;
    return notify_is_heard() ? SAVE_RETRY_HEARD_MS : SAVE_RETRY_MS;
}

static struct files_opts files_of(const struct storage *s, const struct storage_use *use) {
    const struct paths *paths = s->paths;
    const bool in_log = !s->in_journal && s->saves_messages;
    return (struct files_opts){
        .vfs = use->vfs != NULL ? use->vfs : &VFS_SYSTEM,
        .store_log = paths->store_log,
        .messages_log = in_log ? paths->messages_log : NULL,
        .restore_messages = in_log,
        .ntfs_log = in_log || s->in_journal ? paths->ntfs_log : NULL,
        .journal_dir = s->in_journal ? s->journal : NULL,
        .journal_mark = s->in_journal ? paths->journal_mark : NULL,
        .sync_interval_ms = s->sync_interval_ms,
        .hold_ms = s->hold_ms,
        .commit_stats = use->commit_stats,
        .skip_warnings = use->skip_warnings,
        .compact_log = use->compact_log,
        .compact_later_len = use->serves ? COMPACT_LATER_LEN : 0,
        .compact_waste_lines = COMPACT_WASTE_LINES,
        .save_retry_ms = save_retry_ms(use),
        .stop_takes = notify_takes,
        .compact_look_ms = use->serves ? COMPACT_LOOK_MS : 0,
        .erase_ms = ERASE_MS,
        .copies_ttl_s = s->copies_ttl_s,
        .progress = progress_report,
    };
}

/* Checks the whole store log, and leaves one line for each queue. */
static enum err compact_log_beside(const struct storage *s, const struct storage_use *use,
                                   const struct store_opts *o, struct store_problem *ret_problem) {
    struct store *store = NULL;
    struct storage log = *s;
    log.in_database = false;
    if (!s->has_log_beside) {
        (void)snprintf(ret_problem->text, sizeof ret_problem->text,
                       "--compact-log: there is no store log beside the database, db_store_log is "
                       "off");
        return E_CONFIG;
    }
    struct files_opts f = files_of(&log, use);
    f.compact_look_ms = 0;
    const enum err e = files_open_memory(o, &f, &store, ret_problem);
    store_close(store);
    return e;
}

static enum err open_backend(const struct storage *s, const struct storage_use *use,
                             struct store **ret, struct store_problem *ret_problem) {
    const struct store_opts o = {
        .env = &ENV_SYSTEM,
        .quota = s->quota,
        .on_durable = use->on_durable,
        .ctx = use->ctx,
        .expiry = use->expiry,
    };
    if (!s->on_disk) return nothing_open(&o, ret);
    if (s->in_database) {
        struct db_store_opts d = s->db;
        if (use->compact_log) {
            const enum err e = compact_log_beside(s, use, &o, ret_problem);
            if (e != OK) return e;
        }
        d.vfs = use->vfs != NULL ? use->vfs : &VFS_SYSTEM;
        d.stats = use->commit_stats;
        d.counters_ms = use->serves ? DB_COUNTERS_MS : 0;
        d.taken_over = use->taken_over;
        d.node = use->node;
        return db_store_open(&o, &d, ret, ret_problem);
    }
    const struct files_opts f = files_of(s, use);
    return s->in_journal ? files_open_journal(&o, &f, ret, ret_problem)
                         : files_open_memory(&o, &f, ret, ret_problem);
}

struct store_expiry storage_expiry(const struct conf *c, struct stats_sheet *stats) {
    return (struct store_expiry){
        .message_ttl_s = conf_message_ttl_s(c),
        .ntf_ttl_s = conf_ntf_ttl_s(c),
        .service_ttl_s = c->expire_services_days * 24 * 3600,
        .interval_s = c->expiry_interval_s,
        .at_start = c->expire_on_start,
        .stats = stats,
    };
}

enum err storage_migrate(const struct storage *s, struct problem *ret_problem) {
    struct store_problem problem = {0};
    struct db *db = NULL;
    enum err e = s->in_database ? db_open(&s->db.db, &db, &problem) : OK;
    if (e == OK && db != NULL) e = db_migrate(db, &problem);
    db_close(db);
    return e == OK ? OK : problem_set(ret_problem, e, "%s", problem.text);
}

enum err storage_open(const struct storage *s, const struct storage_use *use, struct store **ret,
                      struct problem *ret_problem) {
    struct store_problem problem = {0};
    errno = 0;
    const enum err e = open_backend(s, use, ret, &problem);
    if (e != OK) {
        return problem_set(ret_problem, e, "%s",
                           problem.text[0] != '\0' ? problem.text : err_meaning(e));
    }
    if (s->on_disk && !s->in_database) log_counts(*ret);
    return OK;
}

/* ---- opening, without a change ---- */

struct listener {
    conf_warn *warn;
    void *ctx;
};

static void tell_listener(void *ctx, enum log_level level, const char *line) {
    const struct listener *l = ctx;
    if (level <= LOG_WARN) l->warn(l->ctx, line);
}

enum err storage_try(const struct storage *s, conf_warn *warn, void *ctx, struct store_counts *ret,
                     struct problem *ret_problem) {
    struct vfs_dry *dry = NULL;
    struct store *store = NULL;
    struct listener listener = {warn, ctx};
    if (vfs_dry_new(&dry) != OK) return problem_set(ret_problem, E_NO_MEMORY, "out of memory");
    const struct storage_use use = {.vfs = vfs_dry_vfs(dry), .serves = true};
    log_to(tell_listener, &listener);
    progress_begin(&ENV_SYSTEM, NULL, TRY_PROGRESS_DELAY_MS);
    const enum err e = storage_open(s, &use, &store, ret_problem);
    progress_end();
    if (e == OK) *ret = store_counts(store);
    store_close(store);
    log_to(NULL, NULL);
    vfs_dry_free(dry);
    return e;
}
