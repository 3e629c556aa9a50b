/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/commands/init_plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/server/identity.h"
#include "base/env.h"
#include "crypto/base64.h"
#include "net/addr.h"

enum {
    PASSWORD_BYTES = 32,         /* random bytes of a password, as the reference */
    CONTROL_PASSWORD_BYTES = 18, /* and of those of the control port */
    INI_MAX = 128 * 1024,        /* bytes of the file that is written */
    ALLOWED_MAX = 256            /* bytes of a description */
};

/* ---- kinds of values ---- */

static bool is_text(const char *s) {
    if (*s == '\0') return false;
    for (; *s != '\0'; s++) {
        if ((unsigned char)*s < ' ' || *s == 0x7f) return false;
    }
    return true;
}

static bool is_uri(const char *s) {
    return is_text(s) && (strncmp(s, "https://", 8) == 0 || strncmp(s, "http://", 7) == 0) &&
           strchr(s, ' ') == NULL;
}

enum kind { TEXT, URI };

static const struct {
    bool (*is_valid)(const char *s);
    const char *allowed;
} KINDS[] = {
    [TEXT] = {is_text, "a text of one line, not empty"},
    [URI] = {is_uri, "an address that begins with https:// or http://"},
};

/* ---- options that become a setting ---- */

struct setting {
    const char *option, *section, *key;
    size_t offset;       /* into struct init_args */
    enum kind kind;      /* on top of what the setting itself allows */
    const char *implied; /* the value of an option without one; "": it is as if not given */
};

#define AT(field) offsetof(struct init_args, field)
// clang-format off
static const struct setting SETTINGS[] = {
    {"--source-code",      "INFORMATION", "source_code",        AT(source_code),      URI,
        ""},
    {"--server-country",   "INFORMATION", "server_country",     AT(server_country),   TEXT, NULL},
    {"--operator",         "INFORMATION", "operator",           AT(operator),         TEXT, NULL},
    {"--operator-country", "INFORMATION", "operator_country",   AT(operator_country), TEXT, NULL},
    {"--website",          "INFORMATION", "website",            AT(website),          URI, NULL},
    {"--hosting",          "INFORMATION", "hosting",            AT(hosting),          TEXT, NULL},
    {"--hosting-country",  "INFORMATION", "hosting_country",    AT(hosting_country),  TEXT, NULL},
    {"--hosting-type",     "INFORMATION", "hosting_type",       AT(hosting_type),     TEXT, NULL},
    {"--database",         "STORE_LOG",   "db_connection",      AT(database),         TEXT, NULL},
    {"--schema",           "STORE_LOG",   "db_schema",          AT(schema),           TEXT, NULL},
    {"--pool-size",        "STORE_LOG",   "db_pool_size",       AT(pool_size),        TEXT, NULL},
    {"--control-port",     "TRANSPORT",   "control_port",       AT(control_port),     TEXT, "5224"},
    {"--own-domains",      "PROXY",       "own_server_domains", AT(own_domains),      TEXT, NULL},
    {"--socks-proxy",      "PROXY",       "socks_proxy",        AT(socks_proxy),      TEXT,
        "localhost:9050"},
    {"--dashboard",        "WEB",         "dashboard",          AT(dashboard),        TEXT,
        "127.0.0.1:8001"},
    {"--web-path",         "WEB",         "static_path",        AT(web_path),         TEXT, NULL},
};

/* Pairs that make no sense without the second. */
static const struct {
    const char *option, *needed;
    size_t offset, needed_offset;
} NEEDS[] = {
    {"--operator-country", "--operator", AT(operator_country), AT(operator)},
    {"--hosting-country",  "--hosting",  AT(hosting_country),  AT(hosting)},
};
// clang-format on

static const char *given(const struct init_args *a, size_t offset) {
    return *(const char *const *)(const void *)((const char *)a + offset);
}

/* The value of an option, what it implies included; NULL: not given. */
static const char *value_of(const struct init_args *a, const struct setting *s) {
    const char *value = given(a, s->offset);
    if (value == NULL || *value != '\0' || s->implied == NULL) return value;
    return *s->implied != '\0' ? s->implied : NULL;
}

/* ---- checks ---- */

