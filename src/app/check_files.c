/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Each group of items goes on in spite of what is wrong in the ones before, as far as that leaves
 * something to look at. Rights are those of the user that runs the check. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "app/check.h"
#include "app/check_ports.h"
#include "app/conf.h"
#include "app/identity.h"
#include "app/ports.h"
#include "app/storage.h"

enum {
    EXPIRY_WARNING_DAYS = 30,
    SECONDS_PER_DAY = 86400,
    SPACE_WARNING_MIB = 1024, /* a day of a small server */
    SPACE_ERROR_MIB = 64,     /* the next segments of the journal do not fit any more */
    UNUSED_TEXT_MAX = 900,
};

enum { NOT_MEASURED = -1 };

/* One name for each group of items. */
static const char SETTINGS[] = "settings", CERTIFICATE[] = "certificate", KEYS[] = "keys",
                  STORAGE[] = "storage", SPACE[] = "space", SERVER[] = "server", PORTS[] = "ports";

struct look {
    const struct paths *paths; /* borrowed */
    struct report *report;     /* borrowed */
    struct conf conf;
    struct storage storage; /* not locked */
    long pid;               /* of the server that runs on these files; 0: none that we see */
    const char *name;       /* of the items that warn() and err() make */
};

#define ADD(l, level, name, ...) report_add((l)->report, (level), (name), NOT_MEASURED, __VA_ARGS__)

static void add_warning(void *ctx, const char *text) {
    struct look *l = ctx;
    ADD(l, REPORT_WARNING, l->name, "%s", text);
}

static void add_error(void *ctx, const char *text) {
    struct look *l = ctx;
    ADD(l, REPORT_ERROR, l->name, "%s", text);
}

static bool has_news(const struct look *l, const unsigned before[REPORT_ERROR + 1]) {
    return memcmp(l->report->n, before, sizeof l->report->n) != 0;
}

/* ---- settings ---- */

static void look_at_unused(struct look *l) {
    char text[UNUSED_TEXT_MAX];
    struct wr w = wr_init(text, sizeof text);
    conf_list_unused(&l->conf, &w);
    const struct bytes b = wr_bytes(&w);
    if (b.n != 0)
        ADD(l, REPORT_WARNING, SETTINGS, "not used by this version: %.*s", (int)b.n,
            (const char *)b.p);
}

/* False when there is nothing to go on with. */
static bool look_at_settings(struct look *l) {
    struct problem p = {0};
    unsigned before[REPORT_ERROR + 1];
    memcpy(before, l->report->n, sizeof before);
    l->name = SETTINGS;
    const enum err e = conf_load_all(&l->conf, l->paths->ini, add_warning, add_error, l, &p);
    if (e != OK) {
        ADD(l, REPORT_ERROR, SETTINGS, "%s", p.text);
        return false;
    }
    look_at_unused(l);
    if (!has_news(l, before)) ADD(l, REPORT_OK, SETTINGS, "%s", l->paths->ini);
    return true;
}

/* ---- certificates ---- */

static void look_at_expiry(struct look *l, const struct identity *id) {
    const int64_t expires_s = server_cert_expires_s(id->cert);
    const int64_t days = (expires_s - env_now_s(&ENV_SYSTEM)) / SECONDS_PER_DAY;
    struct tm utc;
    char day[32] = "?";
    const time_t t = (time_t)expires_s;
    if (gmtime_r(&t, &utc) != NULL) (void)strftime(day, sizeof day, "%Y-%m-%d", &utc);
    report_set_text(l->report, "certificate_expires", day);
    report_set_number(l->report, "certificate_days_left", days);
    if (days < EXPIRY_WARNING_DAYS) {
        ADD(l, REPORT_WARNING, CERTIFICATE,
            "%s expires on %s, in %" PRId64 " days: renew it (`smp-server cert`)",
            l->paths->server_crt, day, days);
    } else {
        ADD(l, REPORT_OK, CERTIFICATE,
            "chain, key and fingerprint fit, valid until %s (%" PRId64 " days)", day, days);
    }
}

static void look_at_certificate(struct look *l) {
    struct identity *id = NULL;
    struct problem p = {0};
    if (identity_load(l->paths, &id, &p) == OK) {
        look_at_expiry(l, id);
    } else {
        ADD(l, REPORT_ERROR, CERTIFICATE, "%s", p.text);
    }
    identity_free(id);
}

/* ---- who may read secrets ---- */

/* Members of the file's group may be the operators, others are anybody. */
static bool is_secret(struct look *l, const char *path, const char *what) {
    struct stat st;
    if (stat(path, &st) != 0) return true; /* whether it has to be there is judged elsewhere */
    if ((st.st_mode & (S_IRWXO | S_IWGRP)) == 0) return true;
    ADD(l, REPORT_WARNING, KEYS, "%s, which holds %s, has the mode %04o: chmod 600 it", path, what,
        (unsigned)st.st_mode & 07777);
    return false;
}

static void look_at_secrets(struct look *l) {
    bool good = is_secret(l, l->paths->server_key, "the private key of the server");
    good = is_secret(l, l->paths->ca_key, "the private key of its identity") && good;
    if (l->conf.create_password[0] != '\0' || l->conf.socks_proxy[0] != '\0')
        good = is_secret(l, l->paths->ini, "a password") && good;
    if (good) ADD(l, REPORT_OK, KEYS, "nobody else may read private keys and passwords");
}

/* ---- storage ---- */

