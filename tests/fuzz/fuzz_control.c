/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* fuzz_control.c -- what a terminal sends to the control port: lines, commands, links, reasons. */
#include <stdlib.h>

#include "admin/block_reason.h"
#include "admin/control.h"
#include "crypto/crypto.h"
#include "net/line_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct line *line) {
    struct control_command c;
    bool any;
    if (control_parse(line->text, &c, &any) != NULL || !any || c.verb != VERB_block) return;
    /* what is kept is read back, and can be shown */
    char text[256], again[CONTROL_REASON_MAX];
    struct wr w = wr_init(again, sizeof again);
    const struct bytes kept = bytes_of(c.reason, c.n_reason);
    if (block_reason_parse(kept, &w) != OK || !bytes_equal(wr_bytes(&w), kept)) abort();
    struct wr shown = wr_init(text, sizeof text);
    block_reason_show(kept, &shown);
    if (wr_err(&shown) != OK) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct line_reader r;
    struct bytes in = bytes_of(data, size);
    struct line line;
    if (crypto_init() != OK) abort();
    r = (struct line_reader){0};
    while (line_reader_take(&r, &in, &line)) check(&line);
    if (line_reader_end(&r, &line)) check(&line);
    return 0;
}
