/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/server/doors.h"
#include "app/server/figures.h"
#include "app/server/memory.h"
#include "app/process/rights.h"
#include "app/server/operate.h"
#include "app/server/pages.h"
#include "app/server/ports.h"
#include "app/server/shares.h"
#include "app/server/standby.h"
#include "app/terminal/progress.h"
#include "app/server/stats_job.h"
#include "app/server/workers.h"
#include "app/files/version.h"
#include "base/lock.h"
#include "base/log.h"
#include "crypto/crypto.h"
#include "model/limits.h"
#include "net/admission.h"
#include "net/listener.h"
#include "net/loop.h"
#include "names/resolver.h"
#include "net/tls_web.h"
#include "proxy/proxy.h"
#include "relay/relay.h"

enum { PROGRESS_DELAY_MS = 500 }; /* a shorter start needs no bar */

/* What becomes of those who come to a port of clients and browsers: see up_shared(). */
struct shared_opts {
    struct stream_opts stream;
    const struct conn_opts *smp; /* borrowed */
    struct web *web;             /* borrowed; NULL: there are no pages */
};

struct server {
    /* fixed after start; what is built is owned */
    struct server_opts o; /* conf and ini_path only while starting */
    struct stats *stats;
    struct stats_job *stats_job;
    int64_t started_s;    /* Unix seconds */
    struct shares shares; /* of descriptors */
    unsigned n_loops;
    struct workers *workers;
    struct admission *admission;
    struct pages *pages;    /* NULL: there are none */
    struct web *websockets; /* of ports for nothing else; NULL: there are none */
    struct doors doors;     /* main thread */
    struct shared_opts shared;
    _Atomic int64_t smp_expires_s; /* relaxed: of the server's certificate; Unix seconds */
    struct store *store;
    struct proxy *proxy;       /* NULL: switched off */
    struct resolver *resolver; /* NULL: switched off */
    struct relay *relay;
    struct operate *operate;
    unsigned n_steps; /* of STEPS that are up */
    /* main thread, while stopping: why not all could be saved */
    bool is_store_stopped;
    enum err stop_err;
    struct problem stop_problem;
};

/* ---- statistics ---- */

/* Who counts: each loop, on the sheet of its number, and behind them: */
enum { SHEET_COMMIT, SHEET_EXPIRY, SHEET_OPERATE, SHEET_METRICS, SHEET_DASHBOARD, N_OTHER_SHEETS };

/* Any thread, while there is a relay. */
static void fill_gauges(void *ctx, struct stats_gauges *ret) {
    struct server *s = ctx;
    const int64_t web_expires_s = pages_cert_expires_s(s->pages);
    const struct server_figures figures = {
        .n_workers = s->n_loops,
        .started_s = (uint64_t)s->started_s,
        .smp_expires_s = (uint64_t)atomic_load_explicit(&s->smp_expires_s, memory_order_relaxed),
        .web_expires_s = web_expires_s != PAGE_CERT_NONE ? (uint64_t)web_expires_s : STATS_NO_VALUE,
    };
    figures_read(&figures, s->o.storage, s->store, s->relay, ret);
    workers_add_sockets(s->workers, ret);
}

static enum err up_stats(struct server *s, struct problem *p) {
    const struct conf *c = s->o.conf;
    s->n_loops = shares_n_loops(c);
    s->started_s = env_now_s(&ENV_SYSTEM);
    enum err e = stats_new(&ENV_SYSTEM, s->n_loops + N_OTHER_SHEETS, &s->stats);
    if (e != OK) return problem_set(p, e, "cannot start: %s", err_reason(e));
    const struct stats_job_opts o = {
        .env = &ENV_SYSTEM,
        .vfs = &VFS_SYSTEM,
        .stats = s->stats,
        .paths = s->o.storage->paths,
        .log_stats = c->log_stats,
        .metrics_interval_s = c->prometheus_interval_s,
        .version = SMP_SERVER_VERSION,
        .gauges = fill_gauges,
        .ctx = s,
    };
    e = stats_job_new(&o, &s->stats_job, p);
    if (e != OK) stats_free(s->stats);
    return e;
}

