/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* assets.h -- the files of web/ as they are in the program: tools/embed-web makes them at build
 * time. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct web_asset {
    const char *path; /* "pages/index.html", "media/style.0123abcd.css"; sorted */
    const uint8_t *p;
    size_t n;
};
extern const struct web_asset WEB_ASSETS[];
extern const size_t N_WEB_ASSETS;
