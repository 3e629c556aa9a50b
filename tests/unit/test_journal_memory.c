/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Every allocation of the journal fails once: what was acknowledged is there all the same. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "alloc_fault.h"
#include "journal_rig.h"

static _Atomic long left; /* allocations until the one that fails; 0: none fails */

bool alloc_fails(void) {
    return left != 0 && atomic_fetch_sub(&left, 1) == 1;
}

/* True if the failure was reached. */
static bool run(struct rig *r, long n) {
    left = n;
    for (int restart = 0; restart < 2; restart++) {
        enum err e = rig_open(r);
        if (e == E_NO_MEMORY || (e == E_SYS && errno == ENOMEM)) e = rig_open(r);
        if (e != OK)
            printf("# n=%ld restart=%d %s errno %d %s\n", n, restart, err_name(e), errno,
                   r->problem.text);
        assert_int_equal(e, OK);
        if (restart != 0) assert_null(rig_check_recovered(r));
        for (int i = 0; i < 12; i++) {
            (void)!rig_changes(r, 8);
            (void)!rig_flush(r);
            if (i % 4 == 3) journal_housekeep(r->journal);
        }
        rig_close(r);
    }
    const bool reached = left == 0;
    left = 0;
    return reached;
}

static void test_every_allocation_fails(void **state) {
    (void)state;
    bool reached = true;
    long n = 1;
    for (; reached; n++) {
        struct rig *r = malloc(sizeof *r);
        assert_non_null(r);
        rig_init(r, 90);
        reached = run(r, n);
        faultfs_power_cycle(r->fs);
        assert_int_equal(rig_open(r), OK);
        assert_null(rig_check_recovered(r));
        assert_int_equal(journal_start(r->journal), OK);
        assert_null(rig_check_bodies(r));
        rig_close(r);
        rig_done(r);
        free(r);
    }
    assert_true(n > 200);
}

int main(void) {
    (void)!freopen("/dev/null", "w", stderr); /* failures are logged */
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