static void down_stats(struct server *s) {
    stats_job_free(s->stats_job);
    stats_free(s->stats);
}

static enum err up_reporting(struct server *s, struct problem *p) {
    const enum err e = stats_job_start(s->stats_job);
    return e == OK ? OK : problem_sys(p, "cannot start the thread of the statistics");
}

/* After the loops, so that all that was counted is saved. */
static void down_reporting(struct server *s) {
    stats_job_stop(s->stats_job);
}

void server_report(struct server *s, struct stats_report *ret) {
    stats_job_report(s->stats_job, ret);
}

enum err server_save_stats(struct server *s) {
    return stats_job_save(s->stats_job);
}

/* ---- descriptors ---- */

static enum err up_descriptors(struct server *s, struct problem *p) {
    unsigned limit = 0;
    if (shares_raise_limit(&limit) != OK)
        return problem_sys(p, "cannot read the limit of open files");
    return shares_divide(s->o.conf, s->n_loops, limit, &s->shares, p);
}

/* ---- admission ---- */

static enum err up_admission(struct server *s, struct problem *p) {
    struct admission_opts o = s->o.conf->admission;
    o.connections_max = s->shares.clients;
    o.outgoing_max = s->shares.outgoing;
    o.memory_max = memory_there_is() / 100 * s->o.conf->memory_percent;
    o.memory_used = memory_used;
    const enum err e = admission_new(&o, &ENV_SYSTEM, &s->admission);
    return e == OK ? OK : problem_set(p, e, "cannot start: %s", err_reason(e));
}

static void down_admission(struct server *s) {
    admission_free(s->admission);
}

/* ---- pages ---- */

enum { BROWSERS_SHARE = 4 }; /* of the connections that there may be: one in so many */

/* Ports of WebSocket speak HTTP too, and have no page. */
static enum err make_websockets(struct server *s, const struct pages_opts *pages) {
    const struct web_opts o = {
        .env = &ENV_SYSTEM,
        .admission = pages->admission,
        .tls_timeout_ms = pages->tls_timeout_ms,
        .conns_max = pages->conns_max,
        .host = "",
        .onion = "",
        .is_for_upgrades = true,
    };
    return s->o.conf->websockets.n != 0 ? web_new(&o, &s->websockets) : OK;
}

static enum err up_pages(struct server *s, struct problem *p) {
    const struct pages_opts o = {
        .conf = s->o.conf,
        .identity = s->o.identity,
        .ini_path = s->o.ini_path,
        .admission = s->admission,
        .conns_max = s->shares.clients / BROWSERS_SHARE,
        .tls_timeout_ms = relay_tls_timeout_ms(&s->o.conf->relay),
    };
    enum err e = s->o.maintenance ? OK : pages_new(&o, &s->pages);
    if (e == OK) e = make_websockets(s, &o);
    if (e != OK) pages_free(s->pages);
    return e == OK ? OK : problem_set(p, e, "cannot make the pages: %s", err_reason(e));
}

/* Late: a start that is refused leaves no trace. */
static enum err up_page_files(struct server *s, struct problem *p) {
    (void)p;
    pages_write_files(s->pages, s->o.conf);
    return OK;
}

static void down_pages(struct server *s) {
    doors_done(&s->doors);
    web_free(s->websockets);
    pages_free(s->pages);
}

/* ---- store ---- */

/* The store's threads, which run only while there is a relay: see STEPS. */
static void on_durable(void *ctx) {
    relay_on_durable(((const struct server *)ctx)->relay);
}

static void taken_over(void *ctx) {
    (void)ctx;
    (void)tgkill(getpid(), getpid(), SIGTERM); /* the main thread's; the sandbox allows no kill() */
}

