/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* conf_priv.h -- a value of a setting as text, for reading and printing. Private to this folder.
 * Pure. */
#pragma once

#include "app/settings/conf.h"
#include "app/settings/options.h"

enum {
    CONF_VALUE_TEXT_MAX = 2048
}; /* bytes; the longest printed value is a full list of addresses */

/* Terminated. */
struct conf_text {
    char s[CONF_VALUE_TEXT_MAX];
};

/* What it has in c; secrets too: to be wiped. Empty: none. */
struct conf_text conf__printed(const struct opt *o, const struct conf *c);
/* What it may have, in words. */
struct conf_text conf__allowed(const struct opt *o);
/* A value as people may see it. What is longer than any value is cut off. */
struct conf_text conf__shown(const struct opt *o, const char *value);
