/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/cert.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/rd.h"
#include "crypto/signed_key_priv.h"
#include "crypto/x509_priv.h"

enum { MAX_CHAIN = 4 };

static bool is_dated(const X509 *c, int64_t now_s) {
    return x509__has_begun(c, now_s) && !x509__has_expired(c, now_s);
}

/* In its dates, and nothing in it that we cannot read or must not ignore. */
static bool is_acceptable(X509 *c, int64_t now_s) {
    return is_dated(c, now_s) &&
           (X509_get_extension_flags(c) & (EXFLAG_INVALID | EXFLAG_CRITICAL)) == 0;
}

/* Between leaf and root stand only certificates that say they may issue. The root need not: it is
 * the anchor, and the certificates that the reference makes for services have no extensions at all.
 */
static bool may_stand_between(X509 *c, int n_below) {
    const long path_len = X509_get_pathlen(c);
    return X509_check_ca(c) == 1 && (path_len < 0 || n_below <= path_len);
}

static bool is_sound_root(X509 *c) {
    if (X509_NAME_cmp(X509_get_subject_name(c), X509_get_issuer_name(c)) != 0) return true;
    return X509_self_signed(c, 1) == 1 && x509__is_strong(c, X509_get0_pubkey(c));
}

static bool is_sound(struct stack_st_X509 *chain, int64_t now_s) {
    const int n = sk_X509_num(chain);
    if (n < 1 || n > MAX_CHAIN) return false;
    for (int i = 0; i < n; i++) {
        X509 *c = sk_X509_value(chain, i);
        if (!is_acceptable(c, now_s)) return false;
        if (i > 0 && i < n - 1 && !may_stand_between(c, i - 1)) return false;
        if (i < n - 1 && !x509__is_signed_by(c, sk_X509_value(chain, i + 1))) return false;
    }
    X509 *root = sk_X509_value(chain, n - 1);
    if (n == 1 && X509_self_signed(root, 0) != 1) return false;
    return is_sound_root(root);
}

bool cert_stack_is_sound(struct stack_st_X509 *chain, int64_t now_s) {
    ERR_set_mark();
    const bool sound = is_sound(chain, now_s);
    ERR_pop_to_mark(); /* a refused peer must not look like an error of the next TLS call */
    return sound;
}

bool cert_stack_is_dated(struct stack_st_X509 *chain, int64_t now_s) {
    for (int i = 0; i < sk_X509_num(chain); i++) {
        if (!is_dated(sk_X509_value(chain, i), now_s)) return false;
    }
    return true;
}

/* The one certificate that is all of der, or NULL. */
static X509 *parse(struct bytes der) {
    const unsigned char *at = der.p;
    CLEANUP(x509__freep) X509 *c = d2i_X509(NULL, &at, (long)der.n);
    return c != NULL && at == der.p + der.n ? STEAL(c) : NULL;
}

static enum err decode_chain(struct bytes chain, struct stack_st_X509 *certs) {
    struct rd r = rd_init(chain);
    const unsigned n = rd_list(&r);
    if (n > MAX_CHAIN) return E_CERT;
    for (unsigned i = 0; i < n && rd_err(&r) == OK; i++) {
        const struct bytes der = rd_large(&r);
        X509 *c = der.n != 0 ? parse(der) : NULL;
        if (c == NULL) return E_SYNTAX;
        const enum err e = x509__push(certs, c);
        if (e != OK) return e;
    }
    return rd_end(&r);
}

static enum err verify_key(struct bytes chain, struct bytes signed_key, int64_t now_s,
                           struct pubkey *ret_key) {
    CLEANUP(x509__stack_freep) struct stack_st_X509 *certs = sk_X509_new_null();
    if (certs == NULL) return E_NO_MEMORY;
    enum err e = decode_chain(chain, certs);
    if (e != OK) return e;
    if (!is_sound(certs, now_s)) return E_CERT;
    struct pubkey leaf_key;
    e = x509__pubkey(sk_X509_value(certs, 0), &leaf_key);
    if (e != OK) return e;
    return signed_key__read(signed_key, &leaf_key, ret_key);
}

enum err cert_chain_verify_key(struct bytes chain, struct bytes signed_key, int64_t now_s,
                               struct pubkey *ret_key) {
    ERR_set_mark();
    const enum err e = verify_key(chain, signed_key, now_s, ret_key);
    ERR_pop_to_mark();
    return e;
}