static enum err up_store(struct server *s, struct problem *p) {
    struct storage_use use = {
        .skip_warnings = s->o.skip_warnings,
        .compact_log = s->o.compact_log,
        .serves = !s->o.maintenance,
        .on_durable = on_durable,
        .taken_over = taken_over,
        .ctx = s,
        .commit_stats = stats_sheet(s->stats, s->n_loops + SHEET_COMMIT),
    };
    use.node = standby_node(s->o.identity, s->o.epoch);
    if (!s->o.maintenance)
        use.expiry = storage_expiry(s->o.conf, stats_sheet(s->stats, s->n_loops + SHEET_EXPIRY));
    progress_begin(&ENV_SYSTEM, NULL, PROGRESS_DELAY_MS);
    const enum err e = storage_open(s->o.storage, &use, &s->store, p);
    progress_end();
    return e;
}

static enum err up_storing(struct server *s, struct problem *p) {
    const enum err e = store_start(s->store);
    return e == OK ? OK
                   : problem_set(p, e, "cannot start the threads of the store: %s", err_reason(e));
}

/* Also when the start did not come as far as up_storing(): messages that were read from their log
 * have to be written to it again. */
static void down_storing(struct server *s) {
    struct store_problem problem = {0};
    if (s->is_store_stopped) return;
    s->is_store_stopped = true;
    const enum err e = store_stop(s->store, &problem);
    if (e != OK) {
        s->stop_err = problem_set(&s->stop_problem, e, "%s",
                                  problem.text[0] != '\0' ? problem.text : err_reason(e));
    }
}

static void down_store(struct server *s) {
    down_storing(s);
    store_close(s->store);
}

/* ---- loops ---- */

static enum err up_loops(struct server *s, struct problem *p) {
    const enum err e = workers_new(s->o.conf, s->n_loops, s->stats, &s->workers);
    if (e == OK) return OK;
    return problem_set(p, e, "cannot make %u event loops (see [TRANSPORT] threads): %s", s->n_loops,
                       err_reason(e));
}

static void down_loops(struct server *s) {
    workers_free(s->workers);
}

/* ---- proxy ---- */

static enum err up_proxy(struct server *s, struct problem *p) {
    const struct conf *c = s->o.conf;
    struct socks_proxy socks = {.port = 0};
    const bool has_socks = c->socks_proxy[0] != '\0';
    if (!c->proxy_enable) return OK;
    enum err e = has_socks ? socks_proxy_parse(c->socks_proxy, &socks) : OK;
    const struct proxy_opts o = {
        .env = &ENV_SYSTEM,
        .loops = workers_loops(s->workers),
        .n_loops = s->n_loops,
        .admission = s->admission,
        .version_max = RELAY_VERSION_MAX,
        .prefer_onion = strcmp(c->host_mode, "onion") == 0,
        .own_domains = c->own_server_domains,
        .socks = has_socks ? &socks : NULL,
        .socks_always = strcmp(c->socks_mode, "always") == 0,
        .settings = c->proxy,
    };
    if (e == OK) e = proxy_new(&o, &s->proxy);
    crypto_wipe(&socks, sizeof socks);
    return e == OK ? OK : problem_set(p, e, "cannot start the proxy: %s", err_reason(e));
}

static void down_proxy(struct server *s) {
    proxy_free(s->proxy);
}

/* ---- names ---- */

static enum err up_names(struct server *s, struct problem *p) {
    const struct conf *c = s->o.conf;
    struct endpoint endpoint;
    const char *key = NULL, *why = NULL;
    if (!c->names_enable) return OK;
    enum err e = conf_resolver(c, &endpoint, &key, &why);
    if (e != OK) return problem_set(p, e, "%s: [NAMES] %s: %s", s->o.ini_path, key, why);
    const struct resolver_opts o = {
        .loops = workers_loops(s->workers),
        .n_loops = s->n_loops,
        .endpoint = &endpoint,
        .settings = c->resolver,
        .transfers_max = s->shares.transfers,
    };
    e = resolver_new(&o, &s->resolver);
    endpoint_wipe(&endpoint);
    return e == OK ? OK : problem_set(p, e, "cannot start the resolver: %s", err_reason(e));
}

static void down_names(struct server *s) {
    resolver_free(s->resolver);
}

/* ---- relay ---- */

