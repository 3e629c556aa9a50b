/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_init.c -- `smp-server init`: directories, identity, certificates, settings, or nothing. */
#include <stdio.h>
#include <string.h>

#include "app/commands/address.h"
#include "app/commands/cli.h"
#include "app/files/files.h"
#include "app/server/identity.h"
#include "app/commands/init_ask.h"
#include "app/commands/init_beside.h"
#include "app/commands/init_plan.h"
#include "crypto/base64.h"
#include "crypto/cert.h"

#define AT(field) offsetof(struct init_args, field)
// clang-format off
static const struct cli_option OPTIONS[] = {
    {"store-log", 'l', NULL, AT(store_log),
        "Keep queues and messages on disk (the default)"},
    {"disable-store-log", 0, NULL, AT(disable_store_log),
        "Keep queues and messages in memory only: all are lost\nwhen the server stops"},
    {"daily-stats", 's', NULL, AT(daily_stats),
        "Log statistics once a day, as CSV"},
    {"sign-algorithm", 'a', "ALG", AT(sign_algorithm),
        "Signature algorithm of the certificates: ED25519 or\nED448 (default: ED25519)"},
    {"ip", 0, "IP", AT(ip),
        "Server IP address, used when there is no FQDN\n(default: 127.0.0.1)"},
    {"fqdn", 'n', "FQDN", AT(fqdn),
        "Server host name, for its address and certificate"},
    {"no-password", 0, NULL, AT(no_password),
        "Let everybody create queues"},
    {"password", 0, "PASSWORD", AT(password),
        "Password to create queues (default: a random one)"},
    {"control-port", 0, "[PORT]", AT(control_port),
        "Enable the control port (5224), with random passwords"},
    {"dashboard", 0, "[ADDRESS:PORT]", AT(dashboard),
        "Enable the page with the server's figures, on this\nmachine alone (127.0.0.1:8001), with a random password"},
    {"socks-proxy", 0, "[HOST:PORT]", AT(socks_proxy),
        "SOCKS proxy to forward messages to onion servers\n(localhost:9050)"},
    {"own-domains", 0, "DOMAINS", AT(own_domains),
        "Domains of the servers of the same operator, separated\nby commas"},
    {"source-code", 0, "[URI]", AT(source_code),
        "Where the users find the source code of the server"},
    {"operator", 0, "NAME", AT(operator),
        "Operator of the server: organization or person"},
    {"operator-country", 0, "COUNTRY", AT(operator_country),
        "Country of the operator: ISO 3166 code, two letters"},
    {"website", 0, "URI", AT(website),
        "Website of the operator"},
    {"operator-website", 0, "URI", AT(website),
        "The same as --website"},
    {"hosting", 0, "NAME", AT(hosting),
        "Hosting provider"},
    {"hosting-country", 0, "COUNTRY", AT(hosting_country),
        "Country of the hosting provider"},
    {"hosting-type", 0, "TYPE", AT(hosting_type),
        "Hosting type: virtual, dedicated, colocation or owned"},
    {"server-country", 0, "COUNTRY", AT(server_country),
        "Country where the server is"},
    {"web-path", 0, "PATH", AT(web_path),
        "Directory for the pages of the server (default: www in\nthe state directory)"},
    {"disable-web", 0, NULL, AT(disable_web),
        "Do not serve pages"},
    {"database", 'd', "DB_CONN", AT(database),
        "Database of `smp-server database`"},
    {"schema", 0, "DB_SCHEMA", AT(schema),
        "Schema in it"},
    {"pool-size", 0, "POOL_SIZE", AT(pool_size),
        "Of the reference; not used by this version"},
    {"keep-identity", 0, NULL, AT(keep_identity),
        "Keep keys and certificates that are there and write the\nsettings alone"},
    {"yes", 'y', NULL, AT(yes),
        "Ask nothing, take all from the options"},
};
// clang-format on

static enum err add_identity(struct file_set *set, const struct cert_bundle *certs,
                             const struct paths *paths, struct problem *p) {
    char fingerprint[BASE64_LEN(SHA256_LEN) + 2];
    base64url_encode(bytes_of(certs->fingerprint, SHA256_LEN), fingerprint);
    fingerprint[sizeof fingerprint - 2] = '\n';
    fingerprint[sizeof fingerprint - 1] = '\0';
    const struct {
        const char *path, *content;
        mode_t mode;
    } rows[] = {
        {paths->ca_key, certs->ca_key, 0600},         {paths->ca_crt, certs->ca_crt, 0644},
        {paths->server_key, certs->server_key, 0600}, {paths->server_crt, certs->server_crt, 0644},
        {paths->fingerprint, fingerprint, 0644},
    };
    enum err e = OK;
    for (size_t i = 0; i < ARRAY_LEN(rows) && e == OK; i++)
        e = file_set_add(set, rows[i].path, bytes_str(rows[i].content), rows[i].mode, p);
    return e;
}

