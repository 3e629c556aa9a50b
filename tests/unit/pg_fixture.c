/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "pg_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

enum { WAIT_MS = 60000, STEP_MS = 20 };

static struct {
    char programs[PATH_MAX], folder[64], data[96], connection[160], value[256];
    pid_t pid;
} pg;

static void die(const char *what, const char *why) {
    (void)fprintf(stderr, "pg_fixture: %s: %s\n", what, why);
    abort();
}

/* The newest that is installed. */
static void find_programs(void) {
    glob_t found;
    int newest = 0;
    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) != 0)
        die("no PostgreSQL", "run `tools/deps test`");
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const int version =
            (int)strtol(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"), NULL, 10);
        if (version <= newest) continue;
        newest = version;
        (void)snprintf(pg.programs, sizeof pg.programs, "%.*s",
                       (int)(strlen(found.gl_pathv[i]) - strlen("/initdb")), found.gl_pathv[i]);
    }
    globfree(&found);
}

/* In the child. PostgreSQL refuses to run as root. */
static void become(const char *program, char *words[]) {
    char path[PATH_MAX + 16];
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    if (user != NULL &&
        (setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0))
        _exit(126);
    (void)prctl(PR_SET_PDEATHSIG, SIGQUIT);
    const int log = open("/dev/null", O_RDWR);
    if (log < 0 || dup2(log, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) _exit(126);
    (void)snprintf(path, sizeof path, "%s/%s", pg.programs, program);
    words[0] = path; /* they look for each other where they are called from, else in PATH */
    if (chdir(pg.folder) == 0) (void)execv(path, words);
    _exit(127);
}

static pid_t spawn(const char *program, char *words[]) {
    const pid_t pid = fork();
    if (pid < 0) die("fork", strerror(errno));
    if (pid == 0) become(program, words);
    return pid;
}

static void pause_ms(long ms) {
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    (void)nanosleep(&t, NULL);
}

static PGconn *connect(void) {
    char as[224];
    (void)snprintf(as, sizeof as, "host=%s user=postgres dbname=postgres", pg.folder);
    return PQconnectdb(as);
}

void pg_start(void) {
    char *words[] = {"postgres",
                     "-D",
                     pg.data,
                     "-k",
                     pg.folder,
                     "-c",
                     "listen_addresses=",
                     "-c",
                     "fsync=off",
                     "-c",
                     "full_page_writes=off",
                     "-c",
                     "autovacuum=off",
                     "-c",
                     "shared_buffers=16MB",
                     NULL};
    pg.pid = spawn("postgres", words);
    for (long ms = 0; ms < WAIT_MS; ms += STEP_MS) {
        PGconn *c = connect();
        const bool is_up = PQstatus(c) == CONNECTION_OK;
        PQfinish(c);
        if (is_up) return;
        if (waitpid(pg.pid, NULL, WNOHANG) == pg.pid) die("postgres", "it ended");
        pause_ms(STEP_MS);
    }
    die("postgres", "it does not answer");
}

void pg_crash(void) {
    (void)kill(pg.pid, SIGQUIT);
    (void)waitpid(pg.pid, NULL, 0);
}

void pg_begin(void) {
    int status = 0;
    find_programs();
    (void)snprintf(pg.folder, sizeof pg.folder, "/tmp/smp-pg-XXXXXX");
    if (mkdtemp(pg.folder) == NULL) die(pg.folder, strerror(errno));
    (void)snprintf(pg.data, sizeof pg.data, "%s/data", pg.folder);
    (void)snprintf(pg.connection, sizeof pg.connection, "host=%s user=postgres dbname=postgres",
                   pg.folder);
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    if (user != NULL && chown(pg.folder, user->pw_uid, user->pw_gid) != 0)
        die(pg.folder, strerror(errno));
    char *words[] = {"initdb", "-D", pg.data, "-U",         "postgres",  "-A",
                     "trust",  "-E", "UTF8",  "--locale=C", "--no-sync", NULL};
    const pid_t pid = spawn("initdb", words);
    if (waitpid(pid, &status, 0) != pid || status != 0) die("initdb", "it failed");
    pg_start();
}

void pg_end(void) {
    char command[PATH_MAX];
    pg_crash();
    (void)snprintf(command, sizeof command, "rm -rf '%s'", pg.folder);
    if (system(command) != 0) die(command, "it failed");
}

const char *pg_connection(void) {
    return pg.connection;
}

pid_t pg_pid(void) {
    return pg.pid;
}

static PGresult *run(PGconn *c, const char *sql) {
    PGresult *r = PQexec(c, sql);
    const ExecStatusType status = PQresultStatus(r);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) die(sql, PQerrorMessage(c));
    return r;
}

void pg_sql(const char *sql) {
    PGconn *c = connect();
    PQclear(run(c, sql));
    PQfinish(c);
}

const char *pg_value(const char *sql) {
    PGconn *c = connect();
    PGresult *r = run(c, sql);
    if (PQntuples(r) != 1) die(sql, "not one row");
    (void)snprintf(pg.value, sizeof pg.value, "%s", PQgetvalue(r, 0, 0));
    PQclear(r);
    PQfinish(c);
    return pg.value;
}
