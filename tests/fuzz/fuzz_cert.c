/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What a service or a relay shows of itself: a chain of certificates (DER) and a key signed by the
 * first. Input: one byte, the length of the chain in two, the chain, the signed key. What is
 * accepted is accepted again, with the same key, and never after its time; and PEM, as in the files
 * of an operator. */
#include "fuzz_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/rd.h"
#include "crypto/cert.h"

enum { NOW_S = 1800000000 };
static const int64_t LONG_AFTER_S =
    INT64_C(260000000000); /* in the year 10209: X.509 ends before */

static void check_chain(struct bytes in) {
    struct rd r = rd_init(in);
    const struct bytes chain = rd_large(&r);
    const struct bytes signed_key = rd_tail(&r);
    struct pubkey key, again;
    if (r.err != OK) return;
    const enum err e = cert_chain_verify_key(chain, signed_key, NOW_S, &key);
    assert(e == OK || e == E_CERT || e == E_SYNTAX || e == E_KEY);
    if (e != OK) return;
    assert(cert_chain_verify_key(chain, signed_key, NOW_S, &again) == OK);
    assert(memcmp(&key, &again, sizeof key) == 0);
    assert(cert_chain_verify_key(chain, signed_key, LONG_AFTER_S, &again) != OK);
}

static void check_pem(struct bytes in) {
    uint8_t fingerprint[SHA256_LEN];
    enum cert_algorithm algorithm;
    char host[CERT_HOST_MAX + 1];
    char *text = malloc(in.n + 1);
    if (text == NULL) return;
    if (in.n != 0) memcpy(text, in.p, in.n);
    text[in.n] = '\0';
    (void)!cert_read_fingerprint(text, fingerprint);
    if (cert_read_request(text, &algorithm, host) == OK) assert(strlen(host) <= CERT_HOST_MAX);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_chain(bytes_of(data, size));
    check_pem(bytes_of(data, size));
    return 0;
}
