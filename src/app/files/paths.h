/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* paths.h -- where the server's files are (spec: operations, section 2). */
#pragma once

#include <limits.h>

#include "app/files/problem.h"

struct paths {
    /* $SMP_SERVER_CFG_PATH, or /etc/opt/simplex; and what is in it */
    char cfg[PATH_MAX];
    char ini[PATH_MAX], fingerprint[PATH_MAX];
    char ca_key[PATH_MAX], ca_crt[PATH_MAX], server_key[PATH_MAX], server_crt[PATH_MAX];
    /* $SMP_SERVER_LOG_PATH, or /var/opt/simplex */
    char state[PATH_MAX];
    char store_log[PATH_MAX], messages_log[PATH_MAX], ntfs_log[PATH_MAX];
    char store_log_start[PATH_MAX];   /* in its place when a compaction was cut short */
    char journal[PATH_MAX];           /* ours, unless the settings name another place */
    char journal_mark[PATH_MAX];      /* what an orderly stop has left of it, wherever it is */
    char reference_journal[PATH_MAX]; /* the reference's, in a format of its own: only imported */
    char lock[PATH_MAX];
    char stats[PATH_MAX], stats_key[PATH_MAX], stats_daily[PATH_MAX];
    char metrics[PATH_MAX], metrics_prom[PATH_MAX]; /* of the reference's form; for node_exporter */
};

/* From the environment. E_CONFIG when a path is too long. */
MUST_USE enum err paths_init(struct paths *ret, struct problem *ret_problem);
