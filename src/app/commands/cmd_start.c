/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_start.c -- `smp-server start`: checks, prints what it serves, and serves until it is told to
 * stop (running.h). */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands/address.h"
#include "app/process/rights.h"
#include "app/server/checks.h"
#include "app/commands/cli.h"
#include "app/settings/conf.h"
#include "app/server/confine.h"
#include "app/server/memory.h"
#include "app/server/notify.h"
#include "app/server/ports.h"
#include "app/server/shares.h"
#include "app/server/signals.h"
#include "app/server/standby.h"
#include "app/server/web_files.h"
#include "app/server/web_values.h"
#include "base/day.h"
#include "base/log.h"
#include "crypto/secret.h"

enum { PRINT_MAX = 64 * 1024, UNUSED_MAX = 8 * 1024 };

struct start_args {
    bool maintenance, print_config, skip_warnings, compact_log;
    const char *log_level, *confirm_migrations;
};

// clang-format off
static const struct cli_option OPTIONS[] = {
    {"maintenance", 'm', NULL, offsetof(struct start_args, maintenance),
        "Only perform start and stop tasks, serve nobody"},
    {"log-level", 0, "LEVEL", offsetof(struct start_args, log_level),
        "error, warn, info, debug or trace (default: that of\nthe settings)"},
    {"print-config", 0, NULL, offsetof(struct start_args, print_config),
        "Print the settings in force and exit"},
    {"skip-warnings", 0, NULL, offsetof(struct start_args, skip_warnings),
        "Start in spite of damage in files of the store:\nwhat cannot be read is set aside"},
    {"compact-log", 0, NULL, offsetof(struct start_args, compact_log),
        "Write the store log anew even if there is nothing to\nremove"},
    {"confirm-migrations", 0, "up|down", offsetof(struct start_args, confirm_migrations),
        "Agree to changes of the database; only matters with\nstorage in a database"},
};
// clang-format on

static enum err check_args(const struct start_args *a, struct problem *p) {
    const char *m = a->confirm_migrations;
    if (m != NULL && strcmp(m, "up") != 0 && strcmp(m, "down") != 0) {
        return problem_set(p, E_CONFIG, "--confirm-migrations must be up or down, not \"%s\"", m);
    }
    if (a->log_level == NULL) return OK;
    enum log_level level =
        LOG_INFO; /* also that of the reference's "note", between info and warn */
    if (strcmp(a->log_level, "note") == 0 || log_level_from_name(a->log_level, &level)) {
        log_set_level(level);
        return OK;
    }
    return problem_set(p, E_CONFIG,
                       "--log-level must be error, warn, info, debug or trace, not \"%s\"",
                       a->log_level);
}

/* ---- settings ---- */

static enum err print_conf(const struct conf *c, struct problem *p) {
    char *text = malloc(PRINT_MAX);
    if (text == NULL) return problem_set(p, E_NO_MEMORY, "out of memory");
    struct wr w = wr_init(text, PRINT_MAX);
    conf_print(c, &w);
    const struct bytes b = wr_bytes(&w);
    (void)fwrite(b.p, 1, b.n, stdout);
    free(text);
    return wr_err(&w);
}

static void log_unused(const struct conf *c) {
    char text[UNUSED_MAX];
    struct wr w = wr_init(text, sizeof text);
    conf_list_unused(c, &w);
    const struct bytes b = wr_bytes(&w);
    if (b.n == 0) return;
    log_line(LOG_INFO, "settings", "not used by this version: %.*s", (int)b.n, (const char *)b.p);
}

/* ---- what is printed ---- */

static void print_identity(const struct conf *c, const struct identity *id) {
    address_print(&(struct address){identity_fingerprint(id), c->rules.create_password, c->host,
                                    ports_of_address(c, 0)});
    const char *source = c->information.source_code;
    if (*source != '\0') printf("Server source code: %s\n", source);
}

static void print_message_expiry(const struct conf *c) {
    const int64_t ttl = conf_message_ttl_s(c);
    if (ttl % DAY_S == 0) {
        printf("expiring messages after %" PRId64 " days\n", ttl / DAY_S);
    } else {
        printf("expiring messages after %" PRId64 " seconds\n", ttl);
    }
}