static bool may_use(const char *path, int mode) {
    return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0;
}

static bool check_dir(struct look *l, const char *dir, bool must_exist) {
    struct stat st;
    if (stat(dir, &st) != 0) {
        if (errno == ENOENT && !must_exist) return true;
        ADD(l, REPORT_ERROR, STORAGE, "%s: %s: make it for the user that runs smp-server", dir,
            strerror(errno));
        return false;
    }
    if (S_ISDIR(st.st_mode) && may_use(dir, R_OK | W_OK | X_OK)) return true;
    ADD(l, REPORT_ERROR, STORAGE,
        "%s is no directory that this user may write to: give it to the user that runs smp-server, "
        "and run the check as that user",
        dir);
    return false;
}

static bool check_file(struct look *l, const char *path) {
    struct stat st;
    if (lstat(path, &st) != 0 && errno == ENOENT) return true;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && may_use(path, R_OK | W_OK)) return true;
    ADD(l, REPORT_ERROR, STORAGE,
        "%s is no file that this user may read and write: give it to the user that runs "
        "smp-server, and run the check as that user",
        path);
    return false;
}

static bool check_rights(struct look *l) {
    const struct paths *p = l->paths;
    if (!check_dir(l, p->state, true)) return false;
    const char *const files[] = {p->store_log, p->messages_log, p->ntfs_log, p->lock};
    bool good = !l->storage.in_journal || check_dir(l, l->storage.journal, false);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) good = check_file(l, files[i]) && good;
    return good;
}

static void look_at_space(struct look *l, const char *dir) {
    struct statvfs fs;
    if (statvfs(dir, &fs) != 0) return; /* it is not there yet */
    const uint64_t mib = (uint64_t)fs.f_bavail * fs.f_frsize >> 20;
    const enum report_level level = mib < SPACE_ERROR_MIB     ? REPORT_ERROR
                                    : mib < SPACE_WARNING_MIB ? REPORT_WARNING
                                                              : REPORT_OK;
    ADD(l, level, SPACE, "%" PRIu64 " MiB are free in %s%s", mib, dir,
        level == REPORT_OK ? "" : ": make room, the server refuses messages when there is none");
}

static void look_at_storage(struct look *l) {
    struct problem p = {0};
    unsigned before[REPORT_ERROR + 1];
    memcpy(before, l->report->n, sizeof before);
    l->name = STORAGE;
    enum err e = storage_init(&l->storage, &l->conf, l->paths, &p);
    if (e == OK && l->storage.on_disk && !check_rights(l)) return;
    if (e == OK) e = storage_check(&l->storage, add_warning, l, &p);
    if (e != OK) ADD(l, REPORT_ERROR, STORAGE, "%s", p.text);
    if (!has_news(l, before))
        ADD(l, REPORT_OK, STORAGE, "%s",
            l->storage.on_disk ? l->paths->state : "nothing is stored: [STORE_LOG] enable is off");
    if (!l->storage.on_disk) return;
    look_at_space(l, l->paths->state);
    if (l->storage.in_journal && strcmp(l->conf.journal_path, "") != 0)
        look_at_space(l, l->storage.journal);
}

/* ---- the server and its ports ---- */

static void look_at_server(struct look *l) {
    l->pid = l->storage.on_disk ? storage_locked_by(&l->storage) : 0;
    report_set_number(l->report, "server_pid", l->pid);
    if (l->pid != 0) {
        ADD(l, REPORT_OK, SERVER, "runs (process %ld)", l->pid);
    } else {
        ADD(l, REPORT_OK, SERVER, "%s",
            l->storage.on_disk ? "does not run" : "whether it runs is not known without storage");
    }
}

static void look_at_port(struct look *l, const struct listener_addr *a) {
    const char *host = a->host != NULL ? a->host : "any address";
    const bool is_lock_used = l->storage.on_disk;
    switch (check_port(a, l->pid)) {
    case PORT_FREE:
        ADD(l, l->pid != 0 ? REPORT_ERROR : REPORT_OK, PORTS, "port %u (%s) %s", a->port, host,
            l->pid != 0 ? "is not served by the server that runs: restart it to use the settings"
                        : "is free");
        return;
    case PORT_OURS:
        ADD(l, REPORT_OK, PORTS, "port %u (%s) is served", a->port, host);
        return;
    case PORT_TAKEN:
        break;
    }
    if (l->pid != 0) {
        ADD(l, REPORT_OK, PORTS,
            "port %u (%s) is in use, by the server as it seems: run the check as its user to know",
            a->port, host);
    } else {
        ADD(l, is_lock_used ? REPORT_ERROR : REPORT_WARNING, PORTS,
            "port %u (%s) is in use by %s: stop it, or set another [TRANSPORT] port", a->port, host,
            is_lock_used ? "another program" : "this server or another program");
    }
}

static void look_at_ports(struct look *l) {
    for (unsigned i = 0; i < ports_count(&l->conf); i++) {
        const struct listener_addr a = ports_get(&l->conf, i);
        look_at_port(l, &a);
    }
}

void check_files(const struct paths *paths, struct report *r) {
    struct look l = {.paths = paths, .report = r, .storage = {.lock_fd = -1}};
    conf_init(&l.conf);
    const bool has_settings = look_at_settings(&l);
    look_at_certificate(&l);
    if (has_settings) {
        look_at_secrets(&l);
        look_at_storage(&l);
        look_at_server(&l);
        look_at_ports(&l);
    }
    conf_done(&l.conf);
}
