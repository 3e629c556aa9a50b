/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "names/endpoint.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#include "crypto/crypto.h"

static bool is_printable(const char *s) {
    for (; *s != '\0'; s++) {
        if (*s <= ' ' || *s > '~') return false;
    }
    return true;
}

/* Two slashes and then a host: libcurl makes do with one, or three. */
static bool is_absolute(const char *url) {
    const char *colon = strchr(url, ':');
    return colon != NULL && strncmp(colon, "://", 3) == 0 && colon[3] != '/';
}

/* Also an empty one, of which libcurl says nothing. */
static bool has_user(const char *url) {
    const char *host = strstr(url, "://");
    return host != NULL && memchr(host + 3, '@', strcspn(host + 3, "/?#")) != NULL;
}

static bool part_is_one_of(CURLU *u, CURLUPart part, const char *const *list) {
    char *text = NULL;
    bool is = false;
    if (curl_url_get(u, part, &text, 0) != CURLUE_OK) return false;
    for (; *list != NULL; list++) is = is || strcasecmp(text, *list) == 0;
    curl_free(text);
    return is;
}

/* NULL: nothing is wrong with it. */
static const char *why_bad_url(CURLU *u, const char *url) {
    static const char *const SCHEMES[] = {"http", "https", NULL};
    if (!is_printable(url)) return "it has characters that a URL cannot have";
    if (curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK || !is_absolute(url))
        return "it is no absolute URL";
    if (!part_is_one_of(u, CURLUPART_SCHEME, SCHEMES)) return "it is not http or https";
    if (has_user(url)) return "it has a user or a password: they go into resolver_auth";
    if (strpbrk(url, "?#") != NULL) return "it has a query or a fragment";
    return NULL;
}

static bool is_private(CURLU *u) {
    static const char *const HTTPS[] = {"https", NULL};
    static const char *const HERE[] = {"localhost", "127.0.0.1", "[::1]", NULL};
    return part_is_one_of(u, CURLUPART_SCHEME, HTTPS) || part_is_one_of(u, CURLUPART_HOST, HERE);
}

static const char *parse_auth(const char *auth, struct endpoint *e) {
    const size_t n_scheme = strcspn(auth, " ");
    if (n_scheme == 6 && strncasecmp(auth, "bearer", 6) == 0) {
        e->auth = ENDPOINT_BEARER;
    } else if (n_scheme == 5 && strncasecmp(auth, "basic", 5) == 0) {
        e->auth = ENDPOINT_BASIC;
    } else {
        return "it begins with neither bearer nor basic";
    }
    const char *secret = auth + n_scheme + strspn(auth + n_scheme, " ");
    const char *colon = strchr(secret, ':');
    if (*secret == '\0') return "nothing follows the scheme";
    if (!is_printable(secret)) return "it has a space or a character that is not printable ASCII";
    if (e->auth == ENDPOINT_BASIC && (colon == NULL || colon == secret))
        return "basic is not followed by USER:PASSWORD";
    if (strlen(secret) >= sizeof e->secret) return "it is too long";
    memcpy(e->secret, secret, strlen(secret) + 1);
    return NULL;
}

static enum err answer(const char *why, const char **ret_why) {
    if (why == NULL) return OK;
    *ret_why = why;
    return E_SYNTAX;
}

static const char *set_url(CURLU *u, const char *url, struct endpoint *e) {
    const char *why = why_bad_url(u, url);
    size_t n = strlen(url);
    if (why != NULL) return why;
    while (n > 0 && url[n - 1] == '/') n--;
    if (n >= sizeof e->url) return "it is too long";
    memcpy(e->url, url, n);
    e->url[n] = '\0';
    e->is_private = is_private(u);
    return NULL;
}

enum err endpoint_set_url(struct endpoint *e, const char *url, const char **ret_why) {
    *e = (struct endpoint){.auth = ENDPOINT_OPEN};
    CURLU *u = curl_url();
    const char *why = u != NULL ? set_url(u, url, e) : "out of memory";
    curl_url_cleanup(u);
    return answer(why, ret_why);
}

enum err endpoint_set_auth(struct endpoint *e, const char *auth, const char **ret_why) {
    const char *why = parse_auth(auth, e);
    if (why == NULL && !e->is_private)
        why = "it would be sent unencrypted: use https, or a resolver on localhost";
    return answer(why, ret_why);
}

void endpoint_wipe(struct endpoint *e) {
    crypto_wipe(e, sizeof *e);
}