static enum err check_setting(const struct setting *s, const char *value, struct problem *p) {
    if (!KINDS[s->kind].is_valid(value)) {
        return problem_set(p, E_CONFIG, "must be %s", KINDS[s->kind].allowed);
    }
    char allowed[ALLOWED_MAX];
    const enum err e =
        conf_check_value(&(struct conf_value){s->section, s->key, value}, allowed, sizeof allowed);
    return e == OK ? OK : problem_set(p, e, "must be %s", allowed);
}

static const struct setting *find(const char *option) {
    size_t i = 0;
    while (strcmp(SETTINGS[i].option, option) != 0) {
        i++;
        assert(i < ARRAY_LEN(SETTINGS));
    }
    return &SETTINGS[i];
}

enum err init_check_source_code(const char *uri, struct problem *ret_problem) {
    return check_setting(find("--source-code"), uri, ret_problem);
}

enum err init_check_web_path(const char *path, struct problem *ret_problem) {
    return check_setting(find("--web-path"), path, ret_problem);
}

enum err init_check_password(const char *password, struct problem *ret_problem) {
    if (smp_is_password(bytes_str(password))) return OK;
    return problem_set(ret_problem, E_CONFIG,
                       "must be 1 to %d printable ASCII characters other than space, @, : and /",
                       CONF_PASSWORD_MAX - 1);
}

static enum err check_fqdn(const char *fqdn, struct problem *p) {
    const size_t first = strcspn(fqdn, ",");
    char hosts[CONF_TEXT_MAX];
    if (conf_write_hosts(fqdn, hosts, sizeof hosts) == OK && first <= CERT_HOST_MAX) return OK;
    return problem_set(p, E_CONFIG,
                       "must be a host name of at most %d characters, or several separated by "
                       "commas",
                       CERT_HOST_MAX);
}

enum err init_check_host(const char *host, struct problem *ret_problem) {
    return addr_is_ip(host) ? OK : check_fqdn(host, ret_problem);
}

/* "--option must be ..., not "value"" from "must be ...". */
static enum err blame(enum err e, const char *option, const char *value, struct problem *p) {
    if (e == OK) return OK;
    const struct problem what = *p;
    const char *quote = value != NULL ? "\"" : "";
    return problem_set(p, e, "%s %.400s%s%s%.100s%s", option, what.text,
                       value != NULL ? ", not " : "", quote, value != NULL ? value : "", quote);
}

static enum err check_host(const struct init_args *a, struct problem *p) {
    if (a->ip != NULL && !addr_is_ip(a->ip)) {
        return problem_set(p, E_CONFIG,
                           "--ip must be an IPv4 or IPv6 address, not \"%.100s\"; for a name use "
                           "--fqdn",
                           a->ip);
    }
    return a->fqdn != NULL ? blame(check_fqdn(a->fqdn, p), "--fqdn", a->fqdn, p) : OK;
}

static enum err check_exclusive(const struct init_args *a, struct problem *p) {
    if (a->store_log && a->disable_store_log) {
        return problem_set(p, E_CONFIG,
                           "--store-log and --disable-store-log exclude each other: leave one out");
    }
    if (a->no_password && a->password != NULL) {
        return problem_set(p, E_CONFIG,
                           "--password and --no-password exclude each other: leave one out");
    }
    if (a->keep_identity && a->sign_algorithm != NULL) {
        return problem_set(
            p, E_CONFIG, "--keep-identity and --sign-algorithm exclude each other: leave one out");
    }
    if (a->web_path != NULL && a->disable_web) {
        return problem_set(p, E_CONFIG,
                           "--web-path and --disable-web exclude each other: leave one out");
    }
    return OK;
}

static enum err check_needs(const struct init_args *a, struct problem *p) {
    const bool is_known = a->source_code != NULL && *a->source_code != '\0';
    for (size_t i = 0; i < ARRAY_LEN(SETTINGS); i++) {
        const struct setting *s = &SETTINGS[i];
        const bool is_information = strcmp(s->section, "INFORMATION") == 0;
        if (!is_information || value_of(a, s) == NULL || is_known) continue;
        return problem_set(p, E_CONFIG,
                           "%s is information about the server, which needs --source-code=URI: add "
                           "it",
                           s->option);
    }
    for (size_t i = 0; i < ARRAY_LEN(NEEDS); i++) {
        if (given(a, NEEDS[i].offset) == NULL || given(a, NEEDS[i].needed_offset) != NULL) continue;
        return problem_set(p, E_CONFIG, "%s needs %s: add it", NEEDS[i].option, NEEDS[i].needed);
    }
    return OK;
}

