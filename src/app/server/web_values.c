/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/web_values.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "app/files/version.h"
#include "base/day.h"
#include "base/rd.h"
#include "crypto/base64.h"
#include "crypto/crypto.h"
#include "relay/relay.h"

enum { A_MINUTE_S = 60, AN_HOUR_S = 3600, A_WEEK_S = 7 * DAY_S };
enum { A_MONTH_S = 30 * DAY_S };

static void add(struct web_values *v, const char *name, const char *value) {
    assert(v->n < WEB_VALUES_MAX);
    v->v[v->n++] = (struct site_value){name, value};
}

static void add_flag(struct web_values *v, const char *name, bool is_set) {
    add(v, name, is_set ? "1" : "");
}

/* A text of our own. */
static void add_text(struct web_values *v, const char *name, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
static void add_text(struct web_values *v, const char *name, const char *fmt, ...) {
    char text[4 * CONF_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    uint8_t *to = wr_skip(&v->w, n >= 0 && (size_t)n < sizeof text ? (size_t)n + 1 : SIZE_MAX);
    if (to != NULL) memcpy(to, text, (size_t)n + 1);
    add(v, name, to != NULL ? (const char *)to : "");
}

/* ---- links ---- */

static bool begins(const char *text, const char *with) {
    return strncasecmp(text, with, strlen(with)) == 0;
}

/* Where a click may lead; anything else is shown as text. */
static const char *as_link(const char *text) {
    static const char *const SCHEMES[] = {"https://", "http://", "mailto:", "simplex:"};
    for (size_t i = 0; i < ARRAY_LEN(SCHEMES); i++) {
        if (begins(text, SCHEMES[i])) return text;
    }
    return "";
}

/* ---- hosts ---- */

static bool ends(struct bytes b, const char *with) {
    const size_t n = strlen(with);
    return b.n >= n && strncasecmp((const char *)b.p + b.n - n, with, n) == 0;
}

void web_host(const struct conf *c, bool is_onion, char *ret, size_t cap) {
    struct rd r = rd_init(bytes_str(conf_is_host(c->host) ? c->host : ""));
    ret[0] = '\0';
    while (rd_left(&r) != 0) {
        const struct bytes host = rd_part(&r, ',');
        if (ends(host, ".onion") != is_onion) continue;
        (void)snprintf(ret, cap, "%.*s", (int)host.n, (const char *)host.p);
        return;
    }
}

void web_name(const struct conf *c, char *ret, size_t cap) {
    web_host(c, false, ret, cap);
    if (*ret == '\0') web_host(c, true, ret, cap);
}

void web_url(const struct conf *c, bool is_secure, char *ret, size_t cap) {
    enum { HTTP_PORT = 80, HTTPS_PORT = 443 };
    char host[CONF_TEXT_MAX], at[8] = "";
    const int port = (int)(is_secure ? c->web_https : c->web_http);
    web_name(c, host, sizeof host);
    if (port != (is_secure ? HTTPS_PORT : HTTP_PORT)) (void)snprintf(at, sizeof at, ":%d", port);
    (void)snprintf(ret, cap, "%s://%s%s/", is_secure ? "https" : "http",
                   *host != '\0' ? host : "localhost", at);
}

static void add_address(struct web_values *v, const char *name, const char *id, const char *hosts,
                        unsigned port) {
    char suffix[8] = "";
    if (port != SMP_DEFAULT_PORT) (void)snprintf(suffix, sizeof suffix, ":%u", port);
    if (*hosts != '\0') {
        add_text(v, name, "smp://%s@%s%s", id, hosts, suffix);
    } else {
        add(v, name, "");
    }
}

static void add_hosts(struct web_values *v, const struct conf *c, struct bytes fingerprint) {
    char name[CONF_TEXT_MAX], host[CONF_TEXT_MAX], onion[CONF_TEXT_MAX],
        id[BASE64_LEN(SHA256_LEN) + 1];
    web_name(c, name, sizeof name);
    web_host(c, false, host, sizeof host);
    web_host(c, true, onion, sizeof onion);
    base64url_encode(fingerprint, id);
    add_text(v, "name", "%s", name);
    add_text(v, "host", "%s", host);
    add_text(v, "onion_host", "%s", onion);
    add_text(v, "fingerprint", "%s", id);
    add_address(v, "address", id, conf_is_host(c->host) ? c->host : "", c->ports.port[0]);
    add_address(v, "onion_address", id, onion, c->ports.port[0]);
}

/* ---- rows ---- */

static void add_version(struct web_values *v, const struct conf *c) {
    enum { SHOWN = 7 };
    const char *commit = strcmp(SMP_SERVER_COMMIT, "unknown") != 0 ? SMP_SERVER_COMMIT : "";
    const char *source = as_link(c->information.source_code);
    const bool has_link = *commit != '\0' && begins(source, "http");
    const size_t n = strlen(source);
    const int n_source = (int)(n != 0 && source[n - 1] == '/' ? n - 1 : n);
    add(v, "software", "smp-server");
    add(v, "version", SMP_SERVER_VERSION);
    add_text(v, "commit", "%.*s", SHOWN, commit);
    if (has_link) {
        add_text(v, "commit_link", "%.*s/commit/%s", n_source, source, commit);
    } else {
        add(v, "commit_link", "");
    }
    add_text(v, "smp_versions", "%d-%d", (int)c->relay.version_min, (int)c->relay.version_max);
}

static void add_contact(struct web_values *v, bool is_admin, const char *simplex, const char *email,
                        const char *pgp, const char *fingerprint) {
    const bool has_pgp = *as_link(pgp) != '\0' && *fingerprint != '\0';
    const char *link = as_link(simplex);
    add_flag(v, is_admin ? "admin" : "complaints", *link != '\0' || *email != '\0' || has_pgp);
    add(v, is_admin ? "admin_simplex_link" : "complaints_simplex_link", link);
    add(v, is_admin ? "admin_email" : "complaints_email", email);
    add(v, is_admin ? "admin_pgp_link" : "complaints_pgp_link", has_pgp ? pgp : "");
    add(v, is_admin ? "admin_pgp_fingerprint" : "complaints_pgp_fingerprint",
        has_pgp ? fingerprint : "");
}

static void add_hosting_type(struct web_values *v, const char *type) {
    add_flag(v, "hosting_type", *type != '\0');
    add_flag(v, "hosting_virtual", strcasecmp(type, "virtual") == 0);
    add_flag(v, "hosting_dedicated", strcasecmp(type, "dedicated") == 0);
    add_flag(v, "hosting_colocation", strcasecmp(type, "colocation") == 0);
    add_flag(v, "hosting_owned", strcasecmp(type, "owned") == 0);
}

/* Is there anything to be told of those who run the server? */
static bool has_about(const struct conf_information *i) {
    const char *const TEXTS[] = {
        i->website,        i->usage_conditions, i->operator, i->hosting, i->server_country,
        i->hosting_type,   i->admin_email,      i->complaints_email,     i->admin_pgp,
        i->complaints_pgp, i->admin_simplex,    i->complaints_simplex,
    };
    for (size_t n = 0; n < ARRAY_LEN(TEXTS); n++) {
        if (*TEXTS[n] != '\0') return true;
    }
    return false;
}

/* Nothing of it without the source code, which the licence wants to be told first. */
static void add_information(struct web_values *v, const struct conf_information *all) {
    static const struct conf_information NONE;
    const bool is_public = all->source_code[0] != '\0';
    const struct conf_information *i = is_public ? all : &NONE;
    add_flag(v, "info", is_public);
    add_flag(v, "about", has_about(i));
    add(v, "source_code", i->source_code);
    add(v, "source_code_link", as_link(i->source_code));
    add(v, "website", i->website);
    add(v, "website_link", as_link(i->website));
    add(v, "usage_conditions", i->usage_conditions);
    add(v, "usage_conditions_link", as_link(i->usage_conditions));
    const char *amendments = i->usage_conditions[0] != '\0' ? i->condition_amendments : "";
    add(v, "condition_amendments", amendments);
    add(v, "condition_amendments_link", as_link(amendments));
    add(v, "operator", i->operator);
    add(v, "operator_country", i->operator[0] != '\0' ? i->operator_country : "");
    add(v, "hosting", i->hosting);
    add(v, "hosting_country", i->hosting[0] != '\0' ? i->hosting_country : "");
    add_hosting_type(v, i->hosting_type);
    add(v, "server_country", i->server_country);
    add_contact(v, true, i->admin_simplex, i->admin_email, i->admin_pgp, i->admin_pgp_fingerprint);
    add_contact(v, false, i->complaints_simplex, i->complaints_email, i->complaints_pgp,
                i->complaints_pgp_fingerprint);
}

static void add_number(struct web_values *v, const char *name, const char *name_many, int64_t n) {
    if (n != 0) {
        add_text(v, name, "%lld", (long long)n);
    } else {
        add(v, name, "");
    }
    add_flag(v, name_many, n > 1);
}

/* In months of 30 days, days, hours, minutes and seconds; one and two weeks are weeks. */
static void add_expiry(struct web_values *v, int64_t ttl_s) {
    const bool is_weeks = ttl_s == A_WEEK_S || ttl_s == INT64_C(2) * A_WEEK_S;
    const int64_t rest_s = is_weeks ? 0 : ttl_s;
    add_number(v, "ttl_weeks", "ttl_weeks_many", is_weeks ? ttl_s / A_WEEK_S : 0);
    add_number(v, "ttl_months", "ttl_months_many", rest_s / A_MONTH_S);
    add_number(v, "ttl_days", "ttl_days_many", rest_s % A_MONTH_S / DAY_S);
    add_number(v, "ttl_hours", "ttl_hours_many", rest_s % DAY_S / AN_HOUR_S);
    add_number(v, "ttl_minutes", "ttl_minutes_many", rest_s % AN_HOUR_S / A_MINUTE_S);
    add_number(v, "ttl_seconds", "ttl_seconds_many", rest_s % A_MINUTE_S);
    add_flag(v, "ttl_zero", ttl_s == 0);
}

static void add_service(struct web_values *v, const struct conf *c) {
    const bool in_memory = strcmp(c->store_messages, "memory") == 0;
    const bool keeps_messages = c->store_log && (!in_memory || c->restore_messages);
    add_flag(v, "keeps_nothing", !c->store_log);
    add_flag(v, "keeps_queues", c->store_log && !keeps_messages);
    add_flag(v, "keeps_messages", keeps_messages);
    add_flag(v, "stats_on", c->log_stats);
    add_flag(v, "new_queues_on", c->rules.allow_new_queues);
    add_flag(v, "auth_on", c->rules.create_password[0] != '\0');
}

enum err web_values_make(const struct conf *c, struct bytes fingerprint, struct web_values *ret) {
    ret->n = 0;
    ret->w = wr_init(ret->text, sizeof ret->text);
    add_hosts(ret, c, fingerprint);
    add_version(ret, c);
    add_information(ret, &c->information);
    add_expiry(ret, conf_message_ttl_s(c));
    add_service(ret, c);
    return wr_err(&ret->w);
}
