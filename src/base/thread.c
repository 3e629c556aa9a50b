/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/thread.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/caps.h"

struct start {
    void (*run)(void *ctx);
    void *ctx;
    char name[THREAD_NAME_MAX];
};

static void *thread_main(void *arg) {
    const struct start s = *(struct start *)arg;
    free(arg);
    (void)pthread_setname_np(pthread_self(), s.name);
    const enum err e = caps_keep(~CAPS_PORTS);
    (void)e; /* the main thread has told, or will */
    s.run(s.ctx);
    return NULL;
}

/* The new thread inherits the mask. */
static int create(pthread_t *ret, struct start *s) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int r = pthread_create(ret, NULL, thread_main, s);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

enum err thread_start(struct thread *t, const char *name, void (*run)(void *ctx), void *ctx) {
    assert(strlen(name) < THREAD_NAME_MAX);
    struct start *s = calloc(1, sizeof *s);
    if (s == NULL) {
        errno = ENOMEM;
        return E_SYS;
    }
    s->run = run;
    s->ctx = ctx;
    memcpy(s->name, name, strlen(name) + 1);
    const int r = create(&t->id, s);
    t->is_started = r == 0;
    if (r == 0) return OK;
    free(s);
    errno = r;
    return E_SYS;
}

void thread_join(struct thread *t) {
    if (!t->is_started) return;
    t->is_started = false;
    (void)pthread_join(t->id, NULL);
}