static enum err parse_algorithm(const struct init_args *a, enum cert_algorithm *ret,
                                struct problem *p) {
    const char *name = a->sign_algorithm != NULL ? a->sign_algorithm : "ED25519";
    return identity_parse_algorithm(name, ret, p);
}

enum err init_args_check(const struct init_args *a, struct problem *ret_problem) {
    enum err e = check_exclusive(a, ret_problem);
    if (e == OK) e = check_needs(a, ret_problem);
    enum cert_algorithm ignored;
    if (e == OK) e = parse_algorithm(a, &ignored, ret_problem);
    if (e == OK) e = check_host(a, ret_problem);
    if (e == OK && a->password != NULL) {
        e = blame(init_check_password(a->password, ret_problem), "--password", NULL, ret_problem);
    }
    for (size_t i = 0; i < ARRAY_LEN(SETTINGS) && e == OK; i++) {
        const char *value = value_of(a, &SETTINGS[i]);
        if (value == NULL) continue;
        e = blame(check_setting(&SETTINGS[i], value, ret_problem), SETTINGS[i].option, value,
                  ret_problem);
    }
    return e;
}

/* ---- the plan ---- */

void init_plan_done(struct init_plan *p) {
    crypto_wipe(p->password, sizeof p->password);
    crypto_wipe(p->admin_password, sizeof p->admin_password);
    crypto_wipe(p->user_password, sizeof p->user_password);
    if (p->ini != NULL) crypto_wipe(p->ini, INI_MAX);
    free(p->ini);
    cert_bundle_done(&p->certs);
}

/* The certificate has the first of several names. */
static void plan_host(const struct init_args *a, struct init_plan *plan) {
    const char *ip = a->ip != NULL ? a->ip : INIT_DEFAULT_IP;
    const char *name = a->fqdn != NULL ? a->fqdn : ip;
    /* The default says nothing about the server: the operator has to fill in its names. */
    const bool is_unknown = a->fqdn == NULL && a->ip == NULL;
    const bool is_written =
        !is_unknown && conf_write_hosts(name, plan->host, sizeof plan->host) == OK;
    assert(is_unknown || is_written); /* check_host() */
    if (!is_written) (void)snprintf(plan->host, sizeof plan->host, "<hostnames>");
    (void)snprintf(plan->common_name, sizeof plan->common_name, "%.*s", (int)strcspn(name, ","),
                   name);
}

/* n random bytes as base64url. */
static void make_password(size_t n, char *ret) {
    uint8_t random[PASSWORD_BYTES];
    assert(n <= sizeof random);
    env_random(&ENV_SYSTEM, random, n);
    base64url_encode(bytes_of(random, n), ret);
    crypto_wipe(random, sizeof random);
}

static void plan_passwords(const struct init_args *a, struct init_plan *plan) {
    _Static_assert(BASE64_LEN(CONTROL_PASSWORD_BYTES) < INIT_PASSWORD_TEXT, "no room");
    if (a->password != NULL) {
        (void)snprintf(plan->password, sizeof plan->password, "%s", a->password);
    } else if (!a->no_password) {
        make_password(PASSWORD_BYTES, plan->password);
    }
    if (a->control_port != NULL) make_password(CONTROL_PASSWORD_BYTES, plan->admin_password);
    if (a->control_port != NULL || a->dashboard != NULL)
        make_password(CONTROL_PASSWORD_BYTES, plan->user_password);
}

/* ---- paths of the pages ---- */

/* "<directory>/<name>", from the working directory when it is relative. */
static enum err plan_path(const char *directory, const char *name, char ret[CONF_TEXT_MAX],
                          struct problem *p) {
    char cwd[PATH_MAX] = "";
    const bool is_relative = directory[0] != '/';
    if (is_relative && getcwd(cwd, sizeof cwd) == NULL) {
        return problem_sys(p, "cannot tell the working directory, from which \"%s\" counts",
                           directory);
    }
    const int n = snprintf(ret, CONF_TEXT_MAX, "%s%s%s%s%s", cwd, is_relative ? "/" : "", directory,
                           *name != '\0' ? "/" : "", name);
    if (n >= 0 && n < CONF_TEXT_MAX) return OK;
    return problem_set(p, E_LIMIT, "the path %s is too long: at most %d bytes are possible",
                       directory, CONF_TEXT_MAX - 1);
}