/* With TLS where there is that. */
static void print_url(const struct conf *c, bool is_secure) {
    char url[WEB_URL_MAX];
    web_url(c, is_secure, url, sizeof url);
    printf("Page of this server: %s\n", url);
}

static void print_dashboard(const struct conf *c) {
    const struct conf_endpoint *at = &c->dashboard;
    const bool is_v6 = strchr(at->host, ':') != NULL;
    if (at->port == 0) return;
    printf("Dashboard for the operator: http://%s%s%s:%u/ (password: [AUTH] "
           "control_port_user_password)\n",
           is_v6 ? "[" : "", at->host, is_v6 ? "]" : "", at->port);
}

/* The ports listen by now: those who wait for these lines connect at once. */
static void print_ports(const struct server *s, const struct conf *c) {
    const bool has_https = server_has_https(s);
    const bool has_http = c->web_http != 0 && server_has_port(s, (uint16_t)c->web_http);
    bool is_shared = false;
    for (unsigned i = 0; i < c->ports.n; i++) {
        const uint16_t port = c->ports.port[i];
        if (!server_has_port(s, port)) continue;
        printf("Serving SMP protocol on port %u (TLS)...\n", port);
        if (!has_https || port != c->web_https) continue;
        printf("Serving static site on port %u (TLS)...\n", port);
        is_shared = true;
    }
    for (unsigned i = 0; i < c->websockets.n; i++) {
        if (server_has_websockets(s, c->websockets.port[i]))
            printf("Serving SMP protocol on port %u (WebSockets)...\n", c->websockets.port[i]);
    }
    if (has_https && !is_shared)
        printf("Serving static site on port %d (TLS)...\n", (int)c->web_https);
    if (has_http) printf("Serving static site on port %d...\n", (int)c->web_http);
    if (has_https || has_http) print_url(c, has_https);
}

static void print_serving(const struct server *s, const struct conf *c, const struct paths *paths) {
    print_ports(s, c);
    print_dashboard(c);
    if (c->log_stats) printf("server stats log enabled: %s\n", paths->stats_daily);
    if (c->prometheus_interval_s != 0) {
        printf("Prometheus metrics saved every %" PRId64 " seconds to %s\n",
               c->prometheus_interval_s, paths->metrics);
    }
    print_message_expiry(c);
    if (c->relay.disconnect_inactive) {
        printf("expiring clients inactive for %" PRId64 " seconds every %" PRId64 " seconds\n",
               c->relay.inactive_ttl_s, c->relay.inactive_check_s);
    } else {
        printf("not expiring inactive clients\n");
    }
    const char *with_password =
        c->rules.create_password[0] != '\0' ? "requires password" : "allowed";
    printf("creating new queues %s\n", c->rules.allow_new_queues ? with_password : "NOT allowed");
}

/* ---- the command ---- */

static bool waits(const struct start_args *a, const struct conf *c) {
    return c->standby && !a->maintenance;
}

/* Serves until it is told to stop. */
static void serve_on(struct signals *r) {
    print_serving(r->server, r->conf, r->paths);
    log_line(LOG_INFO, "start", "threads=%u", server_n_threads(r->server));
    notify_send("READY=1");
    signals_wait_for_stop(r);
    notify_send("STOPPING=1");
}

static enum err serve(const struct start_args *a, const struct storage *storage, struct signals *r,
                      struct problem *p) {
    struct server_opts o = {
        .conf = r->conf,
        .identity = r->identity,
        .storage = storage,
        .ini_path = r->paths->ini,
        .maintenance = a->maintenance,
        .skip_warnings = a->skip_warnings,
        .compact_log = a->compact_log,
    };
    signals_block();
    enum err e = OK;
    if (waits(a, r->conf)) {
        e = standby_wait(storage, r->identity, a->confirm_migrations != NULL, &o.epoch, p);
        if (e == E_CLOSED) return OK;
        /* What is in the settings and certificates now may be of another year. */
        (void)raise(SIGHUP);
    }
    if (e == OK) e = server_start(&o, &r->server, p);
    if (e != OK) return e;
    if (a->maintenance) {
        printf("Maintenance mode: start and stop tasks are done, nobody is served.\n");
    } else {
        serve_on(r);
    }
    e = server_stop(r->server, p);
    log_line(e == OK ? LOG_INFO : LOG_ERROR, "stopped", "status=%d", e == OK ? 0 : 1);
    return e;
}

