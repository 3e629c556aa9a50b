/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/files/problem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What somebody typed or wrote into a file must not break the line, or control the terminal. */
static void blot_controls(struct problem *p) {
    for (char *c = p->text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) *c = '?';
    }
}

enum err problem_vset(struct problem *ret, enum err e, const char *fmt, va_list ap) {
    (void)vsnprintf(ret->text, sizeof ret->text, fmt, ap);
    blot_controls(ret);
    return e;
}

enum err problem_set(struct problem *ret, enum err e, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    (void)problem_vset(ret, e, fmt, ap);
    va_end(ap);
    return e;
}

enum err problem_sys(struct problem *ret, const char *fmt, ...) {
    const int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    (void)problem_vset(ret, E_SYS, fmt, ap);
    va_end(ap);
    const size_t n = strlen(ret->text);
    (void)snprintf(ret->text + n, sizeof ret->text - n, ": %s", strerror(saved));
    return E_SYS;
}
