/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/checks_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "app/server/check_ports.h"
#include "app/files/file_problem.h"
#include "app/server/ports.h"
#include "app/server/shares.h"
#include "app/server/standby.h"
#include "app/server/stats_state.h"
#include "base/day.h"
#include "names/resolver.h"

enum {
    EXPIRY_WARNING_DAYS = 30,
    SPACE_WARNING_MIB = 1024, /* a day of a small server */
    SPACE_ERROR_MIB = 64,     /* the next segments of the journal do not fit any more */
};

/* One name for each group of items. */
static const char USER[] = "user", CERTIFICATE[] = "certificate", KEYS[] = "keys",
                  STORAGE[] = "storage", SPACE[] = "space", PORTS[] = "ports",
                  DESCRIPTORS[] = "descriptors", CLUSTER[] = "cluster", NAMES[] = "names",
                  STATISTICS[] = "statistics";

void checks__tell(struct checks *c, enum finding_level level, const char *name, const char *fmt,
                  ...) {
    struct problem text;
    va_list ap;
    va_start(ap, fmt);
    (void)problem_vset(&text, OK, fmt, ap);
    va_end(ap);
    c->n_told[level]++;
    c->tell(c->ctx, level, name, text.text);
}

static void tell_problem(struct checks *c, const char *name, const struct problem *p) {
    checks__tell(c, FINDING_ERROR, name, "%s", p->text);
}

static unsigned n_news(const struct checks *c) {
    return c->n_told[FINDING_WARNING] + c->n_told[FINDING_ERROR];
}

/* ---- who runs it ---- */

/* Files that root makes are root's, and the server's user cannot use them any more. */
static void look_at_user(struct checks *c) {
    struct stat st;
    char owner[USER_NAME_MAX];
    if (geteuid() != 0) return;
    const bool has_owner = stat(c->paths->state, &st) == 0 && st.st_uid != 0;
    user_name(has_owner ? st.st_uid : 0, owner);
    if (has_owner) {
        checks__tell(c, FINDING_WARNING, USER,
                     "this runs as root, but %s belongs to %s: run it as %s%s", c->paths->state,
                     owner, owner,
                     c->is_starting ? ", which cannot use files that root makes"
                                    : " to see its rights");
    } else {
        checks__tell(c, FINDING_WARNING, USER,
                     "this runs as root: make a user for the server, give it %s and %s with `chown "
                     "-R`",
                     c->paths->cfg, c->paths->state);
    }
}

/* ---- certificates ---- */

void checks__write_day(int64_t t_s, char *ret, size_t cap) {
    struct tm utc;
    const time_t t = (time_t)t_s;
    (void)snprintf(ret, cap, "?");
    if (gmtime_r(&t, &utc) != NULL) (void)strftime(ret, cap, "%Y-%m-%d", &utc);
}

static void look_at_dates(struct checks *c) {
    const int64_t now_s = env_now_s(&ENV_SYSTEM);
    const int64_t begins_s = server_cert_begins_s(c->identity->cert);
    const int64_t expires_s = server_cert_expires_s(c->identity->cert);
    char begins[32];
    c->days_left = (expires_s - now_s) / DAY_S;
    checks__write_day(expires_s, c->expires_day, sizeof c->expires_day);
    if (begins_s > now_s) {
        checks__write_day(begins_s, begins, sizeof begins);
        checks__tell(c, FINDING_WARNING, CERTIFICATE,
                     "%s is valid only from %s on: the clock of this machine is behind, set it",
                     c->paths->server_crt, begins);
    } else if (c->days_left < EXPIRY_WARNING_DAYS) {
        checks__tell(c, FINDING_WARNING, CERTIFICATE,
                     "%s expires on %s, in %" PRId64 " days: renew it (`smp-server cert`)",
                     c->paths->server_crt, c->expires_day, c->days_left);
    } else {
        checks__tell(c, FINDING_OK, CERTIFICATE,
                     "chain, key and fingerprint fit, valid until %s (%" PRId64 " days)",
                     c->expires_day, c->days_left);
    }
}

static void look_at_certificate(struct checks *c) {
    struct problem p = {0};
    if (identity_load(c->paths, &c->identity, &p) == OK) {
        look_at_dates(c);
    } else {
        tell_problem(c, CERTIFICATE, &p);
    }
}

/* ---- who may read secrets, and change what the server obeys ---- */

