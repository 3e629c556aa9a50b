/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/files/paths.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *directory(const char *variable, const char *otherwise) {
    const char *value = getenv(variable);
    return value != NULL && *value != '\0' ? value : otherwise;
}

/* Without slashes at the end. */
static int len_of(const char *dir) {
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/') n--;
    return n < INT_MAX ? (int)n : INT_MAX;
}

enum err paths_init(struct paths *ret, struct problem *ret_problem) {
    const char *cfg = directory("SMP_SERVER_CFG_PATH", "/etc/opt/simplex");
    const char *state = directory("SMP_SERVER_LOG_PATH", "/var/opt/simplex");
    const struct {
        char *path;
        const char *directory, *slash, *name;
    } rows[] = {
        {ret->cfg, cfg, "", ""},
        {ret->ini, cfg, "/", "smp-server.ini"},
        {ret->fingerprint, cfg, "/", "fingerprint"},
        {ret->ca_key, cfg, "/", "ca.key"},
        {ret->ca_crt, cfg, "/", "ca.crt"},
        {ret->server_key, cfg, "/", "server.key"},
        {ret->server_crt, cfg, "/", "server.crt"},
        {ret->state, state, "", ""},
        {ret->store_log, state, "/", "smp-server-store.log"},
        {ret->messages_log, state, "/", "smp-server-messages.log"},
        {ret->ntfs_log, state, "/", "smp-server-ntfs.log"},
        {ret->store_log_start, state, "/", "smp-server-store.log.start"},
        {ret->journal, state, "/", "journal"},
        {ret->journal_mark, state, "/", "smp-server-journal.stop"},
        {ret->reference_journal, state, "/", "messages"},
        {ret->lock, state, "/", "smp-server.lock"},
        {ret->stats, state, "/", "smp-server-stats.log"},
        {ret->stats_key, state, "/", "smp-server-stats.key"},
        {ret->stats_daily, state, "/", "smp-server-stats.daily.log"},
        {ret->metrics, state, "/", "smp-server-metrics.txt"},
        {ret->metrics_prom, state, "/", "smp-server-metrics.prom"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const int n = snprintf(rows[i].path, PATH_MAX, "%.*s%s%s", len_of(rows[i].directory),
                               rows[i].directory, rows[i].slash, rows[i].name);
        if (n < 0 || n >= PATH_MAX) {
            return problem_set(ret_problem, E_CONFIG,
                               "the path of %s is too long: set %s to a shorter one",
                               rows[i].directory == cfg ? "the configuration"
                                                        : "the server's state",
                               rows[i].directory == cfg ? "SMP_SERVER_CFG_PATH"
                                                        : "SMP_SERVER_LOG_PATH");
        }
    }
    return OK;
}
