/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/settings/options_doc.h"

#include <string.h>

#include "app/settings/options.h"

static const char INTRO[] =
    "<!-- SPDX-License-Identifier: AGPL-3.0-or-later -->\n"
    "<!-- Made from src/app/settings/options.c by `make docs`: change that. -->\n"
    "# Settings\n\n"
    "The file is `smp-server.ini` in the configuration directory (`/etc/opt/simplex`, or\n"
    "`$SMP_SERVER_CFG_PATH`). `key = value` and `key: value` are both read; lines that begin with "
    "`#`\n"
    "or `;` are comments. A value that is not allowed stops the start, with file, line and what "
    "is\n"
    "allowed; an unknown key is warned of, and stops the start where it looks like one of [AUTH]. "
    "Of a "
    "key that is set twice the first counts. `smp-server start --print-config` prints what is in "
    "force.\n\n"
    "*Since*: `reference` means that the reference, simplexmq 6.5, has the setting too, with the "
    "same\n"
    "default unless the explanation says otherwise; `0.1.0` and later is the version of this "
    "program\n"
    "that brought it. *Change*: `SIGHUP` means that a new value is taken over on that signal\n"
    "(`systemctl reload`), without disconnecting anybody; `restart` that the server has to be\n"
    "restarted, which a reload says too. A wrong value at a reload changes nothing.\n";

/* Text into a cell: one line, and nothing that would end the cell. */
static void write_cell(struct wr *w, const char *text) {
    for (; *text != '\0'; text++) {
        const char one[2] = {*text == '\n' ? ' ' : *text, '\0'};
        if (*text == '|') wr_str(w, "\\");
        wr_str(w, one);
    }
}

static void write_default(struct wr *w, const struct opt *o, const struct conf *defaults) {
    char text[CONF_TEXT_MAX];
    struct wr value = wr_init(text, sizeof text - 1);
    opt_print(o, defaults, &value);
    text[wr_bytes(&value).n] = '\0';
    wr_str(w, text[0] != '\0' ? "`" : "none");
    write_cell(w, text);
    wr_str(w, text[0] != '\0' ? "`" : "");
}

static void write_allowed(struct wr *w, const struct opt *o) {
    char text[CONF_TEXT_MAX];
    struct wr allowed = wr_init(text, sizeof text - 1);
    opt_allowed(o, &allowed);
    text[wr_bytes(&allowed).n] = '\0';
    write_cell(w, text);
}

static void write_row(struct wr *w, const struct opt *o, const struct conf *defaults) {
    wr_str(w, "| `");
    wr_str(w, o->key);
    wr_str(w, "` | ");
    write_default(w, o, defaults);
    wr_str(w, " | ");
    write_allowed(w, o);
    wr_str(w, (o->flags & OPT_OURS) != 0 ? " | 0.1.0" : " | reference");
    wr_str(w, o->part != CONF_RESTART ? " | SIGHUP | " : " | restart | ");
    write_cell(w, o->help);
    if ((o->flags & OPT_NOT_YET) != 0) wr_str(w, " **This version does not use it.**");
    if ((o->flags & OPT_SECRET) != 0) {
        wr_str(w, o->type == OPT_SOCKS ? " User and password are never printed."
                                       : " Secret: never printed.");
    }
    wr_str(w, " |\n");
}

static void write_section(struct wr *w, const struct opt_section *s, const struct conf *defaults) {
    wr_str(w, "\n## [");
    wr_str(w, s->name);
    wr_str(w, "]\n\n");
    if (s->help != NULL) {
        wr_str(w, s->help);
        wr_str(w, "\n\n");
    }
    wr_str(w, "| key | default | allowed | since | change | explanation |\n"
              "| --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < N_OPTS; i++) {
        if (strcmp(OPTS[i].section, s->name) == 0) write_row(w, &OPTS[i], defaults);
    }
}

void options_doc_print(struct wr *w) {
    struct conf defaults;
    conf_init(&defaults);
    wr_str(w, INTRO);
    for (size_t i = 0; i < N_OPT_SECTIONS; i++) write_section(w, &OPT_SECTIONS[i], &defaults);
}
