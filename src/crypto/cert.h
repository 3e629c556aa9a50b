/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cert.h -- the server's certificates: loading, checking, the fingerprint that clients know, and
 * signing session keys.
 *
 * Chain: online certificate (leaf) + CA ("identity") certificate, Ed25519 or Ed448. Identity =
 * SHA-256 of the DER of the CA certificate (spec: wire, section 1; operations, sections 1 and 2).
 * Start-up only, but the two that sign may be called from any thread. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/crypto.h"
#include "crypto/key.h"

typedef struct ssl_ctx_st SSL_CTX;
struct server_cert;

enum cert_algorithm { CERT_ED25519, CERT_ED448 };

/* What was wrong, in words for the operator: names the file and what to do. Always terminated. */
struct cert_problem {
    char text[512];
    const char
        *path;  /* of the file that cannot be opened, borrowed from struct cert_files: E_SYS */
    int number; /* errno of that */
};

struct cert_files {
    const char *ca_crt, *server_crt, *server_key; /* paths, PEM; borrowed */
};

/* Loads the leaf, its key and the CA certificate, and checks: both parse, key types are Ed25519 or
 * Ed448, the leaf is signed by the CA, neither has expired at now_s, and the leaf belongs to the
 * key. That they begin later than now_s is no error: server_cert_begins_s() tells. ca.crt may go on
 * with the certificates above the CA: they become part of the chain. *ret owned by the caller:
 * server_cert_free(). E_SYS, E_CERT, E_KEY, E_NO_MEMORY, E_CRYPTO, with *ret_problem filled in. */
MUST_USE enum err server_cert_load(const struct cert_files *f, int64_t now_s,
                                   struct server_cert **ret, struct cert_problem *ret_problem);
void server_cert_free(struct server_cert *c); /* NULL is a no-op */

/* When all certificates of the chain have begun, Unix seconds: a clock before that is wrong, or
 * will be found to be. */
int64_t server_cert_begins_s(const struct server_cert *c);
/* When the first certificate of the chain expires, Unix seconds. */
int64_t server_cert_expires_s(const struct server_cert *c);
/* SHA256_LEN bytes, borrowed. */
const uint8_t *server_cert_fingerprint(const struct server_cert *c);
/* The chain in its SMP encoding: non-empty list of large strings (DER), leaf first; borrowed. */
struct bytes server_cert_chain(const struct server_cert *c);

/* The signed key of the server handshake: SEQUENCE { SEQUENCE { SPKI }, AlgorithmIdentifier, BIT
 * STRING }, written without a length prefix. E_CRYPTO, E_LIMIT. */
MUST_USE enum err server_cert_sign_session_key(const struct server_cert *c,
                                               const uint8_t pub[X25519_LEN], struct wr *w);

/* The signature of text by the online certificate's key, 64 or 114 bytes. E_CRYPTO, E_LIMIT. */
MUST_USE enum err server_cert_sign(const struct server_cert *c, struct bytes text, struct wr *w);

/* Puts chain and key into an SSL_CTX. E_CERT. */
MUST_USE enum err server_cert_use(const struct server_cert *c, SSL_CTX *ctx);

/* Verifies a signed key (as above, whole DER) against the leaf of a chain of DER certificates in
 * SMP encoding (list of large strings), and that the chain itself is sound at now_s: 1 self-signed,
 * or 2 to 4 with each signed by the next. *ret_key is the key inside. E_CERT, E_SYNTAX. */
MUST_USE enum err cert_chain_verify_key(struct bytes chain, struct bytes signed_key, int64_t now_s,
                                        struct pubkey *ret_key);

/* The same soundness check on what a TLS peer presented; leaf first. Used as the whole verification
 * of client certificates. */
struct stack_st_X509;
bool cert_stack_is_sound(struct stack_st_X509 *chain, int64_t now_s);
/* Are all of them within their dates? To tell why a chain is not sound. */
bool cert_stack_is_dated(struct stack_st_X509 *chain, int64_t now_s);

/* ---- creation (smp-server init) ---- */

enum { CERT_HOST_MAX = 64 }; /* X.509 allows a common name no more (RFC 5280, ub-common-name) */

struct cert_request {
    enum cert_algorithm algorithm;
    const char *host;     /* CN of the online certificate; borrowed */
    int64_t valid_from_s; /* Unix seconds */
};

/* PEM texts, NUL terminated, each owned: cert_bundle_done() wipes the keys and frees. */
struct cert_bundle {
    char *ca_key, *ca_crt, *server_key, *server_crt;
    uint8_t fingerprint[SHA256_LEN];
};

/* Makes a CA and an online certificate, of the form that the reference makes (operations, section
 * 2). E_LIMIT unless the host has 1 to CERT_HOST_MAX characters, E_CRYPTO. */
MUST_USE enum err cert_bundle_new(const struct cert_request *r, struct cert_bundle *ret);
/* Makes only an online certificate, signed by the CA of these PEM texts (smp-server cert); ca_key
 * and ca_crt of the bundle stay NULL. E_LIMIT as above; E_CERT, E_KEY when the texts cannot be read
 * or do not belong together; E_CRYPTO. */
MUST_USE enum err cert_bundle_renew(const struct cert_request *r, const char *ca_key,
                                    const char *ca_crt, struct cert_bundle *ret);
void cert_bundle_done(struct cert_bundle *b); /* a bundle of zeros is fine */

/* The identity of a CA certificate in PEM; what may follow it is not looked at. E_CERT, E_CRYPTO.
 */
MUST_USE enum err cert_read_fingerprint(const char *ca_crt, uint8_t ret[SHA256_LEN]);
/* Host and algorithm of an online certificate in PEM, to make its successor alike. E_CERT. */
MUST_USE enum err cert_read_request(const char *server_crt, enum cert_algorithm *ret_algorithm,
                                    char ret_host[CERT_HOST_MAX + 1]);
