/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/process_cost.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 8192, PATH_LEN_MAX = 320, KIB = 1024 };

static bool read_text(const char *path, char ret[TEXT_MAX]) {
    FILE *f = fopen(path, "re");
    if (f == NULL) return false;
    const size_t n = fread(ret, 1, TEXT_MAX - 1, f);
    const bool is_read = ferror(f) == 0;
    (void)fclose(f);
    ret[n] = '\0';
    return is_read;
}

/* A decimal number, after blanks; *ret_end is what follows it. */
static bool parse_number(const char *text, uint64_t *ret, const char **ret_end) {
    char *end = NULL;
    errno = 0;
    const unsigned long long n = strtoull(text, &end, 10);
    if (end == text || errno != 0) return false;
    *ret = n;
    *ret_end = end;
    return true;
}

bool proc_parse_schedstat(const char *text, int64_t *ret_cpu_ns) {
    uint64_t ns = 0;
    const char *rest;
    if (!parse_number(text, &ns, &rest) || ns > INT64_MAX) return false;
    *ret_cpu_ns = (int64_t)ns;
    return true;
}

/* What follows "key:". NULL: there is no such line. */
static const char *find_key(const char *text, const char *key) {
    const size_t n = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, key, n) == 0 && line[n] == ':') return line + n + 1;
    }
    return NULL;
}

bool proc_parse_count(const char *text, const char *key, uint64_t *ret) {
    const char *value = find_key(text, key), *rest;
    return value != NULL && parse_number(value, ret, &rest) && *rest == '\n';
}

bool proc_parse_status(const char *text, const char *key, uint64_t *ret_bytes) {
    const char *value = find_key(text, key), *rest;
    uint64_t kib = 0;
    if (value == NULL || !parse_number(value, &kib, &rest) || strncmp(rest, " kB", 3) != 0)
        return false;
    *ret_bytes = kib * KIB;
    return true;
}

static const struct {
    const char *name, *thread; /* what it is called, and how its threads' names begin */
} ROLES[N_PROC_ROLES] = {
    [ROLE_LOOPS] = {"loops", "loop-"},
    [ROLE_COMMIT] = {"commit", "commit"},
    [ROLE_JOURNAL] = {"journal", "journal"},
    [ROLE_OTHERS] = {"others", ""},
};

const char *proc_role_name(enum proc_role r) {
    return ROLES[r].name;
}

enum proc_role proc_parse_role(const char *status) {
    const char *name = find_key(status, "Name");
    if (name == NULL) return ROLE_OTHERS;
    while (*name == '\t' || *name == ' ') name++;
    enum proc_role r = ROLE_LOOPS;
    while (strncmp(name, ROLES[r].thread, strlen(ROLES[r].thread)) != 0) r++;
    return r;
}

/* The statistics of the scheduler have nanoseconds, /proc/PID/stat has hundredths of a second. A
 * thread that ends between listing and reading counts nothing. */
static bool add_thread(int pid, const char *tid, struct proc_sample *io) {
    char path[PATH_LEN_MAX], text[TEXT_MAX];
    int64_t cpu_ns = 0;
    uint64_t n = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, tid);
    if (!read_text(path, text) || !proc_parse_schedstat(text, &cpu_ns)) return false;
    io->cpu_ns += cpu_ns;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%s/status", pid, tid);
    if (!read_text(path, text)) return true;
    if (proc_parse_count(text, "voluntary_ctxt_switches", &n))
        io->wake_ups[proc_parse_role(text)] += n;
    if (proc_parse_count(text, "nonvoluntary_ctxt_switches", &n)) io->preempted += n;
    return true;
}

static bool add_threads(int pid, struct proc_sample *io) {
    char path[PATH_LEN_MAX];
    (void)snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL) return false;
    unsigned n = 0;
    for (const struct dirent *t; (t = readdir(tasks)) != NULL;) {
        if (t->d_name[0] != '.' && add_thread(pid, t->d_name, io)) n++;
    }
    (void)closedir(tasks);
    return n > 0;
}

bool proc_read(int pid, struct proc_sample *ret) {
    char path[PATH_LEN_MAX], text[TEXT_MAX];
    *ret = (struct proc_sample){0};
    /* Not write_bytes: of a large page it counts the whole as soon as one byte changes. */
    (void)snprintf(path, sizeof path, "/proc/%d/io", pid);
    if (read_text(path, text)) (void)proc_parse_count(text, "wchar", &ret->file_bytes);
    (void)snprintf(path, sizeof path, "/proc/%d/status", pid);
    return read_text(path, text) && proc_parse_status(text, "VmRSS", &ret->rss_bytes) &&
           proc_parse_status(text, "VmHWM", &ret->peak_rss_bytes) && add_threads(pid, ret);
}
