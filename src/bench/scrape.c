/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/scrape.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ANSWER_MAX = 1 << 20, TIMEOUT_S = 5 };

static bool parse_figure(const char *text, const char *name, uint64_t *ret) {
    const size_t n = strlen(name);
    for (const char *at = strstr(text, name); at != NULL; at = strstr(at + n, name)) {
        if (at == text || at[-1] != '\n' || at[n] != ' ') continue; /* in a comment */
        *ret = strtoull(at + n + 1, NULL, 10);
        return true;
    }
    return false;
}

bool scrape_parse(const char *text, struct storage_sample *ret) {
    return parse_figure(text, "simplex_smp_storage_syncs_total", &ret->n_syncs) &&
           parse_figure(text, "simplex_smp_storage_writes_total", &ret->n_writes) &&
           parse_figure(text, "simplex_smp_storage_written_bytes_total", &ret->written_bytes);
}

static bool ask(int fd, int port) {
    static const char REQUEST[] = "GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n";
    const struct timeval limit = {.tv_sec = TIMEOUT_S};
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}};
    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
           connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 &&
           send(fd, REQUEST, sizeof REQUEST - 1, MSG_NOSIGNAL) == (ssize_t)sizeof REQUEST - 1;
}

/* To the end; false when it is longer than there is room, or the server falls silent. */
static bool take_answer(int fd, char *ret, size_t room) {
    size_t n = 0;
    ssize_t got;
    while ((got = recv(fd, ret + n, room - 1 - n, 0)) > 0) n += (size_t)got;
    ret[n] = '\0';
    return got == 0 && n < room - 1;
}

bool scrape_read(int port, struct storage_sample *ret) {
    char *text = malloc(ANSWER_MAX);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool ok = text != NULL && fd >= 0 && ask(fd, port) && take_answer(fd, text, ANSWER_MAX) &&
                    scrape_parse(text, ret);
    if (fd >= 0) (void)close(fd);
    free(text);
    return ok;
}
