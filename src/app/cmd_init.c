/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_init.c -- `smp-server init`: directories, identity, certificates, settings, or nothing. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/address.h"
#include "app/cli.h"
#include "app/conf.h"
#include "app/files.h"
#include "base/env.h"
#include "crypto/base64.h"
#include "crypto/cert.h"

enum {
    PASSWORD_BYTES = 32,  /* random bytes of a password, as the reference */
    COMMON_NAME_MAX = 64, /* characters; X.520 ub-common-name */
    INI_MAX = 64 * 1024   /* bytes of the file that is written */
};

struct init_args {
    bool yes, no_password, store_log, disable_store_log;
    const char *ip, *fqdn, *password, *sign_algorithm;
};

// clang-format off
static const struct cli_option OPTIONS[] = {
    {"store-log", 'l', NULL, offsetof(struct init_args, store_log),
        "Keep queues and messages on disk (the default)"},
    {"disable-store-log", 0, NULL, offsetof(struct init_args, disable_store_log),
        "Keep queues and messages in memory only: all are lost\nwhen the server stops"},
    {"sign-algorithm", 'a', "ALG", offsetof(struct init_args, sign_algorithm),
        "Signature algorithm of the certificates: ED25519 or\nED448 (default: ED25519)"},
    {"ip", 0, "IP", offsetof(struct init_args, ip),
        "Server IP address, used when there is no FQDN\n(default: 127.0.0.1)"},
    {"fqdn", 'n', "FQDN", offsetof(struct init_args, fqdn),
        "Server host name, for its address and certificate"},
    {"no-password", 0, NULL, offsetof(struct init_args, no_password),
        "Let everybody create queues"},
    {"password", 0, "PASSWORD", offsetof(struct init_args, password),
        "Password to create queues (default: a random one)"},
    {"yes", 'y', NULL, offsetof(struct init_args, yes),
        "Ask nothing, take all from the options"},
};
// clang-format on

/* What is made from the options before anything is written. */
struct plan {
    enum cert_algorithm algorithm;
    char host[CONF_TEXT_MAX]; /* as in the address and in the ini file */
    char common_name[COMMON_NAME_MAX + 1];
    char password[CONF_PASSWORD_MAX]; /* secret; "": none */
    char *ini;                        /* owned, INI_MAX bytes; secret */
    size_t ini_len;
    struct cert_bundle certs; /* owned */
};

static void plan_done(struct plan *p) {
    crypto_wipe(p->password, sizeof p->password);
    if (p->ini != NULL) crypto_wipe(p->ini, INI_MAX);
    free(p->ini);
    cert_bundle_done(&p->certs);
}

static enum err check_args(const struct init_args *a, struct problem *p) {
    if (!a->yes) {
        return problem_set(p, E_CONFIG,
                           "interactive init isn't available yet: pass -y with options, "
                           "see `smp-server init -h`");
    }
    if (a->store_log && a->disable_store_log) {
        return problem_set(p, E_CONFIG,
                           "--store-log and --disable-store-log exclude each other: leave one out");
    }
    if (a->no_password && a->password != NULL) {
        return problem_set(p, E_CONFIG,
                           "--password and --no-password exclude each other: leave one out");
    }
    if (a->password != NULL &&
        !(conf_is_password(a->password) && strlen(a->password) < CONF_PASSWORD_MAX)) {
        return problem_set(p, E_CONFIG,
                           "--password must be 1 to %d printable ASCII characters other than "
                           "space, @, : and /",
                           CONF_PASSWORD_MAX - 1);
    }
    return OK;
}

static enum err plan_algorithm(const struct init_args *a, struct plan *plan, struct problem *p) {
    const char *name = a->sign_algorithm != NULL ? a->sign_algorithm : "ED25519";
    const bool is_448 = strcmp(name, "ED448") == 0;
    if (!is_448 && strcmp(name, "ED25519") != 0) {
        return problem_set(p, E_CONFIG, "--sign-algorithm must be ED25519 or ED448, not \"%s\"",
                           name);
    }
    plan->algorithm = is_448 ? CERT_ED448 : CERT_ED25519;
    return OK;
}