static enum err up_relay(struct server *s, struct problem *p) {
    const struct conf *c = s->o.conf;
    struct relay_opts o = {
        .env = &ENV_SYSTEM,
        .store = s->store,
        .loops = workers_loops(s->workers),
        .n_loops = s->n_loops,
        .admission = s->admission,
        .proxy = s->proxy,
        .resolver = s->resolver,
        .message_ttl_s = conf_message_ttl_s(c),
        .rules = c->rules,
        .settings = c->relay,
    };
    const enum err e = relay_new(&o, &s->relay);
    crypto_wipe(&o.rules, sizeof o.rules);
    return e == OK ? OK : problem_set(p, e, "cannot start the relay: %s", err_reason(e));
}

static void down_relay(struct server *s) {
    relay_free(s->relay);
    s->relay = NULL;
}

/* ---- ports ---- */

static void down_ports(struct server *s) {
    workers_close_ports(s->workers);
}

/* The handshake has decided what it is. */
static enum err up_shared(struct stream *st, const struct stream_opts *o) {
    const struct shared_opts *shared = (const void *)o; /* its first field */
    return tls_is_web(stream_tls(st)) ? web_frame(st, shared->web) : conn_frame(st, shared->smp);
}

static const struct stream_opts *opts_of(struct server *s, enum port_kind kind) {
    if (port_is_of_browsers(kind)) return web_stream_opts(pages_web(s->pages));
    if (kind == PORT_WEBSOCKETS) return web_stream_opts(s->websockets);
    return kind == PORT_SHARED ? &s->shared.stream : &relay_conn_opts(s->relay)->stream;
}

static enum err make_doors(struct server *s, SSL_CTX *smp) {
    struct doors next;
    const enum err e = doors_make(smp, pages_tls(s->pages), &next);
    if (e != OK) return e;
    doors_done(&s->doors);
    s->doors = next;
    const struct conn_opts *o = relay_conn_opts(s->relay);
    if (s->pages != NULL) web_set_smp(pages_web(s->pages), o, smp);
    if (s->websockets != NULL) web_set_smp(s->websockets, o, smp);
    return OK;
}

static void warn_left_out(const struct server *s, const struct port_use *u, enum err e) {
    struct problem why;
    ports_explain_left_out(u, e, s->o.ini_path, &why);
    log_line(LOG_WARN, "ports", "%s", why.text);
}

/* Is there a port where browsers find pages with TLS? */
static bool has_https(const struct server *s) {
    bool found = false;
    const unsigned n = pages_tls(s->pages) != NULL ? workers_n_sockets(s->workers) : 0;
    for (unsigned i = 0; i < n; i++) {
        const struct opening *o = workers_opening(s->workers, i);
        found = found || (o->port != 0 && (o->kind == PORT_SHARED || o->kind == PORT_HTTPS));
    }
    return found;
}

static enum err prepare_doors(struct server *s, struct problem *p) {
    const struct identity *id = s->o.identity;
    s->shared = (struct shared_opts){
        .stream = relay_conn_opts(s->relay)->stream,
        .smp = relay_conn_opts(s->relay),
        .web = s->pages != NULL ? pages_web(s->pages) : NULL,
    };
    s->shared.stream.on_up = up_shared;
    atomic_store_explicit(&s->smp_expires_s, server_cert_expires_s(id->cert), memory_order_relaxed);
    const enum err e = make_doors(s, id->tls);
    return e == OK ? OK : problem_set(p, e, "cannot prepare TLS: %s", err_reason(e));
}

/* Ports below 1024 are left out where they may not be bound to, if others are served. */
static enum err open_ports(struct server *s, struct problem *p) {
    const unsigned n = workers_n_sockets(s->workers);
    unsigned n_open = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct port_use u = ports_use(s->o.conf, i);
        const enum err e =
            workers_listen(s->workers, i, &u, s->doors.of[u.kind], opts_of(s, u.kind));
        if (e == OK && port_is_of_clients(u.kind)) n_open++;
        if (e == OK) continue;
        const bool is_dispensable = ports_is_dispensable(&u, e);
        if (is_dispensable && port_is_extra(u.kind)) {
            warn_left_out(s, &u, e);
        } else {
            (void)ports_explain(&u, e, s->o.ini_path, p);
        }
        workers_leave_out(s->workers, i);
        if (is_dispensable) continue;
        down_ports(s);
        return e;
    }
    if (n_open == 0) return E_SYS;
    for (unsigned i = 0; i < n; i++) {
        const struct port_use u = ports_use(s->o.conf, i);
        if (workers_opening(s->workers, i)->port != 0 || !port_is_of_clients(u.kind)) continue;
        errno = EACCES; /* for nothing else is one left out */
        warn_left_out(s, &u, E_SYS);
    }
    return OK;
}

