/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/commands/init_beside.h"

#include <stdio.h>
#include <string.h>

#include "app/files/files.h"
#include "app/server/journal_dir.h"
#include "app/server/storage.h"

/* ---- an identity ---- */

enum part { CA_KEY, CA_CRT, SERVER_KEY, SERVER_CRT, FINGERPRINT, N_PARTS };
enum { NAMES_MAX = 128, CURE_MAX = 256 };

static const char *const NAMES[N_PARTS] = {"ca.key", "ca.crt", "server.key", "server.crt",
                                           "fingerprint"};

/* "a, b and c" of those that are there, or that are not. */
static void list_parts(const bool there[N_PARTS], bool wanted, enum part from, const char *last,
                       char ret[NAMES_MAX]) {
    const char *found[N_PARTS];
    unsigned n = 0;
    for (unsigned i = from; i < N_PARTS; i++) {
        if (there[i] == wanted) found[n++] = NAMES[i];
    }
    size_t at = 0;
    ret[0] = '\0';
    for (unsigned i = 0; i < n; i++) {
        const char *joint = i == 0 ? "" : i + 1 == n ? last : ", ";
        const int len = snprintf(ret + at, NAMES_MAX - at, "%s%s", joint, found[i]);
        at += len > 0 ? (size_t)len : 0;
    }
}

/* Whoever has ca.key can make the rest again; without it all of the rest is needed. */
static void write_cure(const bool there[N_PARTS], char ret[CURE_MAX]) {
    char missing[NAMES_MAX];
    list_parts(there, false, SERVER_KEY, " and ", missing);
    if (!there[CA_CRT]) {
        (void)snprintf(ret, CURE_MAX, "put back %s from your backup", NAMES[CA_CRT]);
    } else if (missing[0] == '\0') {
        (void)snprintf(ret, CURE_MAX,
                       "put that back from your backup, or write a new one with `smp-server init "
                       "--keep-identity`");
    } else if (there[CA_KEY]) {
        (void)snprintf(ret, CURE_MAX,
                       "run `smp-server cert%s`, then `smp-server init --keep-identity`",
                       there[SERVER_CRT] ? "" : " -a ED25519 --cn HOST");
    } else {
        (void)snprintf(ret, CURE_MAX, "put back %s, or %s from your backup", NAMES[CA_KEY],
                       missing);
    }
}

enum err init_beside_identity(const struct paths *paths, struct problem *ret_problem) {
    const char *const files[N_PARTS] = {paths->ca_key, paths->ca_crt, paths->server_key,
                                        paths->server_crt, paths->fingerprint};
    bool there[N_PARTS], some = false;
    for (unsigned i = 0; i < N_PARTS; i++) {
        there[i] = file_exists(files[i]);
        some = some || there[i];
    }
    if (!some) return OK;
    char found[NAMES_MAX], cure[CURE_MAX];
    list_parts(there, true, CA_KEY, ", ", found);
    write_cure(there, cure);
    return problem_set(ret_problem, E_EXISTS,
                       "%s has %s of a server, but no smp-server.ini: to keep its identity, %s; "
                       "for "
                       "a new server move these files away",
                       paths->cfg, found, cure);
}

/* ---- a store ---- */

enum err init_beside_store(const struct paths *paths, struct problem *ret_problem) {
    const char *const files[] = {paths->store_log, paths->store_log_start, paths->messages_log,
                                 paths->ntfs_log};
    const char *found = NULL;
    bool is_there = false;
    if (!file_exists(paths->state)) return OK;
    enum err e = OK;
    for (size_t i = 0; i < ARRAY_LEN(files) && e == OK && found == NULL; i++) {
        e = storage_has_content(files[i], &is_there, ret_problem);
        if (is_there) found = files[i];
    }
    if (e == OK && found == NULL) e = journal_dir_is_used(paths->journal, &is_there, ret_problem);
    if (is_there && found == NULL) found = paths->journal;
    if (e == OK && found == NULL)
        e = journal_dir_is_reference(paths->reference_journal, &is_there, ret_problem);
    if (is_there && found == NULL) found = paths->reference_journal;
    if (e != OK || found == NULL) return e;
    return problem_set(ret_problem, E_EXISTS,
                       "%s is of a server whose settings are not in %s: to keep its identity, put "
                       "back that directory's files and run `smp-server start`; for a new server "
                       "move %s away",
                       found, paths->cfg, found);
}
