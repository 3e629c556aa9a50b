/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Of the certificate what its file says, and of the pages what a visitor gets: by the server's name
 * where it leads somewhere, else from this machine. Nothing here is an error: the relay works
 * without pages. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/files/file_problem.h"
#include "app/server/checks_priv.h"
#include "app/server/page_cert.h"
#include "app/server/web_values.h"
#include "base/day.h"
#include "base/wr.h"
#include "crypto/base64.h"
#include "crypto/crypto.h"
#include "visit/visit.h"

enum { VISIT_TIMEOUT_S = 5 };

static const char WEB[] = "web", PAGE[] = "page";

/* ---- the certificate's file ---- */

static void tell_cert(struct checks *c, const struct web_cert *cert) {
    const int64_t now_s = env_now_s(&ENV_SYSTEM), expires_s = web_cert_expires_s(cert);
    const int64_t days = (expires_s - now_s) / DAY_S;
    char host[CONF_TEXT_MAX], day[32], begins[32];
    web_host(c->conf, false, host, sizeof host);
    checks__write_day(expires_s, day, sizeof day);
    checks__write_day(web_cert_begins_s(cert), begins, sizeof begins);
    if (web_cert_begins_s(cert) > now_s) {
        checks__tell(c, FINDING_WARNING, WEB,
                     "%s is valid only from %s on, and browsers warn of it: is the clock of this "
                     "machine behind?",
                     c->conf->web_cert, begins);
    } else if (expires_s <= now_s) {
        checks__tell(c, FINDING_WARNING, WEB, "%s expired on %s, and browsers warn of it: renew it",
                     c->conf->web_cert, day);
    } else if (*host != '\0' && !web_cert_is_for(cert, host)) {
        checks__tell(c, FINDING_WARNING, WEB,
                     "%s is not for %s, and browsers warn of it: get one for this name",
                     c->conf->web_cert, host);
    } else if (days < PAGE_CERT_WARN_DAYS) {
        checks__tell(c, FINDING_WARNING, WEB, "%s expires on %s, in %" PRId64 " days: renew it",
                     c->conf->web_cert, day, days);
    } else {
        checks__tell(c, FINDING_OK, WEB,
                     "certificate of the pages for %s, valid until %s (%" PRId64 " days)",
                     *host != '\0' ? host : "browsers", day, days);
    }
}

/* ---- a visitor ---- */

struct visitor {
    struct checks *c;
    bool is_secure, is_lost;     /* is_lost: the name leads nowhere */
    const struct web_cert *cert; /* of the file; NULL: without TLS */
    struct port_use use;
    char url[WEB_URL_MAX], host[CONF_TEXT_MAX];
    char here[64]; /* this machine's address; "": it is asked for by name */
};

static struct visit *go(const struct visitor *v, const char *language, bool trusts_all) {
    return visit_page(&(struct visit_opts){
        .url = v->url,
        .at = v->here[0] != '\0' ? v->here : NULL,
        .language = language,
        .trusts_all = trusts_all,
        .timeout_ms = VISIT_TIMEOUT_S * INT64_C(1000),
    });
}

/* By one that the server listens at. */
static void stay_here(struct visitor *v) {
    const char *host = v->use.addr.host;
    if (host == NULL || strcmp(host, "0.0.0.0") == 0) host = "127.0.0.1";
    if (strcmp(host, "::") == 0) host = "::1";
    (void)snprintf(v->here, sizeof v->here, "%s", host);
}