/* The ini file is last: with it the server counts as initialized. */
static enum err write_files(const struct init_plan *plan, const struct paths *paths,
                            struct problem *p) {
    CLEANUP(file_set_done) struct file_set set;
    file_set_init(&set);
    enum err e = file_set_make_dir(&set, paths->cfg, 0700, p);
    if (e == OK) e = file_set_make_dir(&set, paths->state, 0750, p);
    if (e == OK && !plan->keeps_identity) e = add_identity(&set, &plan->certs, paths, p);
    if (e == OK) e = file_set_add(&set, paths->ini, bytes_of(plan->ini, plan->ini_len), 0600, p);
    return e == OK ? file_set_commit(&set, p) : e;
}

static void print_unused(const struct init_plan *plan) {
    if (plan->unused[0] == NULL) return;
    fprintf(stderr, "Note: this version does not use %s", plan->unused[0]);
    for (size_t i = 1; plan->unused[i] != NULL; i++) fprintf(stderr, ", %s", plan->unused[i]);
    fprintf(stderr, ".\n");
}

static void print_result(const struct init_plan *plan, const struct paths *paths) {
    printf("Server initialized, please provide additional server information in %s.\n"
           "Run `smp-server start` to start server.\n",
           paths->ini);
    if (file_exists(paths->ca_key)) identity_print_advice(paths, " ");
    address_print(&(struct address){bytes_of(plan->certs.fingerprint, SHA256_LEN), plan->password,
                                    plan->host, SMP_DEFAULT_PORT});
    if (plan->source_code != NULL) {
        printf("Server source code: %s\n", plan->source_code);
    } else {
        printf("Warning: server source code is not specified.\n"
               "Add 'source_code' property to [INFORMATION] section of INI file.\n"
               "The licence (AGPL-3.0): who runs a changed server offers its users that source.\n");
    }
    print_unused(plan);
}

/* The fingerprint of the identity that is there. */
static enum err keep_identity(const struct paths *paths, struct init_plan *plan,
                              struct problem *p) {
    struct identity *id = NULL;
    const enum err e = identity_load(paths, &id, p);
    if (e != OK) return e;
    memcpy(plan->certs.fingerprint, identity_fingerprint(id).p, sizeof plan->certs.fingerprint);
    identity_free(id);
    return OK;
}

static enum err init(const struct init_args *a, const struct paths *paths, struct problem *p) {
    CLEANUP(init_plan_done) struct init_plan plan = {0};
    enum err e = init_plan_make(a, paths, &plan, p);
    if (e == OK && a->keep_identity) e = keep_identity(paths, &plan, p);
    if (e == OK) e = write_files(&plan, paths, p);
    if (e == OK) print_result(&plan, paths);
    return e;
}

static enum err run_init(const void *args, const struct paths *paths, struct problem *ret_problem) {
    if (file_exists(paths->ini)) {
        return problem_set(ret_problem, E_EXISTS,
                           "server is already initialized (%s exists): run "
                           "`smp-server start`",
                           paths->ini);
    }
    struct init_args a;
    memcpy(&a, args, sizeof a);
    enum err e = OK;
    if (!a.keep_identity) e = init_beside_identity(paths, ret_problem);
    if (e == OK && !a.keep_identity) e = init_beside_store(paths, ret_problem);
    if (e != OK) return e;
    CLEANUP(init_answers_done) struct init_answers answers = {0};
    e = init_args_check(&a, ret_problem);
    if (e == OK && !a.yes) {
        printf("Use `smp-server init -h` for available options.\n");
        e = init_ask(paths, &a, &answers, ret_problem);
    }
    return e == OK ? init(&a, paths, ret_problem) : e;
}

const struct command CMD_INIT = {
    .name = "init",
    .summary = "Make a new server: its identity, certificates and settings",
    .options = OPTIONS,
    .n_options = ARRAY_LEN(OPTIONS),
    .args_len = sizeof(struct init_args),
    .run = run_init,
};