/* Whether ip is numeric; IPv6 addresses get brackets in the host. */
static enum err plan_ip(const char *ip, struct plan *plan, struct problem *p) {
    uint8_t address[sizeof(struct in6_addr)];
    const bool is_v6 = inet_pton(AF_INET6, ip, address) == 1;
    if (!is_v6 && inet_pton(AF_INET, ip, address) != 1) {
        return problem_set(p, E_CONFIG,
                           "--ip must be an IPv4 or IPv6 address, not \"%s\"; for a name use "
                           "--fqdn",
                           ip);
    }
    (void)snprintf(plan->host, sizeof plan->host, is_v6 ? "[%s]" : "%s", ip);
    (void)snprintf(plan->common_name, sizeof plan->common_name, "%s", ip);
    return OK;
}

/* The certificate has the first of several names. */
static enum err plan_fqdn(const char *fqdn, struct plan *plan, struct problem *p) {
    const size_t first = strcspn(fqdn, ",");
    if (!conf_is_host(fqdn) || strlen(fqdn) >= sizeof plan->host || first > COMMON_NAME_MAX) {
        return problem_set(p, E_CONFIG,
                           "--fqdn must be a host name of at most %d characters, or several "
                           "separated by commas",
                           COMMON_NAME_MAX);
    }
    (void)snprintf(plan->host, sizeof plan->host, "%s", fqdn);
    (void)snprintf(plan->common_name, sizeof plan->common_name, "%.*s", (int)first, fqdn);
    return OK;
}

static enum err plan_host(const struct init_args *a, struct plan *plan, struct problem *p) {
    if (a->fqdn != NULL) return plan_fqdn(a->fqdn, plan, p);
    const enum err e = plan_ip(a->ip != NULL ? a->ip : "127.0.0.1", plan, p);
    /* The default says nothing about the server: the operator has to fill in its names. */
    if (a->ip == NULL) (void)snprintf(plan->host, sizeof plan->host, "<hostnames>");
    return e;
}

static void plan_password(const struct init_args *a, struct plan *plan) {
    if (a->no_password) return;
    if (a->password != NULL) {
        (void)snprintf(plan->password, sizeof plan->password, "%s", a->password);
        return;
    }
    uint8_t random[PASSWORD_BYTES];
    env_random(&ENV_SYSTEM, random, sizeof random);
    base64url_encode(bytes_of(random, sizeof random), plan->password);
    crypto_wipe(random, sizeof random);
}

static enum err plan_ini(const struct init_args *a, struct plan *plan, struct problem *p) {
    plan->ini = malloc(INI_MAX);
    if (plan->ini == NULL) return problem_set(p, E_NO_MEMORY, "out of memory");
    const struct {
        struct conf_value value;
        bool is_set;
    } rows[] = {
        {{"STORE_LOG", "enable", "on"}, !a->disable_store_log},
        {{"STORE_LOG", "store_messages", "journal"}, !a->disable_store_log},
        {{"INACTIVE_CLIENTS", "disconnect", "on"}, true},
        {{"TRANSPORT", "host", plan->host}, true},
        {{"AUTH", "create_password", plan->password}, plan->password[0] != '\0'},
    };
    struct conf_value values[ARRAY_LEN(rows)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].is_set) values[n++] = rows[i].value;
    }
    struct wr w = wr_init(plan->ini, INI_MAX);
    conf_print_template(values, n, &w);
    plan->ini_len = wr_bytes(&w).n;
    return wr_err(&w) == OK ? OK : problem_set(p, E_LIMIT, "the settings file would be too large");
}

