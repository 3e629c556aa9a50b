/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* resolver.h -- names are asked for at a REST resolver that the operator runs (spec: names).
 *
 * Each loop asks for its own sessions, so nothing is shared between loops. On a loop at most
 * transfers_max requests are at the resolver; RESOLVER_WAITING_MAX more wait for their turn, and
 * their time runs while they do. Every request is answered within the time limit.
 *
 * Who asks for little goes before who asks for much: the turn is by the power of two of how many
 * names the asker has here already, and the last quarter of the places at the resolver is kept for
 * those of the first few. So a client whose names are slow holds up its own.
 *
 * Start: resolver_new() before the loops start. Stop: join all loops, then resolver_free(), then
 * free the loops. */
#pragma once

#include "base/list.h"
#include "names/transfer.h"
#include "wire/reply.h"

struct resolver;

/* What the operator chooses; each with its range in the table of settings. */
struct resolver_settings {
    int64_t timeout_ms;    /* for a whole request */
    unsigned response_max; /* bytes of the resolver's answer */
};

struct resolver_opts {
    struct loop *const *loops; /* borrowed */
    unsigned n_loops;
    const struct endpoint *endpoint; /* copied */
    struct resolver_settings settings;
    unsigned transfers_max; /* of a loop at once: as many sockets; at least 1 */
};

MUST_USE enum err resolver_new(const struct resolver_opts *o, struct resolver **ret);
/* Asks once whether the resolver is there, and logs it when it is not. Before the loops start.
 * E_NO_MEMORY. */
MUST_USE enum err resolver_start(struct resolver *r);
/* Drops what is under way. NULL is a no-op. */
void resolver_free(struct resolver *r);

enum {
    RESOLVER_NAME_MAX = 253,
    RESOLVER_RANKS = 15,     /* powers of two */
    RESOLVER_RANKS_FIRST = 3 /* those of less than 7 names: every place is theirs */
};

/* A name that is asked for. The caller embeds it, sets done and drop, and gives it away; exactly
 * one of the two is called, once, on the loop it came from, and then it is the caller's again. */
struct resolver_request {
    /* private */
    struct transfer transfer;
    struct list waiting;
    struct list under_way;
    struct resolver_loop *of;
    int64_t deadline_ms;
    char name[RESOLVER_NAME_MAX + 1];
    /* result, valid in done() */
    struct name_failure failure; /* error is NAME_OK on success */
    struct bytes record;         /* JSON; views memory of the loop's, gone when done() returns */
    /* set by the caller */
    unsigned n_others; /* names that the same asker has here */
    void (*done)(struct resolver_request *rq);
    void (*drop)(struct resolver_request *rq); /* the server stops: free, and touch nothing else */
};

/* Asks for a name: at most RESOLVER_NAME_MAX letters, digits, hyphens and dots; its case does not
 * matter. On `from`, one of the resolver's loops. done() may come before this returns. */
void resolver_ask(struct resolver *r, struct loop *from, struct bytes name,
                  struct resolver_request *owned);

/* Is the resolver there? Waits for it; never on a loop. NULL: yes; else why not, for an operator,
 * in buf. */
const char *resolver_probe(const struct endpoint *endpoint, int64_t timeout_ms, char *buf,
                           size_t n_buf);
