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

bool proc_parse_status(const char *text, const char *key, uint64_t *ret_bytes) {
    const size_t n = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        uint64_t kib = 0;
        const char *rest;
        if (*line == '\n') line++;
        if (strncmp(line, key, n) != 0 || line[n] != ':') continue;
        if (!parse_number(line + n + 1, &kib, &rest) || strncmp(rest, " kB", 3) != 0) return false;
        *ret_bytes = kib * KIB;
        return true;
    }
    return false;
}

/* The statistics of the scheduler have nanoseconds, /proc/PID/stat has hundredths of a second. A
 * thread that ends between listing and reading counts nothing. */
static bool read_cpu(int pid, int64_t *ret) {
    char path[PATH_LEN_MAX], text[TEXT_MAX];
    (void)snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL) return false;
    int64_t sum = 0;
    unsigned n = 0;
    for (const struct dirent *t; (t = readdir(tasks)) != NULL;) {
        int64_t cpu_ns = 0;
        if (t->d_name[0] == '.') continue;
        (void)snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, t->d_name);
        if (!read_text(path, text) || !proc_parse_schedstat(text, &cpu_ns)) continue;
        sum += cpu_ns;
        n++;
    }
    (void)closedir(tasks);
    *ret = sum;
    return n > 0;
}

bool proc_read(int pid, struct proc_sample *ret) {
    char path[PATH_LEN_MAX], text[TEXT_MAX];
    (void)snprintf(path, sizeof path, "/proc/%d/status", pid);
    return read_text(path, text) && proc_parse_status(text, "VmRSS", &ret->rss_bytes) &&
           proc_parse_status(text, "VmHWM", &ret->peak_rss_bytes) && read_cpu(pid, &ret->cpu_ns);
}
