/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_address.c -- `smp-server address`: what `start` prints for clients, without a start, and as a
 * QR code; where no terminal is, the address alone, for programs. Reads the settings and ca.crt, no
 * key. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/commands/address.h"
#include "app/commands/cli.h"
#include "app/settings/conf.h"
#include "app/files/file_problem.h"
#include "app/files/files.h"
#include "app/server/identity.h"
#include "app/server/ports.h"
#include "app/server/storage.h"
#include "app/terminal/qr.h"
#include "crypto/crypto.h"

enum { PEM_MAX = 64 * 1024 }; /* bytes of ca.crt */

struct address_args {
    bool qr, no_password;
};

// clang-format off
static const struct cli_option OPTIONS[] = {
    {"qr", 0, NULL, offsetof(struct address_args, qr),
        "Show the address as a QR code too"},
    {"no-password", 0, NULL, offsetof(struct address_args, no_password),
        "Leave out the password: for those who may not create\nqueues"},
};
// clang-format on

static enum err load_fingerprint(const struct paths *paths, uint8_t ret[SHA256_LEN],
                                 struct problem *p) {
    CLEANUP(free_textp) char *text = NULL;
    size_t n = 0;
    enum err e = file_read(paths->ca_crt, PEM_MAX, &text, &n);
    if (e == E_SYS) return file_problem(p, "cannot read", paths->ca_crt, errno);
    if (e == OK) e = cert_read_fingerprint(text, ret);
    if (e != OK) {
        return problem_set(p, e,
                           "%s: has no readable certificate (PEM): restore it from your backup",
                           paths->ca_crt);
    }
    return identity_check_fingerprint(paths, ret, p);
}

/* The placeholder that init writes when it was told no host. */
static bool has_host(const struct conf *c) {
    return strchr(c->host, '<') == NULL;
}

static enum err print_qr(const struct address *a, struct problem *p) {
    char text[ADDRESS_TEXT_MAX];
    address_write(a, text);
    const enum err e = qr_print(text, isatty(STDOUT_FILENO) != 0);
    crypto_wipe(text, sizeof text);
    return e == OK ? OK : problem_set(p, e, "cannot make a QR code: %s", err_meaning(e));
}

/* A running server's rights say which ports it does without; else the settings alone. */
static uint16_t port_of(const struct conf *c, const struct paths *paths) {
    struct storage storage;
    struct problem ignored;
    const bool on_disk = storage_init(&storage, c, paths, &ignored) == OK && storage.on_disk;
    const long pid = on_disk ? storage_locked_by(&storage) : 0;
    return pid != 0 ? ports_of_address(c, pid) : c->ports.port[0];
}

static enum err run_address(const void *args, const struct paths *paths,
                            struct problem *ret_problem) {
    const struct address_args *a = args;
    CLEANUP(conf_done) struct conf conf;
    conf_init(&conf);
    enum err e = conf_load(&conf, paths->ini, conf_log_warning, NULL, ret_problem);
    uint8_t fingerprint[SHA256_LEN];
    if (e == OK) e = load_fingerprint(paths, fingerprint, ret_problem);
    if (e != OK) return e;
    if (a->qr && !has_host(&conf)) {
        return problem_set(ret_problem, E_CONFIG,
                           "the address has no host yet: set [TRANSPORT] host in %s", paths->ini);
    }
    const struct address address = {bytes_of(fingerprint, sizeof fingerprint),
                                    a->no_password ? NULL : conf.rules.create_password, conf.host,
                                    port_of(&conf, paths)};
    const bool for_people = a->qr || isatty(STDOUT_FILENO) != 0;
    (for_people ? address_print : address_print_bare)(&address);
    return a->qr ? print_qr(&address, ret_problem) : OK;
}

const struct command CMD_ADDRESS = {
    .name = "address",
    .summary = "Print the server address, as text or QR code",
    .options = OPTIONS,
    .n_options = ARRAY_LEN(OPTIONS),
    .args_len = sizeof(struct address_args),
    .run = run_address,
};