/* Members of the file's group may be the operators, others are anybody. */
static void look_at_secret(struct checks *c, const char *path, const char *what, const char *cure) {
    struct stat st;
    if (stat(path, &st) != 0) return; /* whether it has to be there is judged elsewhere */
    if ((st.st_mode & (S_IRWXO | S_IWGRP)) == 0) return;
    checks__tell(c, FINDING_WARNING, KEYS, "%s, which holds %s, has the mode %04o: `chmod %s %s`",
                 path, what, (unsigned)st.st_mode & 07777, cure, path);
}

static void look_at_writable(struct checks *c, const char *path) {
    struct stat st;
    if (stat(path, &st) != 0 || (st.st_mode & S_IWOTH) == 0) return;
    checks__tell(c, FINDING_WARNING, KEYS, "everybody may change %s (mode %04o): `chmod o-w %s`",
                 path, (unsigned)st.st_mode & 07777, path);
}

static void look_at_secrets(struct checks *c) {
    const unsigned before = n_news(c);
    const bool has_password =
        c->conf->rules.create_password[0] != '\0' || c->conf->socks_proxy[0] != '\0' ||
        c->conf->control.admin_password[0] != '\0' || c->conf->control.user_password[0] != '\0' ||
        c->conf->resolver_auth[0] != '\0';
    look_at_secret(c, c->paths->server_key, "the private key of the server", "600");
    look_at_secret(c, c->paths->ca_key, "the private key of its identity", "600");
    if (ports_have_https(c->conf)) /* it may be root's, and the server's by its group */
        look_at_secret(c, c->conf->web_key, "the private key of the pages", "o=,g-w");
    if (has_password) look_at_secret(c, c->paths->ini, "a password", "600");
    if (!has_password) look_at_writable(c, c->paths->ini);
    look_at_writable(c, c->paths->cfg);
    if (c->storage->on_disk) look_at_writable(c, c->paths->state);
    if (n_news(c) == before)
        checks__tell(c, FINDING_OK, KEYS, "nobody else may read private keys and passwords");
}

/* ---- storage ---- */

static bool is_good(struct checks *c, enum err e, const struct problem *p) {
    if (e != OK) tell_problem(c, STORAGE, p);
    return e == OK;
}

static bool check_rights(struct checks *c) {
    const struct paths *p = c->paths;
    struct problem problem = {0};
    if (!is_good(c, storage_check_dir(p->state, &problem), &problem)) return false;
    const char *const files[] = {p->store_log, p->messages_log, p->ntfs_log, p->journal_mark,
                                 p->lock};
    const char *journal = c->storage->journal;
    bool good = !c->storage->in_journal ||
                is_good(c, storage_check_journal_dir(journal, &problem), &problem);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        good = is_good(c, storage_check_file(files[i], &problem), &problem) && good;
    return good;
}

static void warn_storage(void *ctx, const char *text) {
    checks__tell(ctx, FINDING_WARNING, STORAGE, "%s", text);
}

static void look_at_storage(struct checks *c) {
    struct problem p = {0};
    const unsigned before = n_news(c);
    if (c->storage->on_disk && !check_rights(c)) return;
    enum err e = storage_check(c->storage, warn_storage, c, &p);
    if (e == OK && c->storage->on_disk && !c->is_starting && c->pid == 0) {
        struct store_counts n;
        e = storage_try(c->storage, warn_storage, c, &n, &p);
    }
    if (e != OK) tell_problem(c, STORAGE, &p);
    if (n_news(c) == before)
        checks__tell(c, FINDING_OK, STORAGE, "%s",
                     c->storage->on_disk ? c->paths->state
                                         : "nothing is stored: [STORE_LOG] enable is off");
}

static void tell_nodes(struct checks *c, const struct db_nodes *n) {
    char ours[DB_ADDRESS_MAX];
    standby_name(c->pid, ours);
    const bool is_active = n->is_there && !n->has_left && n->age_ms < DB_BEAT_DEAD_MS;
    const bool is_ours = is_active && c->pid != 0 && strcmp(ours, n->active) == 0;
    c->is_waiting = c->pid != 0 && c->conf->standby && !is_ours;
    if (is_active && n->is_other) {
        checks__tell(c, FINDING_ERROR, CLUSTER,
                     "another server is active on the database (%s), of another identity: give "
                     "this "
                     "one another db_schema",
                     n->active);
    } else if (is_active) {
        checks__tell(c, FINDING_OK, CLUSTER, "active: %s%s, version %s; waiting: %" PRId64,
                     n->active, is_ours ? " (this one)" : "", n->version, n->n_standbys);
    } else {
        checks__tell(c, c->pid != 0 ? FINDING_WARNING : FINDING_OK, CLUSTER,
                     "nobody is active on the database; waiting: %" PRId64, n->n_standbys);
    }
    if (c->conf->standby && is_active && n->n_standbys == 0)
        checks__tell(c, FINDING_WARNING, CLUSTER,
                     "[CLUSTER] standby is on, but no other server waits to take over: start it");
}

