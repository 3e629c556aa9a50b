/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* queue_log_priv.h -- what reading, compacting and appending share: the names beside the log. */
#pragma once

#include "store/disk/queue_log.h"

enum { QUEUE_LOG_MAX_PATH = 1024 };

struct log_path {
    char s[QUEUE_LOG_MAX_PATH];
};

/* `<path><suffix>`. E_SYS (ENAMETOOLONG). */
MUST_USE enum err queue_log__path(const struct queue_log_opts *o, const char *suffix,
                                  struct log_path *ret);
struct log_path queue_log__dir(const struct queue_log_opts *o);
/* OK or E_NOT_FOUND or E_SYS. */
MUST_USE enum err queue_log__exists(const struct queue_log_opts *o, const char *path);
/* Renames, durably. */
MUST_USE enum err queue_log__rename(const struct queue_log_opts *o, const char *from,
                                    const char *to);
