/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* rules.c -- what the operator may change while the relay runs.
 *
 * A set of rules is counted and never changed: each loop has the one that it goes by, and a new one
 * comes to it as a message, so that no command sees half of a change and none takes a lock. */
#include "relay/session/rules.h"

#include <stdlib.h>

#include "relay/session/relay_loop.h"

struct rules {
    _Atomic unsigned n_refs; /* release on the way down: whoever frees it sees all reads done */
    struct relay_rules set;  /* secret */
};

enum err rules_new(const struct relay_rules *from, struct rules **ret) {
    struct rules *rules = malloc(sizeof *rules);
    if (rules == NULL) return E_NO_MEMORY;
    atomic_init(&rules->n_refs, 1);
    rules->set = *from;
    *ret = rules;
    return OK;
}

struct rules *rules_ref(struct rules *rules) {
    (void)atomic_fetch_add_explicit(&rules->n_refs, 1, memory_order_relaxed);
    return rules;
}

void rules_unref(struct rules *rules) {
    if (rules == NULL) return;
    if (atomic_fetch_sub_explicit(&rules->n_refs, 1, memory_order_acq_rel) != 1) return;
    crypto_wipe(&rules->set, sizeof rules->set);
    free(rules);
}

bool rules_allow_new_queues(const struct rules *rules) {
    return rules->set.allow_new_queues;
}

bool rules_fit_password(const struct rules *rules, bool has, struct bytes password) {
    const struct bytes wanted = bytes_str(rules->set.create_password);
    return wanted.n == 0 || (has && crypto_equal(password, wanted));
}

struct rules_msg {
    struct loop_msg msg;
    struct rules_msg *next; /* while they are made */
    struct relay_loop *rl;
    struct rules *rules; /* counted */
};

static void take_rules(struct loop_msg *msg) {
    struct rules_msg *m = CONTAINER_OF(msg, struct rules_msg, msg);
    rules_unref(m->rl->rules);
    m->rl->rules = m->rules;
    free(m);
}

static void free_messages(struct rules_msg *m) {
    while (m != NULL) {
        struct rules_msg *next = m->next;
        rules_unref(m->rules);
        free(m);
        m = next;
    }
}

/* One for each loop. */
static enum err make_messages(struct relay *r, struct rules *rules, struct rules_msg **ret) {
    struct rules_msg *first = NULL;
    for (unsigned i = 0; i < r->o.n_loops; i++) {
        struct rules_msg *m = malloc(sizeof *m);
        if (m == NULL) {
            free_messages(first);
            return E_NO_MEMORY;
        }
        *m = (struct rules_msg){{NULL, take_rules}, first, &r->loops[i], rules_ref(rules)};
        first = m;
    }
    *ret = first;
    return OK;
}

enum err relay_set_rules(struct relay *r, const struct relay_rules *rules) {
    struct rules *next = NULL;
    struct rules_msg *m = NULL;
    enum err e = rules_new(rules, &next);
    if (e != OK) return e;
    e = make_messages(r, next, &m);
    rules_unref(next);
    if (e != OK) return e;
    tls_log_switch(&r->tls_log, rules->log_tls_errors);
    while (m != NULL) {
        struct rules_msg *after = m->next; /* the loop frees it */
        loop_post(m->rl->loop, &m->msg);
        m = after;
    }
    return OK;
}
