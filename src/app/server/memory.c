/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/memory.h"

#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/files/proc_line.h"
#include "base/env.h"

enum {
    TEXT_MAX = 4096,
    DECIMAL = 10,
    WORTH_GIVING = 8 << 20, /* bytes; and a quarter of all */
    GIVE_BACK_MS = 60000,   /* from one time to the next, at least */
    LOOK_SHARE = 1000, /* one part of the time is spent with looking: 40 ms for a million holes */
};

/* The beginning of a file of the kernel's. */
static bool read_text(const char *path, char ret[TEXT_MAX]) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const ssize_t n = read(fd, ret, TEXT_MAX - 1);
    (void)close(fd);
    ret[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static uint64_t page_len(void) {
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t memory_used(void) {
    char text[TEXT_MAX];
    uint64_t size, resident;
    const char *at = text; /* proc(5), statm: all, resident, ..., in pages */
    if (!read_text("/proc/self/statm", text) || !proc_number(&at, DECIMAL, 0, &size) ||
        !proc_number_after(&at, ' ', DECIMAL, &resident))
        return 0;
    return resident * page_len();
}

/* Of one group; "max" where it has no limit of its own. */
static uint64_t limit_of_group(const char *group) {
    char path[TEXT_MAX], text[TEXT_MAX];
    uint64_t limit;
    const char *at = text;
    const int n = snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
    if (n < 0 || (size_t)n >= sizeof path || !read_text(path, text)) return UINT64_MAX;
    return proc_number(&at, DECIMAL, 0, &limit) ? limit : UINT64_MAX;
}

/* Of the group and of all that it is in. */
static uint64_t limit_of_groups(void) {
    char text[TEXT_MAX];
    uint64_t least = UINT64_MAX;
    if (!read_text("/proc/self/cgroup", text)) return least;
    char *line = strstr(text, "0::/");
    if (line == NULL) return least;
    char *group = line + strlen("0::");
    group[strcspn(group, "\n")] = '\0';
    for (;;) {
        const uint64_t limit = limit_of_group(group);
        if (limit < least) least = limit;
        char *last = strrchr(group, '/');
        if (last == NULL) return least;
        *last = '\0';
    }
}

uint64_t memory_there_is(void) {
    const uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * page_len();
    const uint64_t groups = limit_of_groups();
    return groups < machine ? groups : machine;
}

#ifdef __GLIBC__
/* What is in RAM without being in use. What was given back is free for the allocator too, and the
 * size of the process stays when things are freed: neither of them tells by itself. */
static uint64_t idle_bytes(void) {
    const struct mallinfo2 heap = mallinfo2();
    const uint64_t used = memory_used(), in_use = heap.uordblks + heap.hblkhd;
    return used > in_use ? used - in_use : 0;
}

bool memory_give_back(struct memory_look *m, int64_t now_ms) {
    if (now_ms < m->next_ms) return false;
    const int64_t began_ms = env_mono_ms(&ENV_SYSTEM);
    const uint64_t idle = idle_bytes();
    m->next_ms = now_ms + (env_mono_ms(&ENV_SYSTEM) - began_ms) * LOOK_SHARE;
    if (idle < m->stays) m->stays = idle;
    const uint64_t worth = idle - m->stays;
    if (worth < WORTH_GIVING || worth < memory_used() / 4) return false;
    (void)malloc_trim(0);
    m->stays = idle_bytes();
    m->next_ms = now_ms + GIVE_BACK_MS;
    return true;
}
#else
/* Other allocators give back what they can of themselves. */
bool memory_give_back(struct memory_look *m, int64_t now_ms) {
    (void)m;
    (void)now_ms;
    return false;
}
#endif
