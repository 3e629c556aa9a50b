/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/signals.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "app/server/memory.h"
#include "app/server/notify.h"
#include "base/env.h"
#include "base/log.h"
#include "crypto/secret.h"

/* ---- SIGHUP ---- */

static enum err take_log_level(struct signals *r, const struct conf *next) {
    enum log_level level = LOG_INFO;
    const bool is_one = log_level_from_name(next->log_level, &level);
    assert(is_one); /* the table of settings has the same words */
    if (!r->has_log_level) log_set_level(level);
    return OK;
}

void signals_set_log_level(struct signals *r) {
    (void)take_log_level(r, r->conf);
}

static enum err take_rules(struct signals *r, const struct conf *next) {
    return server_set_rules(r->server, &next->rules);
}

static enum err take_control(struct signals *r, const struct conf *next) {
    server_set_control(r->server, &next->control);
    return OK;
}

/* How the parts of the table of settings take over what is new for them. */
static enum err (*const TAKE[N_CONF_PARTS])(struct signals *r, const struct conf *next) = {
    [CONF_LOG] = take_log_level,
    [CONF_RELAY] = take_rules,
    [CONF_CONTROL] = take_control,
};

static enum err load_successor(const struct signals *r, struct identity **ret, struct problem *p) {
    const enum err e = identity_load(r->paths, ret, p);
    if (e != OK || bytes_equal(identity_fingerprint(*ret), identity_fingerprint(r->identity))) {
        return e;
    }
    identity_free(*ret);
    return problem_set(p, E_IDENTITY, "%s is of another identity", r->paths->ca_crt);
}

static void reload_certificates(struct signals *r) {
    struct problem problem = {0};
    struct identity *next = NULL;
    enum err e = load_successor(r, &next, &problem);
    if (e != OK) {
        log_line(LOG_ERROR, "reload", "certificates=kept reason=\"%s\"", problem.text);
        return;
    }
    if (identity_is_same(next, r->identity)) {
        log_line(LOG_INFO, "reload", "certificates=unchanged");
        identity_free(next);
        return;
    }
    e = server_set_identity(r->server, next);
    identity_free(r->identity);
    r->identity = next;
    log_line(e == OK ? LOG_INFO : LOG_ERROR, "reload", "certificates=%s",
             e == OK ? "new" : err_name(e));
}

static void reload_settings(struct signals *r) {
    struct problem problem = {0};
    CLEANUP(conf_done) struct conf next;
    conf_init(&next);
    enum err e = conf_load(&next, r->paths->ini, conf_log_warning, NULL, &problem);
    bool is_new = false;
    for (enum conf_part part = 0; part < N_CONF_PARTS && e == OK; part++) {
        if (part == CONF_RESTART || !conf_differs(r->conf, &next, part)) continue;
        if (TAKE[part] != NULL) e = TAKE[part](r, &next);
        if (e != OK) (void)problem_set(&problem, e, "%s", err_meaning(e));
        if (e == OK) conf_take(r->conf, &next, part);
        is_new = true;
    }
    if (is_new && e == OK) {
        e = server_set_pages(r->server, r->conf);
        if (e != OK) (void)problem_set(&problem, e, "%s", err_meaning(e));
    }
    if (e != OK) {
        log_line(LOG_ERROR, "reload", "settings=kept reason=\"%s\"", problem.text);
        return;
    }
    conf_warn_of_restart(r->conf, &next, conf_log_warning, NULL);
    log_line(LOG_INFO, "reload", "settings=%s", is_new ? "new" : "unchanged");
}

static void reload(struct signals *r) {
    notify_reloading(env_mono_ms(&ENV_SYSTEM));
    reload_settings(r);
    reload_certificates(r);
    server_look_at_page_cert(r->server, r->conf, true);
    notify_send("READY=1");
}

/* ---- signals ---- */

static sigset_t handled_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return set;
}

void signals_block(void) {
    const sigset_t set = handled_signals();
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* The next signal, or 0 when none has come by then; until_ms: on the monotonic clock, 0: for ever.
 */
static int next_signal(const sigset_t *set, int64_t until_ms) {
    const int64_t now_ms = env_mono_ms(&ENV_SYSTEM);
    const int64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 0;
    const struct timespec left = {left_ms / 1000, left_ms % 1000 * 1000000};
    int number = -1;
    do number = sigtimedwait(set, NULL, until_ms != 0 ? &left : NULL);
    while (number < 0 && errno == EINTR);
    return number > 0 ? number : 0;
}

/* What is done again and again: the next time, and how often. 0: never. */
struct duty {
    int64_t due_ms, every_ms;
};

static bool is_due(struct duty *d) {
    const int64_t now_ms = env_mono_ms(&ENV_SYSTEM);
    if (d->every_ms == 0 || now_ms < d->due_ms) return false;
    d->due_ms = now_ms + d->every_ms;
    return true;
}

/* Said once: at the start it was said if they were not. */
static void look_at_keys(enum secret_locking *io_before) {
    const enum secret_locking now = secret_locking();
    if (*io_before != SECRETS_LOCKED || now == SECRETS_LOCKED) return;
    *io_before = now;
    log_line(LOG_WARN, "keys-not-locked",
             "the limit of locked memory is used up: keys of new sessions may get into swap "
             "(LimitMEMLOCK= of systemd, ulimit -l)");
}

/* SIGINT or SIGTERM; takes care of all else until it comes. */
static int wait_for_end(struct signals *r, const sigset_t *set) {
    const int64_t now_ms = env_mono_ms(&ENV_SYSTEM);
    struct duty dog = {now_ms + notify_watchdog_ms(), notify_watchdog_ms()};
    struct duty web = {now_ms + SERVER_LOOK_MS, SERVER_LOOK_MS};
    struct duty memory = {now_ms + MEMORY_LOOK_MS, MEMORY_LOOK_MS};
    struct memory_look look = {.stays = 0};
    enum secret_locking locking = secret_locking();
    while (true) {
        int64_t until_ms = web.due_ms < memory.due_ms ? web.due_ms : memory.due_ms;
        if (dog.every_ms != 0 && dog.due_ms < until_ms) until_ms = dog.due_ms;
        const int number = next_signal(set, until_ms);
        if (number == SIGHUP) reload(r);
        if (number == SIGINT || number == SIGTERM) return number;
        if (is_due(&web)) server_look_at_page_cert(r->server, r->conf, false);
        if (is_due(&memory)) {
            (void)memory_give_back(&look, env_mono_ms(&ENV_SYSTEM));
            look_at_keys(&locking);
        }
        if (is_due(&dog) && server_is_alive(r->server)) notify_send("WATCHDOG=1");
    }
}

bool signals_end_within(unsigned ms) {
    sigset_t set = handled_signals();
    sigdelset(&set, SIGHUP);
    const int number = next_signal(&set, env_mono_ms(&ENV_SYSTEM) + ms);
    if (number != 0)
        log_line(LOG_INFO, "stop", "signal=%s", number == SIGINT ? "SIGINT" : "SIGTERM");
    return number != 0;
}

void signals_wait_for_stop(struct signals *r) {
    const sigset_t set = handled_signals();
    const int number = wait_for_end(r, &set);
    log_line(LOG_INFO, "stop", "signal=%s", number == SIGINT ? "SIGINT" : "SIGTERM");
    /* From now on one more of these ends the program, also one that it was started ignoring. */
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
