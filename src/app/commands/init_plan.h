/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* init_plan.h -- what `smp-server init` will write, worked out and checked before anything is
 * written: options in, certificates and settings file out. No files are read or made. Main thread.
 */
#pragma once

#include "app/settings/conf.h"
#include "app/files/paths.h"
#include "crypto/cert.h"

/* The options as they are given; NULL: not given. Those that may lack their value are "" then. All
 * borrowed. */
struct init_args {
    bool yes, store_log, disable_store_log, daily_stats, no_password, disable_web, keep_identity;
    const char *sign_algorithm, *ip, *fqdn, *password;
    const char *control_port, *socks_proxy, *source_code; /* may lack their value */
    const char *own_domains, *web_path;
    const char *dashboard; /* may lack its value */
    const char *server_country, *operator, * operator_country, *website;
    const char *hosting, *hosting_country, *hosting_type;
    const char *database, *schema, *pool_size;
};

#define INIT_DEFAULT_IP "127.0.0.1"

enum {
    INIT_UNUSED_MAX = 24,
    INIT_PASSWORD_TEXT = 48 /* bytes, with terminator, of a password of the control port */
};

struct init_plan {
    enum cert_algorithm algorithm;
    char host[CONF_TEXT_MAX]; /* as in the address and in the ini file */
    char common_name[CERT_HOST_MAX + 1];
    char password[CONF_PASSWORD_MAX]; /* secret; "": none */
    char admin_password[INIT_PASSWORD_TEXT], user_password[INIT_PASSWORD_TEXT]; /* the same */
    const char *source_code; /* borrowed; NULL: none */
    char web_path[CONF_TEXT_MAX], web_cert[CONF_TEXT_MAX], web_key[CONF_TEXT_MAX]; /* absolute */
    /* options whose settings this version does not use: borrowed, NULL after the last */
    const char *unused[INIT_UNUSED_MAX];
    char *ini; /* owned; secret */
    size_t ini_len;
    bool keeps_identity;
    struct cert_bundle certs; /* owned; empty when the identity is kept */
};

/* What can be said about the options alone: values, and which of them need or exclude each other.
 * E_CONFIG. */
MUST_USE enum err init_args_check(const struct init_args *a, struct problem *ret_problem);
/* From options that were checked. Relative paths count from the working directory. E_NO_MEMORY,
 * E_CRYPTO, E_LIMIT, E_SYS; the plan is to be ended then too. */
MUST_USE enum err init_plan_make(const struct init_args *a, const struct paths *paths,
                                 struct init_plan *ret, struct problem *ret_problem);
void init_plan_done(struct init_plan *p); /* wipes what is secret; a plan of zeros is fine */

/* ---- single values, for the questions ---- */

/* E_CONFIG with "must be ...": what is allowed. */
MUST_USE enum err init_check_host(const char *host, struct problem *ret_problem);
MUST_USE enum err init_check_password(const char *password, struct problem *ret_problem);
MUST_USE enum err init_check_source_code(const char *uri, struct problem *ret_problem);
MUST_USE enum err init_check_web_path(const char *path, struct problem *ret_problem);
