/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Addresses of servers, up to the first NUL. */
#include "fuzz_view.h"

#include <stdlib.h>
#include <string.h>

#include "client/smp_uri.h"

static void check_uri(const struct smp_uri *u) {
    assert(u->port != 0);
    assert(u->n_hosts >= 1 && u->n_hosts <= SMP_URI_HOSTS_MAX);
    assert(strlen(u->password) < sizeof u->password);
    for (unsigned i = 0; i < u->n_hosts; i++) assert(host_kind_of(u->hosts[i]) != HOST_BAD);
    assert(smp_uri_host(u, true) != NULL || smp_uri_host(u, false) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (text == NULL) return 0;
    if (size != 0) memcpy(text, data, size);
    text[size] = '\0';
    struct smp_uri u;
    const char *why = NULL;
    if (smp_uri_parse(text, &u, &why) == OK) {
        assert(why == NULL);
        check_uri(&u);
    } else {
        assert(why != NULL && *why != '\0');
    }
    free(text);
    return 0;
}
