/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "names/resolver.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "model/limits.h"
#include "names/name_record.h"

struct resolver_loop {
    /* fixed after resolver_new() */
    struct loop *loop;           /* borrowed */
    struct transfers *transfers; /* owned */
    unsigned transfers_max;
    /* owner loop only */
    struct list under_way, waiting[RESOLVER_RANKS]; /* requests; the oldest, whose time ends first,
                                                     * is first */
    unsigned n_under_way, n_waiting;
    bool is_starting, has_new; /* asked for while others were being started */
    struct loop_timer timer;   /* runs while some wait */
    uint8_t record[SMP_BLOCK_LEN];
};

struct resolver {
    struct endpoint endpoint; /* secret */
    int64_t timeout_ms;
    struct transfer greeting; /* of the first loop */
    unsigned n_loops;
    struct resolver_loop *loops; /* owned, n_loops of them */
};

/* ---- what became of it ---- */

enum { HTTP_BAD_REQUEST = 400, HTTP_NOT_FOUND = 404 };

static struct name_failure take_record(struct resolver_request *rq) {
    struct resolver_loop *rl = rq->of;
    struct wr w = wr_init(rl->record, sizeof rl->record);
    switch (name_record_write(rq->transfer.body, &w)) {
    case OK:
        rq->record = wr_bytes(&w);
        return (struct name_failure){NAME_OK, 0};
    case E_LIMIT:
        return (struct name_failure){NAME_TOO_LARGE, 0};
    case E_NO_MEMORY:
        return (struct name_failure){NAME_TRANSPORT, 0};
    default:
        return (struct name_failure){NAME_INVALID, 0};
    }
}

static struct name_failure outcome(struct resolver_request *rq) {
    const unsigned status = rq->transfer.status;
    switch (rq->transfer.result) {
    case TRANSFER_TIMEOUT:
        return (struct name_failure){NAME_TIMEOUT, 0};
    case TRANSFER_TOO_LARGE:
        return (struct name_failure){NAME_TOO_LARGE, 0};
    case TRANSFER_FAILED:
    case TRANSFER_NO_MEMORY:
        return (struct name_failure){NAME_TRANSPORT, 0};
    case TRANSFER_OK:
        break;
    }
    if (status == HTTP_NOT_FOUND || status == HTTP_BAD_REQUEST)
        return (struct name_failure){NAME_NOT_FOUND, 0};
    if (status >= HTTP_BAD_REQUEST) return (struct name_failure){NAME_HTTP, status};
    return take_record(rq);
}

static void fail(struct resolver_request *rq, enum name_error e) {
    rq->failure = (struct name_failure){.error = e};
    rq->done(rq);
}

/* ---- starting, and waiting for it ---- */

static void start_waiting(struct resolver_loop *rl);

static void on_transferred(struct transfer *t) {
    struct resolver_request *rq = CONTAINER_OF(t, struct resolver_request, transfer);
    struct resolver_loop *rl = rq->of;
    list_remove(&rq->under_way);
    rl->n_under_way--;
    rq->failure = outcome(rq);
    rq->done(rq); /* gone */
    start_waiting(rl);
}

static void start(struct resolver_loop *rl, struct resolver_request *rq, int64_t left_ms) {
    char path[sizeof "/resolve/" + RESOLVER_NAME_MAX];
    (void)snprintf(path, sizeof path, "/resolve/%s", rq->name);
    rq->transfer.done = on_transferred;
    if (transfer_start(rl->transfers, path, left_ms, &rq->transfer) != OK) {
        fail(rq, NAME_TRANSPORT);
        return;
    }
    list_push_back(&rl->under_way, &rq->under_way);
    rl->n_under_way++;
}

static void end_waiting(struct resolver_loop *rl, struct resolver_request *rq) {
    list_remove(&rq->waiting);
    rl->n_waiting--;
}

