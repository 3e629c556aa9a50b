/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/signed_key_priv.h"

#include <openssl/evp.h>

#include "base/rd.h"

enum { TAG_BIT_STRING = 0x03, TAG_SEQUENCE = 0x30 };
enum { INNER_MAX = 2 + SPKI_MAX, ALGORITHM_LEN = 5 };

/* The OBJECT IDENTIFIER inside the AlgorithmIdentifier of a signature (RFC 8410). */
static struct bytes algorithm_of(enum key_type signer) {
    static const uint8_t ed25519[ALGORITHM_LEN] = {0x06, 0x03, 0x2b, 0x65, 0x70};
    static const uint8_t ed448[ALGORITHM_LEN] = {0x06, 0x03, 0x2b, 0x65, 0x71};
    return bytes_of(signer == KEY_ED448 ? ed448 : ed25519, ALGORITHM_LEN);
}

/* Tag and length; content of up to 255 bytes, which is all that signed keys need. */
static void put_header(struct wr *w, uint8_t tag, size_t n) {
    wr_u8(w, tag);
    if (n >= 0x80) wr_u8(w, 0x81);
    wr_u8(w, (uint8_t)n);
}

static size_t size_with_header(size_t n) {
    return n + (n >= 0x80 ? 3 : 2);
}

static struct bytes take_element(struct rd *r, uint8_t tag) {
    if (rd_u8(r) != tag) rd_fail(r);
    size_t n = rd_u8(r);
    if (n == 0x81) {
        n = rd_u8(r);
        if (n < 0x80) rd_fail(r); /* DER: the shortest form of a length is the only one */
    } else if (n >= 0x80) {
        rd_fail(r);
    }
    return rd_take(r, n);
}

static enum err sign(EVP_PKEY *signer, struct bytes text, uint8_t *ret_sig, size_t *io_n) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool done = ctx != NULL &&
                      EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, signer, NULL) == 1 &&
                      EVP_DigestSign(ctx, ret_sig, io_n, text.p, text.n) == 1;
    EVP_MD_CTX_free(ctx);
    return done ? OK : E_CRYPTO;
}

enum err signed_key__write(EVP_PKEY *signer, enum key_type signer_type, const struct pubkey *k,
                           struct wr *w) {
    uint8_t inner_buf[INNER_MAX], sig[ED448_SIG_LEN];
    struct wr inner = wr_init(inner_buf, sizeof inner_buf);
    put_header(&inner, TAG_SEQUENCE, pubkey_spki_len(k->type));
    pubkey_write_spki(k, &inner);
    size_t n_sig = sizeof sig;
    const enum err e = sign(signer, wr_bytes(&inner), sig, &n_sig);
    if (e != OK) return e;
    put_header(w, TAG_SEQUENCE,
               wr_bytes(&inner).n + size_with_header(ALGORITHM_LEN) + size_with_header(1 + n_sig));
    wr_bytes_raw(w, wr_bytes(&inner));
    put_header(w, TAG_SEQUENCE, ALGORITHM_LEN);
    wr_bytes_raw(w, algorithm_of(signer_type));
    put_header(w, TAG_BIT_STRING, 1 + n_sig);
    wr_u8(w, 0); /* no unused bits */
    wr_bytes_raw(w, bytes_of(sig, n_sig));
    return wr_err(w);
}

enum err signed_key__sign(EVP_PKEY *signer, struct bytes text, struct wr *w) {
    uint8_t sig[ED448_SIG_LEN];
    size_t n = sizeof sig;
    const enum err e = sign(signer, text, sig, &n);
    if (e != OK) return e;
    wr_bytes_raw(w, bytes_of(sig, n));
    return wr_err(w);
}

enum err signed_key__read(struct bytes der, const struct pubkey *signer, struct pubkey *ret) {
    struct rd outer = rd_init(der);
    struct rd r = rd_init(take_element(&outer, TAG_SEQUENCE));
    if (rd_end(&outer) != OK) return E_SYNTAX;
    const struct bytes spki = take_element(&r, TAG_SEQUENCE);
    const struct bytes text = bytes_of(r.in.p, r.at);
    const struct bytes algorithm = take_element(&r, TAG_SEQUENCE);
    struct rd bits = rd_init(take_element(&r, TAG_BIT_STRING));
    if (rd_u8(&bits) != 0) rd_fail(&bits);
    const struct bytes sig = rd_tail(&bits);
    struct pubkey k;
    if (rd_end(&r) != OK || rd_err(&bits) != OK || pubkey_from_spki(spki, &k) != OK)
        return E_SYNTAX;
    if (!bytes_equal(algorithm, algorithm_of(signer->type))) return E_CERT;
    if (!pubkey_verify(signer, sig, text, (struct bytes){0})) return E_CERT;
    *ret = k;
    return OK;
}