static enum err up_ports(struct server *s, struct problem *p) {
    enum err e = prepare_doors(s, p);
    if (e == OK) e = open_ports(s, p);
    if (e == OK && s->pages != NULL) web_set_secure(pages_web(s->pages), has_https(s));
    return e;
}

/* ---- threads ---- */

static void down_threads(struct server *s) {
    proxy_stop(s->proxy);
    workers_stop(s->workers);
    workers_join(s->workers);
}

/* What the store's threads have posted until they ended. */
static void down_mail(struct server *s) {
    workers_join(s->workers);
}

static enum err up_threads(struct server *s, struct problem *p) {
    enum err e = relay_start(s->relay);
    if (e == OK && s->proxy != NULL) e = proxy_start(s->proxy);
    if (e == OK && s->resolver != NULL) e = resolver_start(s->resolver);
    if (e == OK) e = workers_start(s->workers);
    if (e == OK) return OK;
    (void)problem_set(p, e, "cannot start %u threads: %s", s->n_loops, err_reason(e));
    down_threads(s);
    return e;
}

static void down_clients(struct server *s) {
    workers_drain(s->workers);
}

/* ---- the operator ---- */

static enum err up_operate(struct server *s, struct problem *p) {
    const struct operate_opts o = {
        .conf = s->o.conf,
        .ini_path = s->o.ini_path,
        .identity = s->o.identity,
        .relay = s->relay,
        .store = s->store,
        .stats = s->stats,
        .sheet = stats_sheet(s->stats, s->n_loops + SHEET_OPERATE),
        .metrics_sheet = stats_sheet(s->stats, s->n_loops + SHEET_METRICS),
        .dashboard_sheet = stats_sheet(s->stats, s->n_loops + SHEET_DASHBOARD),
        .job = s->stats_job,
        .gauges = fill_gauges,
        .ctx = s,
        .loop_index = s->n_loops,
    };
    return operate_new(&o, &s->operate, p);
}

static void down_operate(struct server *s) {
    operate_free(s->operate);
}

static enum err up_operating(struct server *s, struct problem *p) {
    return operate_start(s->operate, p);
}

static void down_operating(struct server *s) {
    operate_stop(s->operate);
}

/* ---- rights ---- */

/* No port is opened any more. */
static enum err up_rights(struct server *s, struct problem *p) {
    (void)s;
    (void)p;
    rights_end();
    return OK;
}

/* ---- the order of all ---- */

/* The one owner of start and stop: run forwards to start, backwards to stop, so that each step
 * finds all that it calls. What is true after the down of a step:
 *
 * - control and metrics: nobody asks from outside; all runs on the loops and the store's threads.
 * - clients: nobody can connect. Who was there has been answered, also what waited for the disk,
 *   within STOP_GRACE_MS, and is gone.
 * - threads: nothing runs on a loop. Connections that were left are closed, by this thread, and
 *   nobody asks the store for anything new.
 * - storing: the store has no thread and calls nobody; all it had to say has been posted.
 * - mail: mailboxes are empty for good; nobody names a session any more.
 *
 * And what is below is freed. */
