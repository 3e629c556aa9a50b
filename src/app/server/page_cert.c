/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/page_cert.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/files/file_problem.h"
#include "app/server/ports.h"
#include "base/day.h"
#include "base/env.h"
#include "base/log.h"
#include "net/tls_web.h"

static int64_t days_until(int64_t t_s) {
    return (t_s - env_now_s(&ENV_SYSTEM)) / DAY_S;
}

/* ---- reading ---- */

/* Its rights would do, and yet it cannot be read. */
static bool is_outside(const char *path, int number) {
    return number == EACCES && faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0;
}

static enum err explain_file(const char *path, int number, struct problem *p) {
    if (number == ENOENT)
        return problem_set(p, E_SYS, "%s is not there: get a certificate for browsers", path);
    if (is_outside(path, number))
        return problem_set(p, E_SYS,
                           "%s is out of reach of the sandbox, which knows the directories that "
                           "were there at the start: restart smp-server",
                           path);
    return file_problem(p, "cannot read", path, number);
}

enum err page_cert_load(const struct conf *c, struct web_cert **ret, struct problem *ret_problem) {
    struct cert_problem why;
    struct problem file;
    const enum err e = web_cert_load(c->web_cert, c->web_key, ret, &why);
    if (e == OK) return OK;
    const bool is_file = e == E_SYS && why.path != NULL;
    if (is_file) (void)explain_file(why.path, why.number, &file);
    return problem_set(ret_problem, e,
                       "%.600s (there is no https until it is in order; see [WEB] cert and key)",
                       is_file ? file.text : why.text);
}

static enum err make_tls(struct page_cert *p, const struct conf *c, struct problem *why) {
    struct web_cert *cert = NULL;
    SSL_CTX *tls = NULL;
    enum err e = page_cert_load(c, &cert, why);
    if (e != OK) return e;
    e = tls_web_ctx_new(cert, &ENV_SYSTEM, &tls);
    if (e == OK) {
        tls_ctx_free(p->tls);
        p->tls = tls;
        p->warned_s = 0;
        p->begins_s = web_cert_begins_s(cert);
        atomic_store_explicit(&p->expires_s, web_cert_expires_s(cert), memory_order_relaxed);
    } else {
        (void)problem_set(why, e, "TLS refuses %s: %s", c->web_cert, err_meaning(e));
    }
    web_cert_free(cert);
    return e;
}

/* ---- looking again ---- */

static struct file_state state_of(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return (struct file_state){0};
    return (struct file_state){st.st_ino, st.st_size, st.st_mtim};
}

static bool is_same(const struct file_state *a, const struct file_state *b) {
    return a->ino == b->ino && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

static void warn_of_dates(struct page_cert *p, const struct conf *c) {
    const int64_t now_s = env_now_s(&ENV_SYSTEM);
    const int64_t expires_s = atomic_load_explicit(&p->expires_s, memory_order_relaxed);
    const bool is_early = p->begins_s > now_s;
    if (p->tls == NULL || (!is_early && days_until(expires_s) >= PAGE_CERT_WARN_DAYS) ||
        now_s < p->warned_s + DAY_S)
        return;
    p->warned_s = now_s;
    if (is_early) {
        log_line(LOG_WARN, "web",
                 "%s is not valid yet, and browsers warn of it: is the clock of this machine "
                 "behind?",
                 c->web_cert);
    } else if (expires_s > now_s) {
        log_line(LOG_WARN, "web", "%s expires in %" PRId64 " days: renew it", c->web_cert,
                 days_until(expires_s));
    } else {
        log_line(LOG_WARN, "web", "%s has expired, and browsers warn of it: renew it", c->web_cert);
    }
}

bool page_cert_look(struct page_cert *p, const struct conf *c, bool is_asked) {
    bool is_new = false;
    if (!ports_have_https(c) || c->is_https_left_out) return false;
    const struct file_state crt = state_of(c->web_cert), key = state_of(c->web_key);
    const bool is_news = is_asked || !is_same(&crt, &p->crt) || !is_same(&key, &p->key);
    if (is_news || p->is_unread) {
        struct problem why;
        p->crt = crt;
        p->key = key;
        const enum err e = make_tls(p, c, &why);
        is_new = e == OK;
        p->is_unread = e == E_SYS || e == E_NO_MEMORY;
        if (!is_new && is_news) log_line(LOG_WARN, "web", "%s", why.text);
    }
    warn_of_dates(p, c);
    return is_new;
}

void page_cert_init(struct page_cert *p) {
    *p = (struct page_cert){.tls = NULL};
    atomic_init(&p->expires_s, PAGE_CERT_NONE);
}

void page_cert_done(struct page_cert *p) {
    tls_ctx_free(p->tls);
    p->tls = NULL;
}
