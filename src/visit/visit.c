/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "visit/visit.h"

#include <curl/curl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "fetch/handle.h"

/* ---- what comes ---- */

static size_t on_body(char *p, size_t size, size_t n, void *ctx) {
    struct visit *v = ctx;
    const size_t len = size * n; /* size is 1 */
    const size_t room = VISIT_BODY_MAX - v->n_body;
    if (len > room) v->is_whole = false;
    memcpy(v->body + v->n_body, p, len < room ? len : room);
    v->n_body += len < room ? len : room;
    return len;
}

/* What is after "name:" in a line of a head, without space around it; anybody may have sent it, and
 * a terminal is to be safe from it. */
static void take_field(const char *line, size_t n, const char *name, char ret[VISIT_FIELD_MAX]) {
    const size_t n_name = strlen(name);
    if (n <= n_name || line[n_name] != ':' || strncasecmp(line, name, n_name) != 0) return;
    size_t at = n_name + 1, to = 0;
    while (at < n && (line[at] == ' ' || line[at] == '\t')) at++;
    while (n > at && strchr(" \t\r\n", line[n - 1]) != NULL) n--;
    for (; at < n && to < VISIT_FIELD_MAX - 1; at++)
        ret[to++] = line[at] >= ' ' && line[at] < 0x7f ? line[at] : '?';
    ret[to] = '\0';
}

static size_t on_head(char *p, size_t size, size_t n, void *ctx) {
    struct visit *v = ctx;
    take_field(p, size * n, "location", v->location);
    take_field(p, size * n, "content-language", v->language);
    return size * n;
}

/* Libcurl 8 forgets whom it was connected to when TLS fails. */
static curl_socket_t on_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to) {
    struct visit *v = ctx;
    (void)purpose;
    if (getnameinfo(&to->addr, to->addrlen, v->tried, sizeof v->tried, NULL, 0, NI_NUMERICHOST) !=
        0)
        v->tried[0] = '\0';
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* ---- what is said of it ---- */

/* "Expire date:Feb 27 16:09:39 2027 GMT" of the first certificate. */
static int64_t read_date(const struct curl_certinfo *certs, const char *name) {
    const size_t n = strlen(name);
    if (certs->num_of_certs == 0) return 0;
    for (const struct curl_slist *s = certs->certinfo[0]; s != NULL; s = s->next) {
        if (strncmp(s->data, name, n) != 0 || s->data[n] != ':') continue;
        const time_t t = curl_getdate(s->data + n + 1, NULL);
        return t > 0 ? (int64_t)t : 0;
    }
    return 0;
}

static void take_facts(CURL *h, struct visit *v) {
    long status = 0;
    const char *address = NULL;
    struct curl_certinfo *certs = NULL;
    (void)curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
    v->status = status > 0 && status < 1000 ? (unsigned)status : 0;
    if (curl_easy_getinfo(h, CURLINFO_PRIMARY_IP, &address) == CURLE_OK && address != NULL)
        (void)snprintf(v->address, sizeof v->address, "%s", address);
    if (curl_easy_getinfo(h, CURLINFO_CERTINFO, &certs) == CURLE_OK && certs != NULL) {
        v->cert_begins_s = read_date(certs, "Start date");
        v->cert_expires_s = read_date(certs, "Expire date");
    }
}

static enum visit_end end_of(CURLcode code, const struct visit *v) {
    switch (code) {
    case CURLE_OK:
        return VISIT_ANSWER;
    case CURLE_COULDNT_RESOLVE_HOST:
        return VISIT_NO_HOST;
    case CURLE_COULDNT_CONNECT:
        return VISIT_NO_CONNECT;
    case CURLE_OPERATION_TIMEDOUT:
        return v->address[0] != '\0' ? VISIT_LATE : VISIT_NO_CONNECT;
    case CURLE_PEER_FAILED_VERIFICATION:
        return VISIT_BAD_CERT;
    case CURLE_SSL_CONNECT_ERROR:
        return VISIT_NO_TLS;
    default:
        return VISIT_BROKEN;
    }
}

/* ---- asking ---- */

static bool set_trust(CURL *h, bool trusts_all) {
    const char *file = getenv("SSL_CERT_FILE");
    if (file != NULL && *file != '\0' && curl_easy_setopt(h, CURLOPT_CAINFO, file) != CURLE_OK)
        return false;
    return curl_easy_setopt(h, CURLOPT_CERTINFO, 1L) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, trusts_all ? 0L : 1L) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, trusts_all ? 0L : 2L) == CURLE_OK;
}

static bool set_up(CURL *h, const struct visit_opts *o, struct curl_slist *headers,
                   struct curl_slist *connect_to, struct visit *v) {
    return curl_easy_setopt(h, CURLOPT_URL, o->url) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_CONNECT_TO, connect_to) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)o->timeout_ms) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)o->timeout_ms) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_ERRORBUFFER, v->why) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, on_socket) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_OPENSOCKETDATA, v) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_WRITEDATA, v) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_head) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_HEADERDATA, v) == CURLE_OK && set_trust(h, o->trusts_all);
}

/* "Name: value", or nothing where value is NULL. False: out of memory. */
static bool append(struct curl_slist **list, const char *before, const char *value) {
    char text[VISIT_FIELD_MAX];
    if (value == NULL) return true;
    const int n = snprintf(text, sizeof text, "%s%s", before, value);
    struct curl_slist *longer =
        n > 0 && (size_t)n < sizeof text ? curl_slist_append(*list, text) : NULL;
    if (longer != NULL) *list = longer;
    return longer != NULL;
}

static void ask(const struct visit_opts *o, struct visit *v) {
    struct curl_slist *headers = NULL, *connect_to = NULL;
    char at[80] = "";
    CURL *h = fetch_handle_new();
    CURLcode code = CURLE_OUT_OF_MEMORY;
    const bool is_v6 = o->at != NULL && strchr(o->at, ':') != NULL;
    if (o->at != NULL) /* with the URL's port */
        (void)snprintf(at, sizeof at, is_v6 ? "[%s]:" : "%s:", o->at);
    if (h != NULL && append(&headers, "Accept-Language: ", o->language) &&
        append(&connect_to, "::", o->at != NULL ? at : NULL) &&
        set_up(h, o, headers, connect_to, v)) {
        code = curl_easy_perform(h);
        take_facts(h, v);
    }
    v->end = end_of(code, v);
    if (v->end == VISIT_NO_TLS && v->address[0] == '\0')
        memcpy(v->address, v->tried, sizeof v->address);
    if (v->end != VISIT_ANSWER && v->why[0] == '\0')
        (void)snprintf(v->why, sizeof v->why, "%s", curl_easy_strerror(code));
    curl_easy_cleanup(h);
    curl_slist_free_all(headers);
    curl_slist_free_all(connect_to);
}

struct visit *visit_page(const struct visit_opts *o) {
    struct visit *v = calloc(1, sizeof *v);
    if (v == NULL) return NULL;
    v->is_whole = true;
    ask(o, v);
    v->body[v->n_body] = '\0';
    return v;
}
