/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* operate.h -- what the server has for its operator alone: the control port, the metrics over
 * HTTP and the dashboard, as the settings want them. Main thread.
 *
 * Order: operate_new() after the relay was made, operate_start() when its loops run, operate_stop()
 * before they stop, operate_free() after they were joined. */
#pragma once

#include "app/server/identity.h"
#include "app/settings/conf.h"
#include "stats/report.h"
#include "store/store.h"

struct operate;
struct relay;
struct stats_job;

struct operate_opts {
    const struct conf *conf;         /* borrowed for the call */
    const char *ini_path;            /* borrowed for the call; for messages */
    const struct identity *identity; /* borrowed for the call */
    struct relay *relay;             /* borrowed, as all that follow */
    struct store *store;
    struct stats *stats;
    struct stats_sheet *sheet; /* of the control port's thread */
    struct stats_sheet *metrics_sheet, *dashboard_sheet;
    struct stats_job *job;
    void (*gauges)(void *ctx, struct stats_gauges *ret); /* any thread */
    void *ctx;
    unsigned loop_index; /* of the control port's loop: one that no other has */
};

/* Listens. Any error with *ret_problem filled in. */
MUST_USE enum err operate_new(const struct operate_opts *o, struct operate **ret,
                              struct problem *ret_problem);
MUST_USE enum err operate_start(struct operate *op, struct problem *ret_problem);
void operate_stop(struct operate *op); /* NULL is a no-op */
void operate_free(struct operate *op); /* NULL is a no-op */
/* Borrowed for the call. */
void operate_set_control(struct operate *op, const struct control_settings *settings);