/* Who is active on the database, and who waits. */
static void look_at_nodes(struct checks *c) {
    struct db_nodes nodes;
    struct store_problem problem = {0};
    static const uint8_t none[SHA256_LEN];
    if (c->is_starting || !c->storage->in_database) return;
    const uint8_t *identity = c->identity != NULL ? identity_fingerprint(c->identity).p : none;
    if (db_nodes_find(&c->storage->db.db, identity, &nodes, &problem) == OK) {
        tell_nodes(c, &nodes);
    } else if (c->pid != 0) { /* else it is told already */
        checks__tell(c, FINDING_ERROR, CLUSTER, "%s", problem.text);
    }
}

/* No error for a start: what is stored is delivered even then. */
static void look_at_space_in(struct checks *c, const char *dir) {
    struct statvfs fs;
    if (statvfs(dir, &fs) != 0) return; /* it is not there yet */
    const uint64_t mib = (uint64_t)fs.f_bavail * fs.f_frsize >> 20;
    const enum finding_level level = mib < SPACE_ERROR_MIB && !c->is_starting ? FINDING_ERROR
                                     : mib < SPACE_WARNING_MIB                ? FINDING_WARNING
                                                                              : FINDING_OK;
    checks__tell(c, level, SPACE, "%" PRIu64 " MiB are free in %s%s", mib, dir,
                 level == FINDING_OK
                     ? ""
                     : ": make room, the server refuses messages when there is none");
}

static void look_at_space(struct checks *c) {
    if (!c->storage->on_disk) return;
    look_at_space_in(c, c->paths->state);
    if (c->storage->in_journal && strcmp(c->conf->journal_path, "") != 0)
        look_at_space_in(c, c->storage->journal);
}

/* ---- statistics ---- */

/* The line of a day is written at midnight, and tried again: it keeps nobody from starting. */
static void look_at_statistics(struct checks *c) {
    struct problem p = {0};
    if (!c->conf->log_stats) return;
    if (stats_state_check(c->paths, &p) != OK) tell_problem(c, STATISTICS, &p);
    if (storage_check_file(c->paths->stats_daily, &p) != OK)
        checks__tell(c, FINDING_WARNING, STATISTICS, "%s", p.text);
}

/* ---- ports ---- */

static void look_at_contradictions(struct checks *c) {
    struct problem p = {0};
    if (ports_check(c->conf, c->paths->ini, &p) != OK) tell_problem(c, PORTS, &p);
}

static void look_at_taken_port(struct checks *c, const struct port_use *u, enum port_user user) {
    const char *host = u->addr.host != NULL ? u->addr.host : "any address";
    struct problem p = {0};
    if (c->pid != 0) {
        checks__tell(c, FINDING_OK, PORTS, "port %u (%s) is served%s", u->addr.port, host,
                     user == PORT_SAME_USER ? " (by a process of the server's user)" : "");
        return;
    }
    if (!c->storage->on_disk) { /* then it may be this server itself */
        checks__tell(c, FINDING_WARNING, PORTS,
                     "port %u (%s) is in use by this server or another program: stop it, or set "
                     "another %s",
                     u->addr.port, host, u->key);
        return;
    }
    errno = EADDRINUSE;
    if (port_is_extra(u->kind)) {
        ports_explain_left_out(u, E_SYS, c->paths->ini, &p);
        checks__tell(c, FINDING_WARNING, PORTS, "%s", p.text);
        return;
    }
    (void)ports_explain(u, E_SYS, c->paths->ini, &p);
    tell_problem(c, PORTS, &p);
}

bool checks__is_served(const struct checks *c, const struct port_use *u) {
    const enum port_user user = check_port(&u->addr, c->pid);
    if (c->pid != 0) return user == PORT_OURS || user == PORT_SAME_USER;
    return user != PORT_FREE && !c->storage->on_disk;
}

/* Is this port served, or would it be? */
static bool works(const struct checks *c, const struct port_use *u) {
    if (checks__is_served(c, u)) return true;
    return c->pid == 0 && check_port(&u->addr, 0) == PORT_FREE && check_may_bind(&u->addr, 0) == OK;
}

