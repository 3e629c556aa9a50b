/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ini.h -- reads the text of an ini file, line by line. Pure; any thread.
 *
 * The grammar is that of the reference's reader, so that its files mean the same here: blank lines
 * and lines that begin with '#' or ';' say nothing; "[SECTION]"; "key: value" or "key = value",
 * split at the first of the two. Spaces around each part are dropped, case matters, a value ends
 * with its line. Beyond that, the quotes that a common patcher of ini files (Go's ini library) puts
 * around values with '#', ';' or '`' are taken off.
 *
 * Not libinih: as packaged it splits lines at 199 bytes and takes the rest for another setting,
 * cuts values at " ;" and joins indented lines, none of which can be changed when it is used.
 * Links in [INFORMATION] and lists of onion hosts are longer than that. */
#pragma once

#include "base/err.h"

struct ini_line {
    unsigned number;                   /* from 1 */
    const char *section, *key, *value; /* borrowed; section is "" before the first one */
};

/* Called for each setting; anything but OK ends the parsing. */
typedef enum err ini_handler(void *ctx, const struct ini_line *line);

/* text is changed in place and must stay while handlers keep views of it. E_SYNTAX for a line that
 * is no setting, with *ret_line its number; else what the handler returned. */
MUST_USE enum err ini_parse(char *text, ini_handler *handler, void *ctx, unsigned *ret_line);
