/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* smp-server.ini, whole: a refusal is a line for the operator, and what is accepted is accepted
 * again in the form in which it is printed, where nothing secret is left out. */
#include "fuzz_view.h"

#include <stdlib.h>
#include <string.h>

#include "app/settings/conf.h"

enum { PRINT_MAX = 256 * 1024 };

static void check_line(const char *text) {
    assert(text[0] != '\0');
    for (; *text != '\0'; text++) assert((unsigned char)*text >= ' ' && *text != 127);
}

static void on_warning(void *ctx, const char *text) {
    (void)ctx;
    check_line(text);
}

/* text: of n bytes and a terminator; changed. */
static enum err parse(struct conf *c, char *text) {
    struct problem problem = {0};
    const enum err e = conf_parse(c, "smp-server.ini", text, on_warning, NULL, &problem);
    assert(e == OK || e == E_CONFIG);
    if (e != OK) check_line(problem.text);
    return e;
}

static void check_printed(const struct conf *c) {
    static char text[PRINT_MAX];
    static struct conf again;
    struct wr w = wr_init(text, sizeof text - 1);
    conf_print(c, &w);
    assert(wr_err(&w) == OK);
    const struct bytes printed = wr_bytes(&w);
    text[printed.n] = '\0';
    if (strstr(text, "(hidden)") != NULL) return;
    conf_init(&again);
    assert(parse(&again, text) == OK);
    conf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct conf c;
    char *text = malloc(size + 1);
    if (text == NULL || memchr(data, '\0', size) != NULL) {
        free(text);
        return 0;
    }
    if (size != 0) memcpy(text, data, size);
    text[size] = '\0';
    conf_init(&c);
    if (parse(&c, text) == OK) check_printed(&c);
    conf_done(&c);
    free(text);
    return 0;
}