static struct resolver_request *first_of(struct resolver_loop *rl, unsigned rank) {
    struct list *n = list_first(&rl->waiting[rank]);
    return n != NULL ? CONTAINER_OF(n, struct resolver_request, waiting) : NULL;
}

/* 0, 1-2, 3-6, 7-14 and so on. */
static unsigned rank_of(const struct resolver_request *rq) {
    unsigned rank = 0;
    for (unsigned n = rq->n_others + 1; n > 1 && rank < RESOLVER_RANKS - 1; n /= 2) rank++;
    return rank;
}

static bool has_place(const struct resolver_loop *rl, unsigned rank) {
    const unsigned kept = rank < RESOLVER_RANKS_FIRST ? 0 : rl->transfers_max / 4;
    return rl->n_under_way < rl->transfers_max - kept;
}

/* Those whose time is over are answered, then as many started as there is room for. */
static void run_waiting(struct resolver_loop *rl, unsigned rank, int64_t now_ms) {
    for (struct resolver_request *rq; (rq = first_of(rl, rank)) != NULL;) {
        const bool is_late = rq->deadline_ms <= now_ms;
        if (!is_late && !has_place(rl, rank)) return;
        end_waiting(rl, rq);
        if (is_late) {
            fail(rq, NAME_TIMEOUT);
        } else {
            start(rl, rq, rq->deadline_ms - now_ms);
        }
    }
}

/* Of those that wait; INT64_MAX: none does. */
static int64_t next_deadline_ms(struct resolver_loop *rl) {
    int64_t next_ms = INT64_MAX;
    for (unsigned rank = 0; rank < RESOLVER_RANKS; rank++) {
        const struct resolver_request *rq = first_of(rl, rank);
        if (rq != NULL && rq->deadline_ms < next_ms) next_ms = rq->deadline_ms;
    }
    return next_ms;
}

static void on_deadline(void *ctx) {
    start_waiting(ctx);
}

static void start_waiting(struct resolver_loop *rl) {
    rl->has_new = true;
    if (rl->is_starting) return; /* done() may have asked for another name */
    const int64_t now_ms = loop_now_ms(rl->loop);
    rl->is_starting = true;
    while (rl->has_new) {
        rl->has_new = false;
        for (unsigned rank = 0; rank < RESOLVER_RANKS; rank++) run_waiting(rl, rank, now_ms);
    }
    rl->is_starting = false;
    if (rl->n_waiting == 0) {
        loop_timer_stop(&rl->timer);
        return;
    }
    const int64_t next_ms = next_deadline_ms(rl);
    const int64_t left_ms = next_ms > now_ms ? next_ms - now_ms : 0;
    if (loop_timer_start(rl->loop, &rl->timer, (uint64_t)left_ms, 0, on_deadline, rl) != OK)
        return; /* the next transfer that ends looks again, and each of them does */
}

