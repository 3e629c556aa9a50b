/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
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
    const struct timeval patience = {.tv_sec = 1}; /* signals wait for this thread */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        sendto(fd, state, n, MSG_NOSIGNAL, (const struct sockaddr *)&to, len) != (ssize_t)n) {
        log_line(LOG_WARN, "notify", "state=%s error=\"%s\"", state, strerror(errno));
    }
    if (fd >= 0) (void)close(fd);
}

void notify_reloading(int64_t mono_ms) {
    char state[64];
    (void)snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, mono_ms * 1000);
    notify_send(state);
}

void notify_takes(unsigned ms) {
    char state[64];
    (void)snprintf(state, sizeof state, "EXTEND_TIMEOUT_USEC=%" PRIu64, (uint64_t)ms * 1000);
    notify_send(state);
}

bool notify_is_heard(void) {
    const char *path = getenv("NOTIFY_SOCKET");
    return path != NULL && *path != '\0';
}

/* A positive number in the environment, or 0. */
static int64_t number_of(const char *name) {
    const char *text = getenv(name);
    char *end = NULL;
    if (text == NULL || *text < '0' || *text > '9') return 0;
    errno = 0;
    const long long n = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0' ? n : 0;
}

int64_t notify_watchdog_ms(void) {
    enum { USEC_PER_MS = 1000, PER_PERIOD = 4 };
    const int64_t pid = number_of("WATCHDOG_PID"), usec = number_of("WATCHDOG_USEC");
    if (usec == 0 || (pid != 0 && pid != getpid())) return 0;
    const int64_t ms = usec / USEC_PER_MS / PER_PERIOD;
    return ms > 0 ? ms : 1;
}