static bool has_working_port(const struct checks *c) {
    bool found = false;
    for (unsigned i = 0; i < ports_count(c->conf) && !found; i++) {
        const struct port_use u = ports_use(c->conf, i);
        found = port_is_of_clients(u.kind) && works(c, &u);
    }
    return found;
}

static void look_at_port(struct checks *c, const struct port_use *u, bool has_another) {
    const char *host = u->addr.host != NULL ? u->addr.host : "any address";
    struct problem p = {0};
    const enum port_user user = check_port(&u->addr, c->pid);
    const enum err may_bind = check_may_bind(&u->addr, c->pid);
    const int number = errno;
    /* What the server that runs does without is no error. */
    const enum finding_level level = port_is_extra(u->kind) ? FINDING_WARNING : FINDING_ERROR;
    if (user == PORT_FREE && has_another && ports_is_dispensable(u, may_bind)) {
        ports_explain_left_out(u, may_bind, c->paths->ini, &p);
        checks__tell(c, FINDING_WARNING, PORTS, "%s", p.text);
    } else if (user == PORT_OURS || user == PORT_SAME_USER || (user == PORT_TAKEN && c->pid == 0)) {
        look_at_taken_port(c, u, user);
    } else if (user == PORT_TAKEN) {
        checks__tell(c, level, PORTS,
                     "port %u (%s) is in use by another program, not by the server that runs: stop "
                     "that "
                     "one, or set another %s",
                     u->addr.port, host, u->key);
    } else if (c->pid != 0) {
        checks__tell(c, level, PORTS,
                     "port %u (%s) is not served by the server that runs: restart it to use the "
                     "settings",
                     u->addr.port, host);
    } else if (may_bind != OK) {
        errno = number;
        (void)ports_explain(u, may_bind, c->paths->ini, &p);
        tell_problem(c, PORTS, &p);
    } else {
        checks__tell(c, FINDING_OK, PORTS, "port %u (%s) is free", u->addr.port, host);
    }
}

/* A start finds it out by listening. */
static void look_at_ports(struct checks *c) {
    if (c->is_waiting) {
        checks__tell(c, FINDING_OK, PORTS, "none is held while this server waits as a standby");
        return;
    }
    const bool has_one = !c->is_starting && has_working_port(c);
    for (unsigned i = 0; !c->is_starting && i < ports_n_uses(c->conf); i++) {
        const struct port_use u = ports_use(c->conf, i);
        look_at_port(c, &u, has_one);
    }
}

/* ---- descriptors ---- */

/* Of the server that runs, if we may know it; else of one that is started from here. */
static void look_at_descriptors(struct checks *c) {
    struct problem p = {0};
    struct shares shares;
    unsigned limit = 0;
    if (shares_limit((pid_t)c->pid, &limit) != OK) return;
    if (shares_divide(c->conf, shares_n_loops(c->conf), limit, &shares, &p) != OK) {
        tell_problem(c, DESCRIPTORS, &p);
    } else {
        checks__tell(c, FINDING_OK, DESCRIPTORS,
                     "%u files may be open: enough for %u clients at once", limit, shares.clients);
    }
}

/* ---- names ---- */

/* A start looks too, but does not wait for the answer. */
static void look_at_resolver(struct checks *c) {
    struct endpoint e;
    const char *key = NULL, *why = NULL;
    char text[sizeof(struct problem)];
    if (c->is_starting || !c->conf->names_enable) return;
    const enum err bad = conf_resolver(c->conf, &e, &key, &why); /* said with the settings */
    if (bad == OK) why = resolver_probe(&e, c->conf->resolver.timeout_ms, text, sizeof text);
    if (bad == OK && why == NULL) {
        checks__tell(c, FINDING_OK, NAMES, "the resolver answers (%s)", e.url);
    } else if (bad == OK) {
        checks__tell(c, FINDING_WARNING, NAMES,
                     "the resolver does not answer (%s): names are not resolved until it does; see "
                     "[NAMES] "
                     "resolver_endpoint",
                     why);
    }
    endpoint_wipe(&e);
}

/* ---- the list ---- */

static void (*const CHECKS[])(struct checks *c) = {
    look_at_user,  look_at_certificate,   look_at_secrets,     look_at_storage,
    look_at_nodes, look_at_space,         look_at_statistics,  look_at_contradictions,
    look_at_ports, checks__look_at_pages, look_at_descriptors, look_at_resolver,
};

void checks_run(struct checks *c) {
    for (size_t i = 0; i < ARRAY_LEN(CHECKS); i++) {
        if (c->is_starting && c->n_told[FINDING_ERROR] != 0) return;
        CHECKS[i](c);
    }
}
