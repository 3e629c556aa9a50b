/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "recorded.h"

#include "base/id.h"
#include "crypto/crypto.h"

static void assert_hex(const uint8_t *got, size_t n, const char *hex) {
    struct blob want = blob_of_hex(hex);
    assert_int_equal(n, want.n);
    assert_memory_equal(got, want.p, n);
    blob_freep(&want);
}

/* FIPS 180-4 and FIPS 202 examples: "abc" and the empty message. */
static void hashes_are_the_standard_ones(void **state) {
    (void)state;
    uint8_t h[SHA512_LEN];
    assert_int_equal(crypto_sha1(bytes_str("abc"), h), OK);
    assert_hex(h, SHA1_LEN, "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_int_equal(crypto_sha256(bytes_str("abc"), h), OK);
    assert_hex(h, SHA256_LEN, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(crypto_sha256((struct bytes){0}, h), OK);
    assert_hex(h, SHA256_LEN, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(crypto_sha3_384(bytes_str("abc"), h), OK);
    assert_hex(h, SHA384_LEN,
               "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b2"
               "98d88cea927ac7f539f1edf228376d25");
}

static void sha512_does_not_see_where_the_text_is_cut(void **state) {
    (void)state;
    for (size_t cut = 0; cut <= 3; cut++) {
        uint8_t h[SHA512_LEN];
        const struct bytes a = bytes_of("abc", cut), b = bytes_of(&"abc"[cut], 3 - cut);
        assert_int_equal(crypto_sha512_2(a, b, h), OK);
        assert_hex(h, sizeof h,
                   "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                   "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
    }
    uint8_t h[SHA512_LEN];
    assert_int_equal(crypto_sha512_2((struct bytes){0}, (struct bytes){0}, h), OK);
    assert_hex(h, sizeof h,
               "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
               "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e");
}

static struct bytes counting(uint8_t *buf, uint8_t from, size_t n) {
    for (size_t i = 0; i < n; i++) buf[i] = (uint8_t)(from + i);
    return bytes_of(buf, n);
}

/* The inputs of RFC 5869, A.1 to A.3, with SHA-512; the outputs were computed with Python's hmac.
 */
static void poly1305_is_the_standard_one(void **state) {
    (void)state;
    uint8_t key[POLY1305_KEY_LEN], tag[POLY1305_LEN]; /* RFC 8439, section 2.5.2 */
    hex_into("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b", key, sizeof key);
    crypto_poly1305(key, bytes_str("Cryptographic Forum Research Group"), tag);
    assert_hex(tag, sizeof tag, "a8061dc1305136c6c22b8baf0c0127a9");
}

static void hkdf_agrees_with_an_independent_one(void **state) {
    (void)state;
    uint8_t salt[80], ikm[80], info[80], out[150];
    memset(ikm, 0x0b, 22);
    const struct bytes short_ikm = bytes_of(ikm, 22);
    assert_int_equal(crypto_hkdf(counting(salt, 0, 13), short_ikm, counting(info, 0xf0, 10), out,
                                 42),
                     OK);
    assert_hex(out, 42,
               "832390086cda71fb47625bb5ceb168e4c8e26a1a16ed34d9fc7fe92c14815793"
               "38da362cb8d9f925d7cb");
    assert_int_equal(crypto_hkdf((struct bytes){0}, short_ikm, (struct bytes){0}, out, 42), OK);
    assert_hex(out, 42,
               "f5fa02b18298a72a8c23898a8703472c6eb179dc204c03425c970e3b164bf90f"
               "ff22d04836d0e2343bac");
    assert_int_equal(crypto_hkdf(counting(salt, 0x60, 80), counting(ikm, 0, 80),
                                 counting(info, 0xb0, 80), out, 150),
                     OK);
    assert_hex(out, 150,
               "ce6c97192805b346e6161e821ed165673b84f400a2b514b2fe23d84cd189ddf1"
               "b695b48cbd1c8388441137b3ce28f16aa64ba33ba466b24df6cfcb021ecff235"
               "f6a2056ce3af1de44d572097a8505d9e7a9354e5796284151c2dd39c39b3cd3d"
               "8e50fcc383ebdec37476e03b721ef5efef873c281f018b8ca42e1245b2271f87"
               "1ba6585ee6b7c47ddf0e1e64685e87eab3e2b4df5587");
}

static void hkdf_has_the_limit_of_its_standard(void **state) {
    (void)state;
    enum { LIMIT = 255 * SHA512_LEN };
    uint8_t *out = malloc(LIMIT), h[SHA256_LEN];
    assert_non_null(out);
    const struct bytes none = {0};
    assert_int_equal(crypto_hkdf(none, bytes_str("x"), bytes_str("y"), out, LIMIT + 1), E_CRYPTO);
    assert_int_equal(crypto_hkdf(none, bytes_str("x"), bytes_str("y"), out, LIMIT), OK);
    assert_int_equal(crypto_sha256(bytes_of(out, LIMIT), h), OK);
    assert_hex(h, sizeof h, "af1d3cdc2c1890397c03318c6de76ed84a9c167e2693e3343f144c7130ad33fd");
    assert_int_equal(crypto_hkdf(none, none, none, out, 0), OK);
    free(out);
}

/* The example of the paper on SipHash, appendix A. */
static void siphash_is_the_published_one(void **state) {
    (void)state;
    uint8_t key[SIPHASH_KEY_LEN], m[15];
    (void)counting(key, 0, sizeof key);
    assert_true(crypto_siphash(key, counting(m, 0, sizeof m)) == UINT64_C(0xa129ca6149be45e5));
}

static void chain_keys_are_the_recorded_ones(void **state) {
    (void)state;
    json_t *root = vectors_load("primitives.json");
    const json_t *v = vectors_primitive(root, "chain init");
    uint8_t session[32], point[32], want[88], got[88];
    hex_member(v, "sessionIdentifier", session, sizeof session);
    hex_member(v, "sharedDhPoint", point, sizeof point);
    hex_member(v, "serverSends", want, 32);
    hex_member(v, "serverReceives", want + 32, 32);
    assert_int_equal(crypto_hkdf(bytes_of(session, 32), bytes_of(point, 32),
                                 bytes_str("SimpleXSbChainInit"), got, 64),
                     OK);
    assert_memory_equal(got, want, 64);
    v = vectors_primitive(root, "chain step");
    hex_member(v, "chainKey", point, 32);
    hex_member(v, "nextChainKey", want, 32);
    hex_member(v, "blockKey", want + 32, 32);
    hex_member(v, "nonce", want + 64, 24);
    assert_int_equal(crypto_hkdf((struct bytes){0}, bytes_of(point, 32),
                                 bytes_str("SimpleXSbChain"), got, sizeof got),
                     OK);
    assert_memory_equal(got, want, sizeof want);
    json_decref(root);
}

/* The id is the start of the SHA3-384 of the correlation id. */
static void client_given_ids_are_the_recorded_ones(void **state) {
    (void)state;
    json_t *root = vectors_load("primitives.json");
    const json_t *v = vectors_primitive(root, "client-given senderId");
    uint8_t corr_id[24], want[ID_LEN], h[SHA384_LEN];
    hex_member(v, "corrId", corr_id, sizeof corr_id);
    hex_member(v, "senderId", want, sizeof want);
    assert_int_equal(crypto_sha3_384(bytes_of(corr_id, sizeof corr_id), h), OK);
    assert_memory_equal(h, want, sizeof want);
    json_decref(root);
}

static void secrets_are_compared_by_length_and_content(void **state) {
    (void)state;
    assert_true(crypto_equal(bytes_str("abc"), bytes_str("abc")));
    assert_false(crypto_equal(bytes_str("abc"), bytes_str("abd")));
    assert_false(crypto_equal(bytes_str("abc"), bytes_str("ab")));
    assert_true(crypto_equal((struct bytes){0}, bytes_str("")));
}

static void wiped_memory_is_zero(void **state) {
    (void)state;
    uint8_t secret[8] = "secret", zeros[8] = {0};
    crypto_wipe(secret, sizeof secret);
    assert_memory_equal(secret, zeros, sizeof zeros);
    crypto_wipe(secret, 0);
}

static int setup(void **state) {
    (void)state;
    return crypto_init() == OK && crypto_init() == OK ? 0 : -1; /* twice does no harm */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_the_standard_ones),
        cmocka_unit_test(sha512_does_not_see_where_the_text_is_cut),
        cmocka_unit_test(poly1305_is_the_standard_one),
        cmocka_unit_test(hkdf_agrees_with_an_independent_one),
        cmocka_unit_test(hkdf_has_the_limit_of_its_standard),
        cmocka_unit_test(siphash_is_the_published_one),
        cmocka_unit_test(chain_keys_are_the_recorded_ones),
        cmocka_unit_test(client_given_ids_are_the_recorded_ones),
        cmocka_unit_test(secrets_are_compared_by_length_and_content),
        cmocka_unit_test(wiped_memory_is_zero),
    };
    return cmocka_run_group_tests_name("crypto", tests, setup, NULL);
}