/* Why there is no page to look at. */
static void tell_end(const struct visitor *v, const struct visit *got) {
    struct checks *c = v->c;
    switch (got->end) {
    case VISIT_NO_HOST:
        checks__tell(c, FINDING_WARNING, PAGE,
                     "%s cannot be looked up here, so nobody finds %s: give this name an address "
                     "in DNS, or correct [TRANSPORT] host in %s",
                     v->host, v->url, c->paths->ini);
        return;
    case VISIT_NO_CONNECT:
        checks__tell(c, FINDING_WARNING, PAGE,
                     "%s cannot be connected to from here (%s): let port %u through firewalls and "
                     "routers, and see whether %s leads to this machine; where the router does not "
                     "lead back into its own network, try it from elsewhere",
                     v->url, got->why, v->use.addr.port, v->host);
        return;
    case VISIT_LATE:
        checks__tell(c, FINDING_WARNING, PAGE,
                     "%s is connected to (%s) and does not answer within %d s: see the server's "
                     "log and load, or what stands before it",
                     v->url, got->address, VISIT_TIMEOUT_S);
        return;
    case VISIT_BAD_CERT:
        checks__tell(c, FINDING_WARNING, PAGE,
                     "browsers warn of %s (%s): get a certificate of an authority for this name "
                     "into %s, with its whole chain, as simplex-servers-certs does",
                     v->url, got->why, c->conf->web_cert);
        return;
    case VISIT_NO_TLS:
        checks__tell(c, FINDING_WARNING, PAGE,
                     "%s: no TLS with what answers at %s (%s): see the server's log, and whether "
                     "another program or a proxy has port %u",
                     v->url, got->address, got->why, v->use.addr.port);
        return;
    case VISIT_BROKEN:
    case VISIT_ANSWER:
        checks__tell(c, FINDING_WARNING, PAGE,
                     "%s: what answers at %s is no web server (%s): see whether another program "
                     "has port %u",
                     v->url, got->address, got->why, v->use.addr.port);
        return;
    }
}

/* Each page about a server shows its fingerprint. */
static bool is_ours(const struct checks *c, const struct visit *got) {
    char id[BASE64_LEN(SHA256_LEN) + 1];
    if (c->identity == NULL) return true; /* it cannot be known, and is told elsewhere */
    base64url_encode(identity_fingerprint(c->identity), id);
    return strstr(got->body, id) != NULL;
}

static bool leads_to_tls(const struct visitor *v, const struct visit *got) {
    char secure[WEB_URL_MAX];
    web_url(v->c->conf, true, secure, sizeof secure);
    return !v->is_secure && got->status / 100 == 3 && strcmp(got->location, secure) == 0;
}

/* The languages in which the page comes to those who want it in them: "en, fr, ja". */
static void list_languages(const struct visitor *v, struct wr *w) {
    for (unsigned i = 0; i < N_WEB_LANGS; i++) {
        const char *language = WEB_LANG_NAMES[i];
        struct visit *got = go(v, language, true);
        if (got != NULL && got->end == VISIT_ANSWER && got->status == 200 &&
            strcmp(got->language, language) == 0) {
            wr_str(w, w->at == 0 ? " in " : ", ");
            wr_str(w, language);
        }
        free(got);
    }
    wr_u8(w, '\0');
}

/* Which certificate it was. */
static void describe_cert(const struct visitor *v, const struct visit *got, char *ret, size_t cap) {
    char day[32];
    ret[0] = '\0';
    if (got->cert_expires_s == 0) return;
    checks__write_day(got->cert_expires_s, day, sizeof day);
    (void)snprintf(ret, cap,
                   ", with a certificate for %s that is valid until %s (%" PRId64 " days)", v->host,
                   day, (got->cert_expires_s - env_now_s(&ENV_SYSTEM)) / DAY_S);
}

/* A server that has not taken it over, or another one. */
static void look_at_shown_cert(const struct visitor *v, const struct visit *got) {
    char shown[32], kept[32];
    if (v->cert == NULL || got->cert_expires_s == 0 ||
        got->cert_expires_s == web_cert_expires_s(v->cert))
        return;
    checks__write_day(got->cert_expires_s, shown, sizeof shown);
    checks__write_day(web_cert_expires_s(v->cert), kept, sizeof kept);
    checks__tell(v->c, FINDING_WARNING, PAGE,
                 "%s shows a certificate that is valid until %s, and that of %s until %s: within a "
                 "minute the server takes over a new one; else see its log, and what stands before "
                 "it",
                 v->url, shown, v->c->conf->web_cert, kept);
}

