/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Memory that runs out, for one program: LD_PRELOAD. SMP_TEST_FAIL_AT: the allocation with this
 * number fails, once, counted from when the libraries of cryptography have set themselves up, which
 * OpenSSL 3.0 does not survive; the link `fail_malloc` in the folder SMP_TEST_DISK: one in so many
 * fails as long as it is there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

enum { LOOK_EVERY = 64 };

static long said(void) {
    char path[PATH_MAX], text[32] = {0};
    const char *folder = getenv("SMP_TEST_DISK");
    if (folder == NULL) return 0;
    (void)snprintf(path, sizeof path, "%s/fail_malloc", folder);
    return readlink(path, text, sizeof text - 1) > 0 ? strtol(text, NULL, 10) : 0;
}

static atomic_int is_set_up;

static int fails(void) {
    static atomic_long count, every;
    static atomic_long at = -1;
    if (!is_set_up) return 0;
    const long n = atomic_fetch_add(&count, 1) + 1;
    if (at < 0) {
        const char *text = getenv("SMP_TEST_FAIL_AT");
        at = text != NULL ? strtol(text, NULL, 10) : 0;
    }
    const int saved = errno;
    if (n % LOOK_EVERY == 0) every = said();
    errno = saved;
    if (n != at && (every <= 0 || n % every != 0)) return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n) {
    return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
    return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n) {
    return n != 0 && fails() ? NULL : __libc_realloc(p, n);
}

/* The last thing that is asked of them then. */
void *EVP_MAC_fetch(void *library, const char *name, const char *properties) {
    void *(*real)(void *, const char *, const char *) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "EVP_MAC_fetch");
    void *result = real(library, name, properties);
    is_set_up = 1;
    return result;
}
