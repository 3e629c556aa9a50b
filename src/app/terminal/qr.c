/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/terminal/qr.h"

#include <errno.h>
#include <stdio.h>

#include <qrencode.h>

enum { MARGIN = 4 }; /* modules around the code that readers need (ISO/IEC 18004) */

/* Outside the code all is light. */
static bool is_light(const QRcode *q, int x, int y) {
    if (x < 0 || y < 0 || x >= q->width || y >= q->width) return true;
    return (q->data[y * q->width + x] & 1) == 0;
}

/* The character of two modules, one above the other; light is the colour of the text. */
static const char *half_block(bool upper_light, bool lower_light) {
    if (upper_light) return lower_light ? "\u2588" : "\u2580";
    return lower_light ? "\u2584" : " ";
}

enum err qr_print(const char *text, bool in_colour) {
    QRcode *q = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);
    if (q == NULL) return errno == ERANGE ? E_LIMIT : E_NO_MEMORY;
    const int end = q->width + MARGIN;
    for (int y = -MARGIN; y < end; y += 2) {
        if (in_colour) printf("\x1b[97;40m"); /* bright white on black */
        for (int x = -MARGIN; x < end; x++) {
            printf("%s", half_block(is_light(q, x, y), y + 1 >= end || is_light(q, x, y + 1)));
        }
        printf("%s\n", in_colour ? "\x1b[0m" : "");
    }
    QRcode_free(q);
    return OK;
}
