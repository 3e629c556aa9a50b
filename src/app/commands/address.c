/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/commands/address.h"

#include <assert.h>
#include <stdio.h>

#include "app/files/version.h"
#include "crypto/base64.h"
#include "crypto/crypto.h"

void address_write(const struct address *a, char ret[ADDRESS_TEXT_MAX]) {
    char fingerprint[BASE64_LEN(SHA256_LEN) + 1], port[8] = "";
    assert(a->fingerprint.n == SHA256_LEN);
    base64url_encode(a->fingerprint, fingerprint);
    const bool has_password = a->password != NULL && *a->password != '\0';
    if (a->port != SMP_DEFAULT_PORT) (void)snprintf(port, sizeof port, ":%u", a->port);
    const int n =
        snprintf(ret, ADDRESS_TEXT_MAX, "smp://%s%s%s@%s%s", fingerprint, has_password ? ":" : "",
                 has_password ? a->password : "", a->hosts, port);
    assert(n > 0 && n < ADDRESS_TEXT_MAX);
}

void address_print_bare(const struct address *a) {
    char text[ADDRESS_TEXT_MAX];
    address_write(a, text);
    printf("%s\n", text);
    crypto_wipe(text, sizeof text);
}

void address_print(const struct address *a) {
    char fingerprint[BASE64_LEN(SHA256_LEN) + 1], text[ADDRESS_TEXT_MAX];
    base64url_encode(a->fingerprint, fingerprint);
    address_write(a, text);
    printf("SMP server v%s / %s\n", SMP_SERVER_VERSION, SMP_SERVER_COMMIT);
    printf("Fingerprint: %s\n", fingerprint);
    printf("Server address: %s\n", text);
    crypto_wipe(text, sizeof text);
}