static void tell_answer(const struct visitor *v, const struct visit *got, bool is_trusted) {
    struct checks *c = v->c;
    char languages[32], cert[CONF_TEXT_MAX + 128];
    if (leads_to_tls(v, got)) {
        checks__tell(c, FINDING_OK, PAGE, "%s leads to %s (at %s)", v->url, got->location,
                     got->address);
    } else if (got->status != 200) {
        checks__tell(c, FINDING_WARNING, PAGE,
                     "%s is answered with HTTP %u%s%s (at %s), and not with the page of this "
                     "server: see what else answers by this name and port",
                     v->url, got->status, got->location[0] != '\0' ? " to " : "", got->location,
                     got->address);
    } else if (!is_ours(c, got)) {
        checks__tell(c, FINDING_WARNING, PAGE,
                     "%s shows another page than this server's (at %s): %s leads to another "
                     "machine or program; correct DNS, or the web server in between",
                     v->url, got->address, v->host);
    } else {
        struct wr w = wr_init(languages, sizeof languages);
        list_languages(v, &w);
        describe_cert(v, got, cert, sizeof cert);
        checks__tell(c, FINDING_OK, PAGE, "%s shows the page of this server%s (at %s)%s", v->url,
                     languages, got->address, is_trusted ? cert : "");
        look_at_shown_cert(v, got);
    }
}

/* False: there was none, and it may be tried in another way. */
static bool take(struct visitor *v, struct visit *owned) {
    struct visit *got = owned;
    bool is_trusted = true;
    if (got != NULL && got->end == VISIT_BAD_CERT) {
        tell_end(v, got);
        free(got);
        got = go(v, NULL, true); /* who goes on in spite of the warning */
        is_trusted = false;
    }
    const bool is_reached =
        got == NULL || (got->end != VISIT_NO_HOST && got->end != VISIT_NO_CONNECT);
    if (got != NULL && got->end == VISIT_NO_HOST) v->is_lost = true;
    if (got == NULL) {
        checks__tell(v->c, FINDING_WARNING, PAGE, "%s is not looked at: out of memory", v->url);
    } else if (got->end == VISIT_ANSWER) {
        tell_answer(v, got, is_trusted);
    } else {
        tell_end(v, got);
    }
    free(got);
    return is_reached;
}

/* Onion services are for Tor to find. */
static void look_at_page(struct visitor *v) {
    char host[CONF_TEXT_MAX];
    web_url(v->c->conf, v->is_secure, v->url, sizeof v->url);
    web_name(v->c->conf, v->host, sizeof v->host);
    if (v->host[0] == '\0') (void)snprintf(v->host, sizeof v->host, "localhost");
    web_host(v->c->conf, false, host, sizeof host);
    v->here[0] = '\0';
    if (!v->is_lost && host[0] != '\0' && take(v, go(v, NULL, false))) return;
    stay_here(v);
    (void)take(v, go(v, NULL, false));
}

static void look_at_kind(struct visitor *v) {
    const struct conf *conf = v->c->conf;
    for (unsigned i = 0; i < ports_count(conf); i++) {
        v->use = ports_use(conf, i);
        const bool is_secure = v->use.kind == PORT_SHARED || v->use.kind == PORT_HTTPS;
        if (!is_secure && v->use.kind != PORT_HTTP) continue;
        if (is_secure != v->is_secure || !checks__is_served(v->c, &v->use)) continue;
        look_at_page(v);
        return; /* the same on all addresses */
    }
}

/* Where a start puts the pages. It makes the directory when there is none. */
static void look_at_files(struct checks *c) {
    const char *dir = c->conf->web_static_path;
    struct problem p = {0};
    struct stat st;
    if (*dir == '\0' || stat(dir, &st) != 0) return;
    if (S_ISDIR(st.st_mode) && faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) == 0) return;
    (void)file_problem(&p, "cannot write into", dir, S_ISDIR(st.st_mode) ? errno : ENOTDIR);
    checks__tell(c, FINDING_WARNING, WEB, "%s", p.text);
}

/* A start tells it itself: it goes on, whatever is wrong. */
void checks__look_at_pages(struct checks *c) {
    struct web_cert *cert = NULL;
    struct problem p = {0};
    const bool has_https = ports_have_https(c->conf) && !c->conf->is_https_left_out;
    if (c->is_starting) return;
    look_at_files(c);
    struct visitor v = {.c = c};
    if (has_https && page_cert_load(c->conf, &cert, &p) != OK) {
        checks__tell(c, FINDING_WARNING, WEB, "%s", p.text);
    } else if (has_https) {
        tell_cert(c, cert);
        v.is_secure = true;
        v.cert = cert;
        look_at_kind(&v);
    }
    v.is_secure = false;
    look_at_kind(&v);
    web_cert_free(cert);
}
