/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* test_inspect.c -- the list of clients in parts: 20000 sessions made by hand in the tables of two
 * loops that do not run; joining a loop runs what was posted to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "relay/operations/inspect.h"
#include "store/nothing.h"
#include "relay/relay.h"
#include "relay/session/news.h"
#include "relay/session/ntf.h"
#include "relay/session/request.h"
#include "relay/session/service.h"
#include "relay/session/session.h"
#include "relay/session/subscription.h"

enum { N_LOOPS = 2, N_SLOTS = 10000, N_GONE = 100 };

struct fixture {
    struct loop *loops[N_LOOPS], *back;
    struct store *store;
    struct relay *relay;
    struct session *sessions; /* N_LOOPS * N_SLOTS */
    bool *seen;               /* as many */
    unsigned n_parts, n_clients, n_largest;
    bool is_done;
    struct inspect_place at;
};

static void fill(struct fixture *f, unsigned loop) {
    struct relay_loop *rl = &f->relay->loops[loop];
    rl->slots = calloc(N_SLOTS, sizeof *rl->slots);
    assert_non_null(rl->slots);
    rl->n_slots = N_SLOTS;
    for (uint32_t i = 0; i < N_SLOTS; i++) {
        struct session *s = &f->sessions[loop * N_SLOTS + i];
        s->rl = rl;
        s->state = i % N_GONE == 1 ? SESSION_HANDSHAKE : SESSION_RUNNING;
        const uint64_t generation = f->relay->first_generation + i;
        s->self = (struct subscriber){.loop = (uint16_t)loop, .slot = i, .generation = generation};
        s->params.session[0] = 32;
        s->params.session[1] = (uint8_t)i;
        rl->slots[i] =
            (struct session_slot){.session = i % N_GONE == 0 ? NULL : s, .generation = generation};
    }
}

static void setup(struct fixture *f) {
    *f = (struct fixture){0};
    const struct store_opts so = {.env = &ENV_SYSTEM, .quota = 8};
    for (unsigned i = 0; i < N_LOOPS; i++)
        assert_int_equal(loop_new(i, &ENV_SYSTEM, &f->loops[i]), OK);
    assert_int_equal(loop_new(N_LOOPS, &ENV_SYSTEM, &f->back), OK);
    assert_int_equal(nothing_open(&so, &f->store), OK);
    const struct relay_opts ro = {.env = &ENV_SYSTEM,
                                  .store = f->store,
                                  .loops = f->loops,
                                  .n_loops = N_LOOPS};
    assert_int_equal(relay_new(&ro, &f->relay), OK);
    assert_int_equal(relay_start(f->relay), OK);
    const size_t n = (size_t)N_LOOPS * N_SLOTS;
    f->sessions = calloc(n, sizeof *f->sessions);
    f->seen = calloc(n, sizeof *f->seen);
    assert_true(f->sessions != NULL && f->seen != NULL);
    for (unsigned i = 0; i < N_LOOPS; i++) fill(f, i);
}

static void teardown(struct fixture *f) {
    relay_free(f->relay);
    for (unsigned i = 0; i < N_LOOPS; i++) loop_free(f->loops[i]);
    loop_free(f->back);
    store_close(f->store);
    free(f->sessions);
    free(f->seen);
}

static void take(void *ctx, const struct inspect_part *part) {
    struct fixture *f = ctx;
    for (unsigned i = 0; i < part->n; i++) {
        const struct relay_client *c = &part->clients[i];
        assert_true(c->number < (uint64_t)N_LOOPS * N_SLOTS);
        assert_false(f->seen[c->number]);
        assert_int_equal(c->n_session_id, 32);
        assert_int_equal(c->session_id[0], (uint8_t)(c->number / N_LOOPS));
        f->seen[c->number] = true;
    }
    f->n_parts++;
    f->n_clients += part->n;
    if (part->n > f->n_largest) f->n_largest = part->n;
    f->is_done = part->is_last;
    f->at = part->next;
}

static void each_client_is_listed_once(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    while (!f.is_done) {
        const unsigned loop = f.at.loop;
        assert_int_equal(relay_inspect(f.relay, f.at, f.back, take, &f), OK);
        loop_join(f.loops[loop]);
        loop_join(f.back);
    }
    assert_int_equal(f.n_clients, N_LOOPS * (N_SLOTS - 2 * N_SLOTS / N_GONE));
    assert_true(f.n_largest <= INSPECT_SLOTS);
    assert_int_equal(f.n_parts, N_LOOPS * ((N_SLOTS + INSPECT_SLOTS - 1) / INSPECT_SLOTS));
    teardown(&f);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_client_is_listed_once)};
    return cmocka_run_group_tests_name("inspect", tests, NULL, NULL);
}
