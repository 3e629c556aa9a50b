/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* thread.h -- threads of the server: named, deaf to signals, which are the main thread's, and
 * without the right to ports below 1024, which the main thread opens. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"

struct thread {
    pthread_t id;
    bool is_started;
};

enum { THREAD_NAME_MAX = 16 }; /* bytes, terminator included: the kernel's limit */

/* Runs run(ctx) in a new thread. name: as shown by top -H, shorter than THREAD_NAME_MAX. *t is the
 * caller's and is joined. E_SYS with errno. */
MUST_USE enum err thread_start(struct thread *t, const char *name, void (*run)(void *ctx),
                               void *ctx);
void thread_join(struct thread *t); /* no-op when it was not started, or was joined */
