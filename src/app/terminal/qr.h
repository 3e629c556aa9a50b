/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* qr.h -- a QR code as text for the terminal. Any thread; prints to stdout. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* Two modules a character, by UTF-8 half blocks, with a light margin. in_colour: by the escape
 * sequences of terminals, so that it is dark on light whatever the terminal's colours are; without
 * them it is right where the text is light on dark. E_LIMIT when the text is too long, E_NO_MEMORY.
 */
MUST_USE enum err qr_print(const char *text, bool in_colour);