static const struct step {
    const char *name;
    enum err (*up)(struct server *s, struct problem *p); /* or NULL */
    void (*down)(struct server *s);                      /* only after its up; or NULL */
    bool serving;                                        /* left out in maintenance */
} STEPS[] = {
    {"stats", up_stats, down_stats, false},
    {"descriptors", up_descriptors, NULL, false},
    {"admission", up_admission, down_admission, false},
    {"pages", up_pages, down_pages, false},
    {"store", up_store, down_store, false},
    {"loops", up_loops, down_loops, false},
    {"proxy", up_proxy, down_proxy, false},
    {"names", up_names, down_names, false},
    {"relay", up_relay, down_relay, false},
    {"mail", NULL, down_mail, false},
    {"storing", up_storing, down_storing, false},
    {"reporting", up_reporting, down_reporting, true},
    {"ports", up_ports, down_ports, true},
    {"control port", up_operate, down_operate, true},
    {"files of the pages", up_page_files, NULL, true},
    {"rights", up_rights, NULL, true},
    {"threads", up_threads, down_threads, true},
    {"clients", NULL, down_clients, true},
    {"control and metrics", up_operating, down_operating, true},
};

enum err server_stop(struct server *s, struct problem *ret_problem) {
    if (s == NULL) return OK;
    while (s->n_steps > 0) {
        const struct step *step = &STEPS[--s->n_steps];
        if (step->down == NULL) continue;
        log_line(LOG_DEBUG, "stop", "step=%s", step->name);
        step->down(s);
    }
    const enum err e = s->stop_err;
    if (e != OK) *ret_problem = s->stop_problem;
    free(s);
    return e;
}

enum err server_start(const struct server_opts *o, struct server **ret,
                      struct problem *ret_problem) {
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL) return problem_set(ret_problem, E_NO_MEMORY, "out of memory");
    s->o = *o;
    for (size_t i = 0; i < ARRAY_LEN(STEPS); i++) {
        if (STEPS[i].serving && o->maintenance) break;
        log_line(LOG_DEBUG, "start", "step=%s", STEPS[i].name);
        const enum err e = STEPS[i].up != NULL ? STEPS[i].up(s, ret_problem) : OK;
        if (e != OK) {
            struct problem not_saved;
            if (server_stop(s, &not_saved) != OK) {
                log_line(LOG_ERROR, "stop", "reason=\"%s\"", not_saved.text);
            }
            return e;
        }
        s->n_steps++;
    }
    s->o.conf = NULL;
    s->o.ini_path = NULL;
    *ret = s;
    return OK;
}

/* ---- while it runs ---- */

static enum err change_doors(struct server *s, SSL_CTX *smp) {
    const enum err e = make_doors(s, smp);
    return e == OK ? workers_set_doors(s->workers, &s->doors) : e;
}

enum err server_set_identity(struct server *s, const struct identity *id) {
    const enum err e = change_doors(s, id->tls);
    if (e != OK) return e;
    atomic_store_explicit(&s->smp_expires_s, server_cert_expires_s(id->cert), memory_order_relaxed);
    return OK;
}

void server_look_at_page_cert(struct server *s, const struct conf *conf, bool is_asked) {
    if (!pages_look_at_cert(s->pages, conf, is_asked)) return;
    const enum err e = change_doors(s, s->doors.of[PORT_SMP]);
    if (e == OK) web_set_secure(pages_web(s->pages), has_https(s));
    log_line(e == OK ? LOG_INFO : LOG_ERROR, "web", "certificate=%s",
             e == OK ? "new" : err_name(e));
}

enum err server_set_rules(struct server *s, const struct relay_rules *rules) {
    return relay_set_rules(s->relay, rules);
}

enum err server_set_pages(struct server *s, const struct conf *conf) {
    return pages_reload(s->pages, conf);
}

void server_set_control(struct server *s, const struct control_settings *settings) {
    operate_set_control(s->operate, settings);
}

bool server_is_alive(struct server *s) {
    return workers_are_alive(s->workers);
}

unsigned server_n_threads(const struct server *s) {
    return s->n_loops;
}

bool server_has_https(const struct server *s) {
    return has_https(s);
}

bool server_has_websockets(const struct server *s, uint16_t port) {
    for (unsigned i = 0; i < workers_n_sockets(s->workers); i++) {
        const struct opening *o = workers_opening(s->workers, i);
        if (o->kind == PORT_WEBSOCKETS && o->port == port) return true;
    }
    return false;
}

bool server_has_port(const struct server *s, uint16_t port) {
    for (unsigned i = 0; i < workers_n_sockets(s->workers); i++) {
        if (workers_opening(s->workers, i)->port == port) return true;
    }
    return false;
}
