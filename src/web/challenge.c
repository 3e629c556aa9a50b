/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/challenge.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "web/web.h"

static bool is_token(struct bytes name) {
    static const char OTHERS[] = "-_";
    for (size_t i = 0; i < name.n; i++) {
        const char c = (char)name.p[i];
        const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && (c == '\0' || strchr(OTHERS, c) == NULL))
            return false;
    }
    return name.n != 0 && name.n <= WEB_TOKEN_MAX;
}

/* -1: there is none. */
static int open_file(const char *dir, const char *name) {
    const int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0) return -1;
    /* Without waiting, should it be a pipe. */
    const int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    (void)close(at);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) return fd;
    if (fd >= 0) (void)close(fd);
    return -1;
}

enum err challenge_read(const char *dir, struct bytes name, uint8_t *to, size_t cap,
                        size_t *ret_n) {
    char text[WEB_TOKEN_MAX + 1];
    uint8_t more;
    if (!is_token(name)) return E_NOT_FOUND;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    const int fd = open_file(dir, text);
    if (fd < 0) return E_NOT_FOUND;
    size_t n = 0;
    ssize_t got = 1;
    while (got > 0 && n < cap) {
        do got = read(fd, to + n, cap - n);
        while (got < 0 && errno == EINTR);
        if (got > 0) n += (size_t)got;
    }
    const bool is_whole = got == 0 || (got > 0 && read(fd, &more, 1) == 0);
    (void)close(fd);
    if (!is_whole) return E_NOT_FOUND;
    *ret_n = n;
    return OK;
}
