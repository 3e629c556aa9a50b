/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/err.h"

#include <errno.h>
#include <string.h>

struct err_row {
    const char *name;
    const char *wire;
    const char *meaning;
};

static const struct err_row ROWS[N_ERRS] = {[OK] = {"OK", NULL, "no error"},
#define X(id, w, m) [E_##id] = {#id, w, m},
                                            ERR_LIST(X)
#undef X
};

static const struct err_row *row(enum err e) {
    const unsigned i = (unsigned)e;
    return &ROWS[i < N_ERRS ? i : (unsigned)E_INTERNAL];
}

const char *err_name(enum err e) {
    return row(e)->name;
}

const char *err_meaning(enum err e) {
    return row(e)->meaning;
}

const char *err_reason(enum err e) {
    return e == E_SYS && errno != 0 ? strerror(errno) : err_meaning(e);
}

const char *err_wire(enum err e) {
    const char *wire = row(e)->wire;
    return wire != NULL ? wire : ROWS[E_INTERNAL].wire;
}
