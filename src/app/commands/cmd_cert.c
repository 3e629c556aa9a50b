/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_cert.c -- `smp-server cert`: a new online certificate and key, signed by ca.key. The identity
 * stays, and with it the address of the server.
 *
 * Needs the configuration directory only, so that it can be run on a copy of it where the CA key is
 * kept. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands/cli.h"
#include "app/settings/conf.h"
#include "app/files/file_problem.h"
#include "app/files/files.h"
#include "app/server/identity.h"
#include "base/env.h"
#include "crypto/base64.h"
#include "crypto/cert.h"

enum { PEM_MAX = 64 * 1024 }; /* bytes of one of the files */

struct cert_args {
    const char *sign_algorithm, *cn;
};

// clang-format off
static const struct cli_option OPTIONS[] = {
    {"sign-algorithm", 'a', "ALG", offsetof(struct cert_args, sign_algorithm),
        "New signature algorithm: ED25519 or ED448 (default: as\nbefore)"},
    {"cn", 0, "FQDN", offsetof(struct cert_args, cn),
        "New host name (default: as before)"},
};
// clang-format on

/* What the certificate is made of. */
struct job {
    const struct paths *paths;
    char *ca_key, *ca_crt; /* owned; the key is secret */
    enum cert_algorithm algorithm;
    char host[CERT_HOST_MAX + 1];
    struct cert_bundle made; /* owned */
};

static void job_done(struct job *j) {
    if (j->ca_key != NULL) crypto_wipe(j->ca_key, strlen(j->ca_key));
    free(j->ca_key);
    free(j->ca_crt);
    cert_bundle_done(&j->made);
}

static enum err check_args(const struct cert_args *a, struct problem *p) {
    enum cert_algorithm ignored;
    if (a->sign_algorithm != NULL) {
        const enum err e = identity_parse_algorithm(a->sign_algorithm, &ignored, p);
        if (e != OK) return e;
    }
    if (a->cn == NULL) return OK;
    if (conf_is_host(a->cn) && strlen(a->cn) <= CERT_HOST_MAX && strchr(a->cn, ',') == NULL) {
        return OK;
    }
    return problem_set(p, E_CONFIG,
                       "--cn must be one host name or address of at most %d characters, not "
                       "\"%.100s\"",
                       CERT_HOST_MAX, a->cn);
}

static enum err read_pem(const char *path, char **ret, struct problem *p) {
    size_t n = 0;
    const enum err e = file_read(path, PEM_MAX, ret, &n);
    if (e == E_SYS) return file_problem(p, "cannot read", path, errno);
    if (e == E_LIMIT) return problem_set(p, e, "%s is too large for a key or certificate", path);
    return e == OK ? OK : problem_set(p, e, "cannot read %s: %s", path, err_meaning(e));
}

static enum err read_ca(struct job *j, struct problem *p) {
    const struct paths *paths = j->paths;
    if (!file_exists(paths->ca_crt) && errno == ENOENT) {
        return problem_set(p, E_NOT_FOUND,
                           "there is no server in %s (%s does not exist): run `smp-server init`, "
                           "or "
                           "set SMP_SERVER_CFG_PATH",
                           paths->cfg, paths->ca_crt);
    }
    if (!file_exists(paths->ca_key) && errno == ENOENT) {
        return problem_set(p, E_NOT_FOUND,
                           "%s does not exist: only it can sign a new certificate; if you keep it "
                           "elsewhere, put it back for this command",
                           paths->ca_key);
    }
    const enum err e = read_pem(paths->ca_crt, &j->ca_crt, p);
    return e == OK ? read_pem(paths->ca_key, &j->ca_key, p) : e;
}

