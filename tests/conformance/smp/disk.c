/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A disk that is slow, full or broken, for one program, memory that runs out and a clock that
 * jumps: LD_PRELOAD. What it does now is said by links in the folder SMP_TEST_DISK; see disk.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The number that a link stands for, which may be read in any sandbox; -1: there is none. */
static long setting(const char *name) {
    char path[PATH_MAX], text[32] = {0};
    const char *folder = getenv("SMP_TEST_DISK");
    if (folder == NULL) return -1;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return readlink(path, text, sizeof text - 1) > 0 ? strtol(text, NULL, 10) : -1;
}

static int is_journal(int fd) {
    char link[64], path[PATH_MAX] = {0};
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof path - 1) > 0 && strstr(path, "journal/") != NULL;
}

static void wait_ms(long ms) {
    if (ms > 0) (void)usleep((useconds_t)ms * 1000);
}

static int is_zero(const struct iovec *v) {
    const char *p = v->iov_base;
    return v->iov_len != 0 && p[0] == 0 && memcmp(p, p + 1, v->iov_len - 1) == 0;
}

/* read_only: as after a remount because of errors. */
static int is_read_only(void) {
    if (setting("read_only") < 0) return 0;
    errno = EROFS;
    return 1;
}

/* full: nothing can be written, but zeros over what a segment of the journal has. */
static int refuses_write(int fd, const struct iovec *v) {
    if (is_read_only()) return 1;
    if (setting("full") < 0 || (is_journal(fd) && is_zero(v))) return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at) {
    static ssize_t (*real)(int, const struct iovec *, int, off_t);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "pwritev");
    return refuses_write(fd, v) ? -1 : real(fd, v, n, at);
}

ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t at) {
    static ssize_t (*real)(int, const struct iovec *, int, off64_t);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "pwritev64");
    return refuses_write(fd, v) ? -1 : real(fd, v, n, at);
}

/* fail_sync: an error that is no shortage. */
int fdatasync(int fd) {
    static int (*real)(int);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    wait_ms(setting("sync_ms"));
    if (setting("fail_sync") < 0) return real(fd);
    errno = EIO;
    return -1;
}

/* Of records; segments are read whole. */
static void wait_for_read(int fd, size_t n) {
    const long ms = n < 100000 ? setting("read_ms") : -1;
    if (ms > 0 && is_journal(fd)) wait_ms(ms);
}

ssize_t pread(int fd, void *b, size_t n, off_t at) {
    static ssize_t (*real)(int, void *, size_t, off_t);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "pread");
    wait_for_read(fd, n);
    return real(fd, b, n, at);
}

ssize_t pread64(int fd, void *b, size_t n, off64_t at) {
    static ssize_t (*real)(int, void *, size_t, off64_t);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "pread64");
    wait_for_read(fd, n);
    return real(fd, b, n, at);
}

/* ---- files that are made or renamed ---- */

int open64(const char *path, int flags, ...) {
    static int (*real)(const char *, int, ...);
    va_list args;
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "open64");
    va_start(args, flags);
    const int mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, int) : 0;
    va_end(args);
    if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0 && strncmp(path, "/dev/", 5) != 0 &&
        is_read_only())
        return -1;
    return real(path, flags, mode);
}

ssize_t pwrite64(int fd, const void *b, size_t n, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    return is_read_only() ? -1 : real(fd, b, n, at);
}

int ftruncate64(int fd, off64_t n) {
    static int (*real)(int, off64_t);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "ftruncate64");
    return is_read_only() ? -1 : real(fd, n);
}

int rename(const char *from, const char *to) {
    static int (*real)(const char *, const char *);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "rename");
    return is_read_only() ? -1 : real(from, to);
}

/* ---- the clock ---- */

/* clock_s: seconds that the wall clock is ahead, and a thousand million more. mono_s: seconds that
 * the one is ahead that is never set, as if so much time had gone by. */
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    const int result = real(id, t);
    if (result == 0 && id == CLOCK_REALTIME) {
        const long ahead_s = setting("clock_s") - 1000000000;
        if (ahead_s > -1000000000) t->tv_sec += ahead_s;
    }
    if (result == 0 && id == CLOCK_MONOTONIC) {
        const long ahead_s = setting("mono_s");
        if (ahead_s > 0) t->tv_sec += ahead_s;
    }
    return result;
}