static enum err plan_web(const struct init_args *a, const struct paths *paths,
                         struct init_plan *plan, struct problem *p) {
    enum err e = a->web_path != NULL ? plan_path(a->web_path, "", plan->web_path, p)
                                     : plan_path(paths->state, "www", plan->web_path, p);
    if (e == OK) e = plan_path(paths->cfg, "web.crt", plan->web_cert, p);
    return e == OK ? plan_path(paths->cfg, "web.key", plan->web_key, p) : e;
}

/* ---- the settings file ---- */

enum { VALUES_MAX = 32 };

struct values {
    struct conf_value v[VALUES_MAX];
    size_t n;
};

static void add(struct values *values, const char *section, const char *key, const char *value) {
    assert(values->n < VALUES_MAX);
    values->v[values->n++] = (struct conf_value){section, key, value};
}

static void add_options(const struct init_args *a, struct init_plan *plan, struct values *values) {
    _Static_assert(ARRAY_LEN(SETTINGS) < INIT_UNUSED_MAX, "no room for all, and NULL");
    size_t n_unused = 0;
    for (size_t i = 0; i < ARRAY_LEN(SETTINGS); i++) {
        const struct setting *s = &SETTINGS[i];
        const char *value = value_of(a, s);
        if (value == NULL) continue;
        if (!conf_is_used(s->section, s->key)) plan->unused[n_unused++] = s->option;
        if (s->offset != AT(web_path)) add(values, s->section, s->key, value);
    }
}

/* In force without certificate too, as the reference writes it: entry points edit these lines. */
static void add_web(const struct init_args *a, const struct init_plan *plan,
                    struct values *values) {
    add(values, "WEB", "static_path", plan->web_path);
    if (a->disable_web) return;
    add(values, "WEB", "https", "443");
    add(values, "WEB", "cert", plan->web_cert);
    add(values, "WEB", "key", plan->web_key);
}

static void add_passwords(const struct init_plan *plan, struct values *values) {
    const struct {
        const char *key, *value;
    } rows[] = {
        {"create_password", plan->password},
        {"control_port_admin_password", plan->admin_password},
        {"control_port_user_password", plan->user_password},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (*rows[i].value != '\0') add(values, "AUTH", rows[i].key, rows[i].value);
    }
}

static enum err plan_ini(const struct init_args *a, struct init_plan *plan, struct problem *p) {
    struct values values = {.n = 0};
    if (!a->disable_store_log) {
        add(&values, "STORE_LOG", "enable", "on");
        add(&values, "STORE_LOG", "store_messages", "journal");
    } else {
        add(&values, "STORE_LOG", "restore_messages", "off");
    }
    if (a->daily_stats) add(&values, "STORE_LOG", "log_stats", "on");
    add(&values, "INACTIVE_CLIENTS", "disconnect", "on");
    add(&values, "TRANSPORT", "host", plan->host);
    add_options(a, plan, &values);
    add_web(a, plan, &values);
    add_passwords(plan, &values);
    plan->ini = malloc(INI_MAX);
    if (plan->ini == NULL) return problem_set(p, E_NO_MEMORY, "out of memory");
    struct wr w = wr_init(plan->ini, INI_MAX);
    conf_print_template(values.v, values.n, &w);
    plan->ini_len = wr_bytes(&w).n;
    return wr_err(&w) == OK ? OK : problem_set(p, E_LIMIT, "the settings file would be too large");
}

static enum err plan_certs(struct init_plan *plan, struct problem *p) {
    const struct cert_request r = {plan->algorithm, plan->common_name, env_now_s(&ENV_SYSTEM)};
    const enum err e = cert_bundle_new(&r, &plan->certs);
    if (e == OK) return OK;
    plan->certs = (struct cert_bundle){0};
    return problem_set(p, e, "cannot make certificates for \"%s\": %s", plan->common_name,
                       err_meaning(e));
}

enum err init_plan_make(const struct init_args *a, const struct paths *paths, struct init_plan *ret,
                        struct problem *ret_problem) {
    enum err e = parse_algorithm(a, &ret->algorithm, ret_problem);
    if (e != OK) return e;
    ret->source_code = value_of(a, find("--source-code"));
    plan_host(a, ret);
    plan_passwords(a, ret);
    e = plan_web(a, paths, ret, ret_problem);
    if (e == OK) e = plan_ini(a, ret, ret_problem);
    ret->keeps_identity = a->keep_identity;
    return e == OK && !a->keep_identity ? plan_certs(ret, ret_problem) : e;
}
