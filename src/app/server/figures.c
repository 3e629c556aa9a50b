/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/figures.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "app/server/memory.h"
#include "base/vfs.h"

/* Entries of a directory of the kernel, without "." and "..". */
static uint64_t count_entries(const char *path) {
    DIR *d = opendir(path);
    uint64_t n = 0;
    if (d == NULL) return 0;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (e->d_name[0] != '.') n++;
    }
    (void)closedir(d);
    return n;
}

static uint64_t us_of(struct timeval t) {
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

static struct process_figures of_process(void) {
    struct rusage u;
    struct rlimit files;
    struct process_figures p = {0};
    if (getrusage(RUSAGE_SELF, &u) == 0) p.cpu_us = us_of(u.ru_utime) + us_of(u.ru_stime);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) p.max_fds = files.rlim_cur;
    p.resident_bytes = memory_used();
    p.n_threads = count_entries("/proc/self/task");
    const uint64_t n_fds = count_entries("/proc/self/fd");
    p.open_fds = n_fds != 0 ? n_fds - 1 : 0; /* without the one that reads the list */
    return p;
}

/* What its files take of the disk, without those of directories below it. */
static uint64_t bytes_in(const char *path) {
    enum { BLOCK = 512 }; /* of st_blocks */
    DIR *d = opendir(path);
    struct stat st;
    uint64_t n = 0;
    if (d == NULL) return 0;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            n += (uint64_t)st.st_blocks * BLOCK;
    }
    (void)closedir(d);
    return n;
}

static struct disk_figures of_disk(const struct storage *s) {
    const struct vfs_figures asked = vfs_system_figures();
    struct disk_figures f = {.n_syncs = asked.n_syncs,
                             .n_writes = asked.n_writes,
                             .written_bytes = asked.written_bytes};
    struct statvfs fs;
    if (!s->on_disk) return f;
    const char *messages = s->in_journal ? s->journal : s->paths->state;
    f.used_bytes = bytes_in(s->paths->state);
    if (s->in_journal && strcmp(s->journal, s->paths->state) != 0)
        f.used_bytes += bytes_in(s->journal);
    if (statvfs(messages, &fs) == 0) f.free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return f;
}

#define FROM_STORE(id, field)   ret->value[GAUGE_##id] = store.field;
#define FROM_ACKS(id, field)    ret->value[GAUGE_##id] = acks.field;
#define FROM_PROCESS(id, field) ret->value[GAUGE_##id] = process.field;
#define FROM_DISK(id, field)    ret->value[GAUGE_##id] = disk.field;
#define FROM_SERVER(id, field)  ret->value[GAUGE_##id] = server->field;
#define FROM_SHEETS(id, field)
#define FROM_STATS(id, field)
#define FROM_ZERO(id, field)

void figures_read(const struct server_figures *server, const struct storage *storage,
                  struct store *s, const struct relay *r, struct stats_gauges *ret) {
    const struct store_counts store = store_counts(s);
    const struct process_figures process = of_process();
    const struct disk_figures disk = of_disk(storage);
    struct ages_sum acks;
    relay_waiting_acks(r, &acks);
#define GAUGE(id, csv_name, csv, line_name, line, role, metric, labels, from, which)               \
    FROM_##from(id, which)
#include "stats/gauges.def"
#undef GAUGE
}
