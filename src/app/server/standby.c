/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/standby.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/files/version.h"
#include "app/server/notify.h"
#include "app/server/signals.h"
#include "base/log.h"

enum { LOOK_MS = 200, HOST_MAX = 64 };

void standby_name(long pid, char ret[DB_ADDRESS_MAX]) {
    char host[HOST_MAX + 1] = "";
    if (gethostname(host, HOST_MAX) != 0 || host[0] == '\0') (void)snprintf(host, HOST_MAX, "?");
    (void)snprintf(ret, DB_ADDRESS_MAX, "%s, process %ld", host, pid);
}

struct db_node standby_node(const struct identity *id, int64_t epoch) {
    struct db_node node = {.epoch = epoch};
    const struct bytes fingerprint = identity_fingerprint(id);
    standby_name((long)getpid(), node.address);
    (void)snprintf(node.version, sizeof node.version, "%s", SMP_SERVER_VERSION);
    memcpy(node.identity, fingerprint.p, sizeof node.identity);
    return node;
}

/* What has been said: the same is not said again. */
struct said {
    char active[DB_ADDRESS_MAX];
    bool is_lost;
};

static void say(struct said *said, enum err e, const struct db_nodes *nodes,
                const struct store_problem *problem) {
    if (e != OK) {
        if (!said->is_lost)
            log_line(LOG_ERROR, "standby", "state=\"waits for the database\" reason=\"%s\"",
                     problem->text);
        said->is_lost = true;
        return;
    }
    if (!said->is_lost && strcmp(said->active, nodes->active) == 0) return;
    said->is_lost = false;
    memcpy(said->active, nodes->active, sizeof said->active);
    log_line(LOG_INFO, "standby", "state=waits active=\"%s\"", nodes->active);
    printf("Standby: waits until the active server (%s) ends, and holds no port.\n", nodes->active);
}

static void log_turn(const struct db_nodes *before) {
    const char *why = !before->is_there  ? "nobody was active"
                      : before->has_left ? "the active server has left"
                                         : "the active server shows no sign of life";
    log_line(LOG_INFO, "standby", "state=\"takes over\" before=\"%s\" reason=\"%s\"",
             before->active, why);
}

static enum err wait_turn(struct db_standby *s, int64_t *ret_epoch, struct problem *p) {
    const int64_t dog_ms = notify_watchdog_ms();
    int64_t dog_due_ms = 0;
    struct said said = {.is_lost = false};
    for (;;) {
        struct db_standby_view view;
        struct store_problem problem = {0};
        const enum err e = db_standby_look(s, &view, &problem);
        if (e != OK && e != E_CLOSED) return problem_set(p, e, "%s", problem.text);
        if (e == OK && view.epoch != 0) {
            log_turn(&view.nodes);
            *ret_epoch = view.epoch;
            return OK;
        }
        say(&said, e, &view.nodes, &problem);
        const int64_t now_ms = env_mono_ms(&ENV_SYSTEM);
        if (dog_ms != 0 && now_ms >= dog_due_ms) {
            notify_send("WATCHDOG=1");
            dog_due_ms = now_ms + dog_ms;
        }
        if (signals_end_within(LOOK_MS)) return E_CLOSED;
    }
}

enum err standby_wait(const struct storage *s, const struct identity *id, bool migrates,
                      int64_t *ret_epoch, struct problem *ret_problem) {
    struct db_standby *standby = NULL;
    const struct db_standby_opts o = {
        .env = &ENV_SYSTEM,
        .db = s->db.db,
        .node = standby_node(id, 0),
        .migrates = migrates,
    };
    if (db_standby_new(&o, &standby) != OK)
        return problem_set(ret_problem, E_NO_MEMORY, "out of memory");
    notify_send("READY=1\nSTATUS=standby: waits until the active server ends");
    const enum err e = wait_turn(standby, ret_epoch, ret_problem);
    db_standby_free(standby);
    if (e == OK) notify_send("STATUS=active");
    return e;
}