/* From the options, and what they do not say from the old certificate. */
static enum err plan(const struct cert_args *a, struct job *j, struct problem *p) {
    if (a->sign_algorithm == NULL || a->cn == NULL) {
        CLEANUP(free_textp) char *old = NULL;
        if (!file_exists(j->paths->server_crt) && errno == ENOENT) {
            return problem_set(p, E_NOT_FOUND,
                               "%s does not exist, so its successor has to be told all: pass both "
                               "-a (ED25519 or ED448) and --cn",
                               j->paths->server_crt);
        }
        enum err e = read_pem(j->paths->server_crt, &old, p);
        if (e != OK) return e;
        e = cert_read_request(old, &j->algorithm, j->host);
        if (e != OK) {
            return problem_set(p, e,
                               "%s does not say how its successor should be: pass both -a and --cn",
                               j->paths->server_crt);
        }
    }
    if (a->cn != NULL) (void)snprintf(j->host, sizeof j->host, "%s", a->cn);
    return a->sign_algorithm != NULL ? identity_parse_algorithm(a->sign_algorithm, &j->algorithm, p)
                                     : OK;
}

static enum err make(struct job *j, struct problem *p) {
    const struct cert_request r = {j->algorithm, j->host, env_now_s(&ENV_SYSTEM)};
    const enum err e = cert_bundle_renew(&r, j->ca_key, j->ca_crt, &j->made);
    if (e == OK) return OK;
    j->made = (struct cert_bundle){0};
    if (e == E_KEY) {
        return problem_set(p, e,
                           "%s is not the private key of %s: bring back the one that belongs to it",
                           j->paths->ca_key, j->paths->ca_crt);
    }
    if (e == E_CERT) {
        return problem_set(p, e,
                           "%s has no readable certificate of a server's CA: restore it from your "
                           "backup",
                           j->paths->ca_crt);
    }
    return problem_set(p, e, "cannot make a certificate for \"%s\": %s", j->host, err_meaning(e));
}

/* The address has the fingerprint, so it must be the one that operators know. */
static enum err check_identity(const struct job *j, struct problem *p) {
    if (!file_exists(j->paths->fingerprint) && errno == ENOENT) return OK; /* it is made anew */
    return identity_check_fingerprint(j->paths, j->made.fingerprint, p);
}

static enum err write_files(const struct job *j, struct problem *p) {
    char fingerprint[BASE64_LEN(SHA256_LEN) + 2];
    base64url_encode(bytes_of(j->made.fingerprint, SHA256_LEN), fingerprint);
    fingerprint[sizeof fingerprint - 2] = '\n';
    fingerprint[sizeof fingerprint - 1] = '\0';
    const struct {
        const char *path, *content;
        mode_t mode; /* of a file that was missing */
    } rows[] = {
        {j->paths->server_key, j->made.server_key, 0600},
        {j->paths->server_crt, j->made.server_crt, 0644},
        {j->paths->fingerprint, fingerprint, 0644},
    };
    CLEANUP(file_set_done) struct file_set set;
    file_set_init(&set);
    enum err e = OK;
    for (size_t i = 0; i < ARRAY_LEN(rows) && e == OK; i++) {
        e = file_set_replace(&set, rows[i].path, bytes_str(rows[i].content), rows[i].mode, p);
    }
    return e == OK ? file_set_commit(&set, p) : e;
}

static enum err run_cert(const void *args, const struct paths *paths, struct problem *ret_problem) {
    CLEANUP(job_done) struct job j = {.paths = paths};
    enum err e = check_args(args, ret_problem);
    if (e == OK) e = read_ca(&j, ret_problem);
    if (e == OK) e = plan(args, &j, ret_problem);
    if (e == OK) e = make(&j, ret_problem);
    if (e == OK) e = check_identity(&j, ret_problem);
    if (e == OK) e = write_files(&j, ret_problem);
    if (e != OK) return e;
    printf("Generated new server credentials\n");
    identity_print_advice(paths, "\n");
    printf(
        "A server that runs takes them on SIGHUP (`systemctl reload`) or when it is restarted. Its "
        "address stays the same.\n");
    return OK;
}

const struct command CMD_CERT = {
    .name = "cert",
    .summary = "Make a new online certificate, signed by ca.key; the address stays",
    .options = OPTIONS,
    .n_options = ARRAY_LEN(OPTIONS),
    .args_len = sizeof(struct cert_args),
    .run = run_cert,
};
