/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fetch/handle.h"

#include <pthread.h>
#include <stdbool.h>

/* libcurl wants this once, before it is used by several threads. */
static void init_library(void) {
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

void fetch_init(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, init_library);
}

static bool set_protocols(CURL *h) {
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
#else
    return curl_easy_setopt(h, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS)) ==
           CURLE_OK;
#endif
}

CURL *fetch_handle_new(void) {
    fetch_init();
    CURL *h = curl_easy_init();
    if (h != NULL && curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
        curl_easy_setopt(h, CURLOPT_PROXY, "") == CURLE_OK && set_protocols(h))
        return h;
    curl_easy_cleanup(h);
    return NULL;
}