static enum err plan_certs(struct plan *plan, struct problem *p) {
    const struct cert_request r = {plan->algorithm, plan->common_name, env_now_s(&ENV_SYSTEM)};
    const enum err e = cert_bundle_new(&r, &plan->certs);
    if (e == OK) return OK;
    plan->certs = (struct cert_bundle){0};
    return problem_set(p, e, "cannot make certificates for \"%s\": %s", plan->common_name,
                       err_meaning(e));
}

static enum err make_plan(const struct init_args *a, struct plan *plan, struct problem *p) {
    enum err e = plan_algorithm(a, plan, p);
    if (e == OK) e = plan_host(a, plan, p);
    if (e != OK) return e;
    plan_password(a, plan);
    e = plan_ini(a, plan, p);
    if (e == OK) e = plan_certs(plan, p);
    return e;
}

static enum err write_files(const struct plan *plan, const struct paths *paths, struct problem *p) {
    char fingerprint[BASE64_LEN(SHA256_LEN) + 2];
    base64url_encode(bytes_of(plan->certs.fingerprint, SHA256_LEN), fingerprint);
    fingerprint[sizeof fingerprint - 2] = '\n';
    fingerprint[sizeof fingerprint - 1] = '\0';
    const struct {
        const char *path;
        struct bytes content;
        mode_t mode;
    } rows[] = {
        /* the ini file is last: with it the server counts as initialized */
        {paths->ca_key, bytes_str(plan->certs.ca_key), 0600},
        {paths->ca_crt, bytes_str(plan->certs.ca_crt), 0644},
        {paths->server_key, bytes_str(plan->certs.server_key), 0600},
        {paths->server_crt, bytes_str(plan->certs.server_crt), 0644},
        {paths->fingerprint, bytes_str(fingerprint), 0644},
        {paths->ini, bytes_of(plan->ini, plan->ini_len), 0600},
    };
    CLEANUP(file_set_done) struct file_set set;
    file_set_init(&set);
    enum err e = file_set_make_dir(&set, paths->cfg, 0700, p);
    if (e == OK) e = file_set_make_dir(&set, paths->state, 0750, p);
    for (size_t i = 0; i < ARRAY_LEN(rows) && e == OK; i++) {
        e = file_set_add(&set, rows[i].path, rows[i].content, rows[i].mode, p);
    }
    return e == OK ? file_set_commit(&set, p) : e;
}

/* Writes without being interrupted half way. */
static enum err write_undisturbed(const struct plan *plan, const struct paths *paths,
                                  struct problem *p) {
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    const enum err e = write_files(plan, paths, p);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return e;
}

static void print_result(const struct plan *plan, const struct paths *paths) {
    printf("Server initialized, you can modify configuration in %s.\n"
           "Run `smp-server start` to start server.\n"
           "----------\n"
           "You should store CA private key securely and delete it from the server.\n"
           "If server TLS credential is compromised this key can be used to sign a new one, "
           "keeping the "
           "same server identity and established connections.\n"
           "CA private key location: %s\n"
           "----------\n",
           paths->ini, paths->ca_key);
    address_print(&(struct address){bytes_of(plan->certs.fingerprint, SHA256_LEN), plan->password,
                                    plan->host, SMP_DEFAULT_PORT});
}

static enum err run_init(const void *args, const struct paths *paths, struct problem *ret_problem) {
    if (file_exists(paths->ini)) {
        return problem_set(ret_problem, E_EXISTS,
                           "server is already initialized (%s exists): run "
                           "`smp-server start`",
                           paths->ini);
    }
    enum err e = check_args(args, ret_problem);
    if (e != OK) return e;
    CLEANUP(plan_done) struct plan plan = {0};
    e = make_plan(args, &plan, ret_problem);
    if (e == OK) e = write_undisturbed(&plan, paths, ret_problem);
    if (e == OK) print_result(&plan, paths);
    return e;
}

const struct command CMD_INIT = {
    .name = "init",
    .summary = "Make a new server: its identity, certificates and settings",
    .options = OPTIONS,
    .n_options = ARRAY_LEN(OPTIONS),
    .args_len = sizeof(struct init_args),
    .run = run_init,
};