/* The first error ends the start; the rest is for the log. */
static void tell(void *ctx, enum finding_level level, const char *name, const char *text) {
    if (level == FINDING_ERROR) (void)problem_set(ctx, E_CONFIG, "%s", text);
    if (level == FINDING_WARNING) log_line(LOG_WARN, name, "%s", text);
}

/* Outside of the state directory it cannot be made any more from inside the sandbox; in there it
 * can, and a start that is refused leaves no trace. */
static void make_static_path(const struct conf *c, const struct paths *paths) {
    const char *path = c->web_static_path;
    const size_t n = strlen(paths->state);
    const bool is_inside =
        strncmp(path, paths->state, n) == 0 && path[n] == '/' && strstr(path + n, "/..") == NULL;
    if (*path != '\0' && !is_inside) web_files_make_dir(path);
}

static enum err serve_storage(const struct start_args *a, struct signals *r,
                              struct storage *storage, struct problem *p) {
    struct checks c = {
        .paths = r->paths,
        .conf = r->conf,
        .storage = storage,
        .is_starting = true,
        .tell = tell,
        .ctx = p,
    };
    storage_make(storage);
    enum err e = storage_lock(storage, p);
    if (e == OK && a->confirm_migrations != NULL && !waits(a, r->conf))
        e = storage_migrate(storage, p);
    if (e != OK) return e;
    checks_run(&c);
    r->identity = c.identity;
    if (c.n_told[FINDING_ERROR] != 0) return E_CONFIG;
    print_identity(r->conf, r->identity);
    storage_print(storage);
    log_unused(r->conf);
    if (!a->maintenance) make_static_path(r->conf, r->paths);
    e = confine(r->conf, r->paths, storage, p);
    return e == OK ? serve(a, storage, r, p) : e;
}

/* There are no more connections than descriptors, nor than memory is for. */
static void lock_keys(void) {
    enum { CONNECTION_LEN = 8192 }; /* each costs more */
    const uint64_t fit = memory_there_is() / CONNECTION_LEN;
    unsigned n = 0;
    if (shares_limit(0, &n) != OK) n = 0;
    secret_begin(fit < n ? (size_t)fit : n);
}

static enum err run_start(const void *args, const struct paths *paths,
                          struct problem *ret_problem) {
    const struct start_args *a = args;
    enum err e = check_args(a, ret_problem);
    if (e != OK) return e;
    if (!a->print_config) log_with_times();
    CLEANUP(conf_done) struct conf conf;
    conf_init(&conf);
    e = conf_load(&conf, paths->ini, conf_log_warning, NULL, ret_problem);
    if (e != OK || a->print_config) return e == OK ? print_conf(&conf, ret_problem) : e;
    struct signals r = {
        .paths = paths,
        .conf = &conf,
        .has_log_level = a->log_level != NULL,
    };
    signals_set_log_level(&r);
    if (ports_settle(&conf, paths->ini, ret_problem))
        log_line(LOG_WARN, "web", "%s", ret_problem->text);
    CLEANUP(storage_done) struct storage storage = {.lock_fd = -1};
    e = rights_begin(conf.user, ret_problem);
    if (e == OK) lock_keys();
    if (e == OK) e = storage_init(&storage, &conf, paths, ret_problem);
    if (e == OK) e = serve_storage(a, &r, &storage, ret_problem);
    identity_free(r.identity);
    return e;
}

const struct command CMD_START = {
    .name = "start",
    .summary = "Run the server in the foreground; SIGINT or SIGTERM stops it",
    .options = OPTIONS,
    .n_options = ARRAY_LEN(OPTIONS),
    .args_len = sizeof(struct start_args),
    .run = run_start,
};
