/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/notify.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

/* A path, or with '@' in front a name in the abstract namespace, which is not terminated. */
static socklen_t fill_address(const char *path, struct sockaddr_un *ret) {
    const size_t n = strlen(path);
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (n == 0 || n >= sizeof ret->sun_path) return 0;
    memcpy(ret->sun_path, path, n);
    const bool is_abstract = path[0] == '@';
    if (is_abstract) ret->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (is_abstract ? 0 : 1));
}

void notify_send(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    if (path == NULL || *path == '\0') return;
    struct sockaddr_un to;
    const socklen_t len = fill_address(path, &to);
    const int fd = len != 0 ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    const size_t n = strlen(state);
    if (fd < 0 ||
        sendto(fd, state, n, MSG_NOSIGNAL, (const struct sockaddr *)&to, len) != (ssize_t)n) {
        log_line(LOG_WARN, "notify", "state=%s error=\"%s\"", state, strerror(errno));
    }
    if (fd >= 0) (void)close(fd);
}
