/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Answers of a SOCKS proxy, and the setting that names one. */
#include <string.h>

#include "fuzz_view.h"

#include "net/socks.h"

/* Reading on as told ends: each step needs more than there was, and never more than the buffer. */
static void check_reply(const uint8_t *data, size_t size) {
    size_t need = 0, have = 0;
    while (socks_read_connect(bytes_of(data, have), &need) == SOCKS_MORE) {
        assert(need > have && need <= SOCKS_IN_MAX);
        if (need > size) return;
        have = need;
    }
    assert(have <= size);
}

static void check_setting(const uint8_t *data, size_t size) {
    char text[512];
    if (size >= sizeof text) return;
    memcpy(text, data, size);
    text[size] = '\0';
    struct socks_proxy p;
    if (socks_proxy_parse(text, &p) != OK) return;
    assert(p.port != 0 && strlen(p.host) < sizeof p.host && host_kind_of(p.host) != HOST_BAD);
    assert(strlen(p.user) < sizeof p.user && strlen(p.password) < sizeof p.password);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_reply(data, size);
    check_setting(data, size);
    return 0;
}
