/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* accept.h -- what a browser prefers: the lists of Accept-Language, Accept-Encoding and
 * If-None-Match (RFC 9110, sections 12.5 and 13.1.2), and of other fields. Pure; any thread. */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

enum web_lang { WEB_EN, WEB_FR, WEB_JA, N_WEB_LANGS };
enum web_coding { WEB_PLAIN, WEB_GZIP, WEB_BROTLI, N_WEB_CODINGS };

extern const char *const WEB_LANG_NAMES[N_WEB_LANGS]; /* "en", ...: as in Content-Language */

/* The one that is wanted most, the first of equals; English where none is. */
enum web_lang accept_language(struct bytes value);
/* How much each coding is wanted, 0 to 1000: 0 is refused. Without the header all but plain are 0.
 */
void accept_coding(struct bytes value, unsigned ret_weights[N_WEB_CODINGS]);
/* Is this entity tag, without its quotes, on the list, or is that `*`? */
bool accept_has_tag(struct bytes value, struct bytes tag);
/* Is this word, in any letters, in a list with commas? */
bool accept_has_word(struct bytes list, const char *word);
