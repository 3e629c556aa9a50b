/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/figures.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/proc.h"

void figures_of_store(struct store *s, struct stats_gauges *ret) {
    const struct store_counts c = store_counts(s);
    uint64_t *v = ret->value;
    v[GAUGE_Q_COUNT] = v[GAUGE_Q_COUNT2] = v[GAUGE_LOADED_QUEUES] = c.n_queues;
    v[GAUGE_NOTIFIERS] = v[GAUGE_LOADED_NTFS] = c.n_notifiers;
    v[GAUGE_MSG_COUNT] = c.n_messages;
    v[GAUGE_NTF_COUNT] = v[GAUGE_NTF_COUNT2] = c.n_ntfs;
    v[GAUGE_RCV_SERVICES] = c.n_services[SUB_RECIPIENT];
    v[GAUGE_NTF_SERVICES] = c.n_services[SUB_NOTIFIER];
    v[GAUGE_RCV_SERVICE_QUEUES] = c.n_service_queues[SUB_RECIPIENT];
    v[GAUGE_NTF_SERVICE_QUEUES] = c.n_service_queues[SUB_NOTIFIER];
}

_Static_assert(GAUGE_PENDING_MORE == GAUGE_PENDING_60 + AGES_PERIODS - 1, "one for each period");

void figures_of_relay(const struct relay *r, struct stats_gauges *ret) {
    struct relay_gauges g;
    uint64_t *v = ret->value;
    relay_gauges(r, &g);
    v[GAUGE_CLIENTS] = g.clients;
    v[GAUGE_DELIVERED] = g.delivered;
    v[GAUGE_DELIVERED_CLIENTS] = g.delivered_clients;
    v[GAUGE_SUBS] = g.subs;
    v[GAUGE_SUB_CLIENTS] = g.sub_clients;
    v[GAUGE_SUB_SERVICES] = g.sub_services;
    v[GAUGE_NTF_SUBS] = g.ntf_subs;
    v[GAUGE_NTF_SUB_CLIENTS] = g.ntf_clients;
    v[GAUGE_NTF_SUB_SERVICES] = g.ntf_services;
    for (unsigned i = 0; i < AGES_PERIODS; i++) v[GAUGE_PENDING_60 + i] = g.delivered_ages.n[i];
    v[GAUGE_ACK_TIME_MAX_S] = g.delivered_ages.oldest_s;
}

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

/* The second word of statm (proc(5)). */
static uint64_t resident_bytes(void) {
    char text[128];
    struct proc_line line = {0};
    uint64_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL) return 0;
    if (fgets(text, sizeof text, f) != NULL) proc_split(text, &line);
    (void)fclose(f);
    if (line.n < 2 || !proc_number(&line.words[1], 10, 0, &pages)) return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t us_of(struct timeval t) {
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

void figures_of_process(struct stats_gauges *ret) {
    struct rusage u;
    struct rlimit files;
    uint64_t *v = ret->value;
    if (getrusage(RUSAGE_SELF, &u) == 0) v[GAUGE_CPU_US] = us_of(u.ru_utime) + us_of(u.ru_stime);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) v[GAUGE_MAX_FDS] = files.rlim_cur;
    v[GAUGE_RESIDENT_BYTES] = resident_bytes();
    v[GAUGE_THREADS] = count_entries("/proc/self/task");
    const uint64_t n_fds = count_entries("/proc/self/fd");
    v[GAUGE_OPEN_FDS] = n_fds != 0 ? n_fds - 1 : 0; /* without the one that reads the list */
}
