/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/identity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/files/file_problem.h"
#include "app/files/files.h"
#include "base/env.h"
#include "crypto/base64.h"
#include "net/tls.h"

enum { FINGERPRINT_FILE_MAX = 256 }; /* bytes */

static void identity_freep(struct identity **id) {
    identity_free(*id);
}

void identity_free(struct identity *id) {
    if (id == NULL) return;
    tls_ctx_free(id->tls);
    free(id);
}

/* Clients know the server by ca.crt, operators by the file: if the two disagree one of them is not
 * this server's. */
enum err identity_check_fingerprint(const struct paths *paths,
                                    const uint8_t fingerprint[SHA256_LEN],
                                    struct problem *ret_problem) {
    CLEANUP(free_textp) char *text = NULL;
    size_t n = 0;
    const enum err e = file_read(paths->fingerprint, FINGERPRINT_FILE_MAX, &text, &n);
    if (e == E_SYS) return file_problem(ret_problem, "cannot read", paths->fingerprint, errno);
    if (e == E_NO_MEMORY) return problem_set(ret_problem, e, "out of memory");
    uint8_t saved[SHA256_LEN];
    size_t n_saved = 0;
    const size_t line = text != NULL ? strcspn(text, " \t\r\n") : 0;
    if (e == OK && base64url_decode(bytes_of(text, line), saved, sizeof saved, &n_saved) == OK &&
        bytes_equal(bytes_of(saved, n_saved), bytes_of(fingerprint, SHA256_LEN))) {
        return OK;
    }
    char expected[BASE64_LEN(SHA256_LEN) + 1];
    base64url_encode(bytes_of(fingerprint, SHA256_LEN), expected);
    return problem_set(ret_problem, E_IDENTITY,
                       "%s is not the fingerprint of %s (%s): one of them is another server's, "
                       "bring back the right one",
                       paths->fingerprint, paths->ca_crt, expected);
}

enum err identity_parse_algorithm(const char *name, enum cert_algorithm *ret,
                                  struct problem *ret_problem) {
    const bool is_448 = strcmp(name, "ED448") == 0;
    if (!is_448 && strcmp(name, "ED25519") != 0) {
        return problem_set(ret_problem, E_CONFIG,
                           "--sign-algorithm must be ED25519 or ED448, not \"%.100s\"", name);
    }
    *ret = is_448 ? CERT_ED448 : CERT_ED25519;
    return OK;
}

void identity_print_advice(const struct paths *paths, const char *joint) {
    printf("----------\n"
           "You should store CA private key securely and delete it from the server.\n"
           "If server TLS credential is compromised this key can be used to sign a new one, "
           "keeping the same server identity and established connections.\n"
           "CA private key location:%s%s\n"
           "----------\n",
           joint, paths->ca_key);
}

/* What can be made anew: server.key and server.crt, by whoever has ca.key. */
static enum err explain_unread(const struct paths *paths, const char *path, int number,
                               struct problem *p) {
    static const char RENEW[] = "make a new one with `smp-server cert%s` (it needs ca.key; the "
                                "address stays), or restore it from your backup";
    const bool is_key = strcmp(path, paths->server_key) == 0;
    if (number != ENOENT || (!is_key && strcmp(path, paths->server_crt) != 0))
        return file_problem(p, "cannot read", path, number);
    char remedy[sizeof RENEW + 64];
    (void)snprintf(remedy, sizeof remedy, RENEW,
                   is_key && file_exists(paths->server_crt) ? "" : " -a ED448 --cn HOST");
    return problem_set(p, E_SYS, "cannot read %s: %s: %s", path, strerror(number), remedy);
}

enum err identity_load(const struct paths *paths, struct identity **ret,
                       struct problem *ret_problem) {
    const struct cert_files files = {paths->ca_crt, paths->server_crt, paths->server_key};
    CLEANUP(identity_freep) struct identity *id = calloc(1, sizeof *id);
    if (id == NULL) return problem_set(ret_problem, E_NO_MEMORY, "out of memory");
    struct server_cert *cert = NULL;
    struct cert_problem why;
    enum err e = server_cert_load(&files, env_now_s(&ENV_SYSTEM), &cert, &why);
    if (e == E_SYS && why.path != NULL)
        return explain_unread(paths, why.path, why.number, ret_problem);
    if (e != OK) return problem_set(ret_problem, e, "%s", why.text);
    e = identity_check_fingerprint(paths, server_cert_fingerprint(cert), ret_problem);
    if (e != OK) {
        server_cert_free(cert);
        return e;
    }
    id->cert = cert;
    e = tls_server_ctx_new(cert, &ENV_SYSTEM, &id->tls);
    if (e != OK) {
        return problem_set(ret_problem, e, "TLS refuses %s: %s", paths->server_crt, err_meaning(e));
    }
    *ret = STEAL(id);
    return OK;
}

struct bytes identity_fingerprint(const struct identity *id) {
    return bytes_of(server_cert_fingerprint(id->cert), SHA256_LEN);
}

bool identity_is_same(const struct identity *a, const struct identity *b) {
    return bytes_equal(server_cert_chain(a->cert), server_cert_chain(b->cert));
}