static void copy_name(struct bytes name, char ret[RESOLVER_NAME_MAX + 1]) {
    assert(name.n <= RESOLVER_NAME_MAX);
    for (size_t i = 0; i < name.n; i++) {
        const uint8_t c = name.p[i];
        ret[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    ret[name.n] = '\0';
}

void resolver_ask(struct resolver *r, struct loop *from, struct bytes name,
                  struct resolver_request *owned) {
    struct resolver_loop *rl = &r->loops[loop_index(from)];
    ASSERT_ON_LOOP(rl->loop);
    owned->of = rl;
    owned->record = (struct bytes){0};
    list_init(&owned->waiting);
    list_init(&owned->under_way);
    copy_name(name, owned->name);
    if (rl->n_waiting >= RESOLVER_WAITING_MAX) {
        fail(owned, NAME_TRANSPORT);
        return;
    }
    owned->deadline_ms = loop_now_ms(rl->loop) + r->timeout_ms;
    list_push_back(&rl->waiting[rank_of(owned)], &owned->waiting);
    rl->n_waiting++;
    start_waiting(rl);
}

/* ---- start and stop ---- */

static enum err open_loop(const struct resolver *r, const struct resolver_opts *o, unsigned i) {
    struct resolver_loop *rl = &r->loops[i];
    rl->loop = o->loops[i];
    rl->transfers_max = o->transfers_max;
    list_init(&rl->under_way);
    for (unsigned rank = 0; rank < RESOLVER_RANKS; rank++) list_init(&rl->waiting[rank]);
    const struct transfers_opts t = {&r->endpoint, o->settings.response_max, o->transfers_max};
    return transfers_new(rl->loop, &t, &rl->transfers);
}

enum err resolver_new(const struct resolver_opts *o, struct resolver **ret) {
    struct resolver *r = calloc(1, sizeof *r);
    if (r == NULL) return E_NO_MEMORY;
    r->endpoint = *o->endpoint;
    r->timeout_ms = o->settings.timeout_ms;
    r->loops = calloc(o->n_loops, sizeof *r->loops);
    enum err e = r->loops != NULL ? OK : E_NO_MEMORY;
    while (e == OK && r->n_loops < o->n_loops) e = open_loop(r, o, r->n_loops++);
    if (e != OK) {
        resolver_free(r);
        return e;
    }
    *ret = r;
    return OK;
}

static const char HEALTH[] = "/health";

static void on_greeted(struct transfer *t) {
    static const char *const WORDS[] = {
        [TRANSFER_OK] = "it answers with an error", [TRANSFER_TIMEOUT] = "no answer in time",
        [TRANSFER_FAILED] = "no connection",        [TRANSFER_TOO_LARGE] = NULL,
        [TRANSFER_NO_MEMORY] = "out of memory",
    };
    const bool is_well = t->result == TRANSFER_OK && t->status < HTTP_BAD_REQUEST;
    if (is_well || WORDS[t->result] == NULL) return;
    log_line(LOG_WARN, "resolver-not-there",
             "reason=\"%s\" status=%u hint=\"see [NAMES] resolver_endpoint; names are not resolved "
             "until it answers\"",
             WORDS[t->result], t->status);
}

enum err resolver_start(struct resolver *r) {
    r->greeting.done = on_greeted;
    return transfer_start(r->loops[0].transfers, HEALTH, r->timeout_ms, &r->greeting);
}

static void close_loop(struct resolver_loop *rl) {
    loop_timer_stop(&rl->timer);
    for (unsigned rank = 0; rank < RESOLVER_RANKS; rank++) {
        for (struct resolver_request *rq; (rq = first_of(rl, rank)) != NULL;) {
            end_waiting(rl, rq);
            rq->drop(rq);
        }
    }
    for (struct list *n; (n = list_first(&rl->under_way)) != NULL;) {
        struct resolver_request *rq = CONTAINER_OF(n, struct resolver_request, under_way);
        list_remove(n);
        transfer_stop(&rq->transfer);
        rq->drop(rq);
    }
    transfers_free(rl->transfers);
}

void resolver_free(struct resolver *r) {
    if (r == NULL) return;
    transfer_stop(&r->greeting);
    for (unsigned i = 0; i < r->n_loops; i++) close_loop(&r->loops[i]);
    free(r->loops);
    endpoint_wipe(&r->endpoint);
    free(r);
}

/* ---- for the operator ---- */

const char *resolver_probe(const struct endpoint *endpoint, int64_t timeout_ms, char *buf,
                           size_t n_buf) {
    enum transfer_result result;
    unsigned status;
    const char *why = transfer_probe(endpoint, HEALTH, timeout_ms, &result, &status);
    if (why == NULL && status < HTTP_BAD_REQUEST) return NULL;
    if (why != NULL) {
        (void)snprintf(buf, n_buf, "GET %s/health: %s", endpoint->url, why);
    } else {
        (void)snprintf(buf, n_buf, "GET %s/health: HTTP %u", endpoint->url, status);
    }
    return buf;
}
