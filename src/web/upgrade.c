/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/upgrade.h"

#include <string.h>

#include "base/attr.h"
#include "base/rd.h"
#include "base/wr.h"
#include "crypto/base64.h"
#include "crypto/crypto.h"
#include "web/accept.h"

enum { SWITCHING = 101, BAD = 400, WRONG_VERSION = 426, NO_MEMORY = 500 };
enum { KEY_LEN = 16, KEY_TEXT_LEN = 24, CHALLENGE_TEXT_LEN = 43 };

bool upgrade_is_wanted(const struct http_request *r) {
    return accept_has_word(r->text[HTTP_UPGRADE], "websocket");
}

/* Between the two alphabets of base64, in its place. */
static void change_alphabet(char *text, const char from[2], const char to[2]) {
    for (; *text != '\0'; text++) {
        if (*text == from[0]) {
            *text = to[0];
        } else if (*text == from[1]) {
            *text = to[1];
        }
    }
}

static bool is_key(struct bytes key) {
    char text[KEY_TEXT_LEN + 1];
    uint8_t raw[KEY_LEN];
    size_t n = 0;
    if (key.n != KEY_TEXT_LEN || memchr(key.p, '-', key.n) != NULL ||
        memchr(key.p, '_', key.n) != NULL)
        return false;
    memcpy(text, key.p, key.n);
    text[key.n] = '\0';
    change_alphabet(text, "+/", "-_");
    return base64url_decode(bytes_str(text), raw, sizeof raw, &n) == OK && n == sizeof raw;
}

static bool make_accept(struct bytes key, char ret[UPGRADE_ACCEPT_LEN + 1]) {
    static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[KEY_TEXT_LEN + sizeof GUID - 1], hash[SHA1_LEN];
    struct wr w = wr_init(text, sizeof text);
    wr_bytes_raw(&w, key);
    wr_str(&w, GUID);
    if (crypto_sha1(wr_bytes(&w), hash) != OK) return false;
    base64url_encode(bytes_of(hash, sizeof hash), ret);
    change_alphabet(ret, "-_", "+/");
    return true;
}

/* The first one counts. What is no challenge is none: the client misses the proof then. */
static void read_challenge(struct bytes query, struct upgrade *u) {
    static const char NAME[] = "challenge=";
    struct rd r = rd_init(query);
    struct bytes pair = {0};
    size_t n = 0;
    do {
        pair = rd_part(&r, '&');
    } while (!bytes_begin(pair, NAME) && rd_left(&r) != 0);
    u->n_challenge = 0;
    if (!bytes_begin(pair, NAME) || pair.n != sizeof NAME - 1 + CHALLENGE_TEXT_LEN) return;
    const struct bytes text = bytes_of(pair.p + sizeof NAME - 1, CHALLENGE_TEXT_LEN);
    if (base64url_decode(text, u->challenge, sizeof u->challenge, &n) == OK &&
        n == sizeof u->challenge)
        u->n_challenge = UPGRADE_CHALLENGE_LEN;
}

unsigned upgrade_check(const struct http_request *r, struct upgrade *ret) {
    if (r->method != WEB_GET || r->is_old || !accept_has_word(r->text[HTTP_CONNECTION], "upgrade"))
        return BAD;
    if (!bytes_equal(r->text[HTTP_WS_VERSION], bytes_str("13"))) return WRONG_VERSION;
    if (!is_key(r->text[HTTP_WS_KEY])) return BAD;
    read_challenge(r->query, ret);
    return make_accept(r->text[HTTP_WS_KEY], ret->accept) ? SWITCHING : NO_MEMORY;
}
