/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/settings/limits_doc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/limits.h"

static const char INTRO[] =
    "<!-- SPDX-License-Identifier: AGPL-3.0-or-later -->\n"
    "<!-- Made from src/model/limits.def by `make docs`: change that. -->\n"
    "# Limits\n\n"
    "What anybody can make the server hold, or wait for. What is a setting is explained in\n"
    "[options.md](options.md), what is counted in [statistics.md](statistics.md).\n";

static const struct {
    const char *of, *title;
} GROUPS[] = {
    {"ADDRESS", "Of an address, and of all"},
    {"PEER", "Of a connection"},
    {"SESSION", "Of a session"},
    {"QUEUE", "Of a queue"},
    {"STORE", "Of the store"},
    {"PROXY", "Of the proxy"},
    {"NAMES", "Of the resolver of names"},
};

static void write_code(struct wr *w, const char *text) {
    if (text[0] != '\0') wr_str(w, "`");
    wr_str(w, text);
    if (text[0] != '\0') wr_str(w, "`");
}

static void write_row(struct wr *w, const struct limit_row *l) {
    char value[32];
    (void)snprintf(value, sizeof value, "| %" PRId64 " ", l->value);
    wr_str(w, value);
    wr_str(w, l->unit);
    wr_str(w, " ");
    wr_str(w, l->what);
    wr_str(w, " | ");
    write_code(w, l->setting);
    wr_str(w, " | ");
    write_code(w, l->metric);
    wr_str(w, " | ");
    write_code(w, l->id);
    wr_str(w, " |\n");
}

void limits_doc_print(struct wr *w) {
    wr_str(w, INTRO);
    for (size_t g = 0; g < ARRAY_LEN(GROUPS); g++) {
        wr_str(w, "\n## ");
        wr_str(w, GROUPS[g].title);
        wr_str(w,
               "\n\n| limit | setting | counted by | in the code |\n| --- | --- | --- | --- |\n");
        for (size_t i = 0; i < N_LIMIT_ROWS; i++) {
            if (strcmp(LIMIT_ROWS[i].of, GROUPS[g].of) == 0) write_row(w, &LIMIT_ROWS[i]);
        }
    }
}
