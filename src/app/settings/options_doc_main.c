/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* options_doc_main.c -- the program options-doc, for `make docs` only: prints the document of the
 * settings, or with `limits` that of the limits. */
#include <stdio.h>
#include <string.h>

#include "app/settings/limits_doc.h"
#include "app/settings/options_doc.h"

int main(int argc, char **argv) {
    static uint8_t text[OPTIONS_DOC_MAX];
    struct wr w = wr_init(text, sizeof text);
    if (argc > 1 && strcmp(argv[1], "limits") == 0) {
        limits_doc_print(&w);
    } else {
        options_doc_print(&w);
    }
    const struct bytes b = wr_bytes(&w);
    const bool ok = wr_err(&w) == OK && fwrite(b.p, 1, b.n, stdout) == b.n && fflush(stdout) == 0;
    return ok ? 0 : 1;
}
