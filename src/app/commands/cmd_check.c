/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_check.c -- `smp-server check`: are the files of a server in order, or does the server at an
 * address do its work? For people, and for monitoring: exit status 0 when no error was found. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "app/commands/check.h"
#include "app/commands/cli.h"
#include "app/files/files.h"
#include "client/smp_uri.h"

enum {
    DEFAULT_TIMEOUT_S = 20,
    TIMEOUT_MAX_S = 600,
    NAME_MAX_LEN = SMP_URI_HOSTS_MAX * (HOST_TEXT_MAX + sizeof "[],") + sizeof ":65535",
};

struct check_args {
    const char *what, *socks_proxy, *timeout;
    bool json;
};

static const struct cli_option OPTIONS[] = {
    {"json", 0, NULL, offsetof(struct check_args, json), "Print the findings as JSON"},
    {"socks-proxy", 0, "HOST:PORT", offsetof(struct check_args, socks_proxy),
     "Connect through this SOCKS5 proxy, which onion hosts\nneed; @HOST:PORT for one without "
     "credentials"},
    {"timeout", 0, "SECONDS", offsetof(struct check_args, timeout),
     "How long to wait for a connection, and for each answer\n(default: 20)"},
};

static enum err parse_timeout(const char *text, int64_t *ret_ms, struct problem *p) {
    char *end = NULL;
    const long s = text != NULL ? strtol(text, &end, 10) : DEFAULT_TIMEOUT_S;
    if (text != NULL && (*text < '0' || *text > '9' || *end != '\0' || s < 1 || s > TIMEOUT_MAX_S))
        return problem_set(p, E_CONFIG, "--timeout must be 1 to %d seconds, not \"%s\"",
                           TIMEOUT_MAX_S, text);
    *ret_ms = (int64_t)s * 1000;
    return OK;
}

static enum err run_server(const struct check_args *a, struct problem *p) {
    struct check_server_opts o = {.address = a->what, .socks_proxy = a->socks_proxy};
    struct findings report;
    char name[NAME_MAX_LEN];
    enum err e = parse_timeout(a->timeout, &o.timeout_ms, p);
    if (e == OK) e = check_server_name(&o, name, sizeof name, p);
    if (e == OK) e = findings_begin(&report, name, a->json, p);
    if (e != OK) return e;
    e = check_server(&o, &report, p);
    if (e != OK) {
        findings_cancel(&report);
        return e;
    }
    return findings_end(&report, p);
}

/* A host is no file, even if it could be the name of one. */
static bool is_path(const char *what) {
    const size_t n = strlen(what);
    return strchr(what, '/') != NULL || file_exists(what) ||
           (n > 4 && strcmp(what + n - 4, ".ini") == 0);
}

static bool is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static enum err run_files(const struct check_args *a, const struct paths *paths,
                          struct problem *p) {
    struct paths other = *paths;
    struct findings report;
    if (a->socks_proxy != NULL || a->timeout != NULL) {
        return problem_set(p, E_CONFIG,
                           "--socks-proxy and --timeout are for checking a server at an smp:// "
                           "address");
    }
    if (a->what != NULL && !is_path(a->what)) {
        return problem_set(p, E_CONFIG,
                           "\"%s\" is neither a settings file nor an address: an address is "
                           "smp://FINGERPRINT@HOST, as `smp-server address` prints it",
                           a->what);
    }
    if (a->what != NULL && !file_exists(a->what) && errno == ENOENT)
        return problem_set(p, E_CONFIG, "there is no file %s", a->what);
    if (a->what != NULL && is_directory(a->what)) {
        return problem_set(p, E_CONFIG,
                           "%s is a directory: name the settings file in it, as in "
                           "%s/smp-server.ini",
                           a->what, a->what);
    }
    if (a->what != NULL) {
        const int n = snprintf(other.ini, sizeof other.ini, "%s", a->what);
        if (n < 0 || (size_t)n >= sizeof other.ini)
            return problem_set(p, E_CONFIG, "the path is too long");
    }
    const enum err e = findings_begin(&report, other.ini, a->json, p);
    if (e != OK) return e;
    check_files(&other, &report);
    return findings_end(&report, p);
}

static enum err run_check(const void *args, const struct paths *paths, struct problem *p) {
    const struct check_args *a = args;
    const bool is_address = a->what != NULL && strstr(a->what, "://") != NULL;
    return is_address ? run_server(a, p) : run_files(a, paths, p);
}

const struct command CMD_CHECK = {
    .name = "check",
    .summary = "Check this server's files, or the server at an address",
    .operand = "[FILE.ini|smp://ADDRESS]",
    .operand_offset = offsetof(struct check_args, what),
    .options = OPTIONS,
    .n_options = ARRAY_LEN(OPTIONS),
    .args_len = sizeof(struct check_args),
    .run = run_check,
};
