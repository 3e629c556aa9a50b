/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STAT_LINE_MAX = 1024, LINE_MAX_LEN = 128 };

struct thread {
    char name[32], state;
    uint64_t ticks; /* of CPU */
};

enum { FIELD_STATE = 3, FIELD_USER_TICKS = 14, FIELD_SYSTEM_TICKS = 15 }; /* proc(5) */

/* What follows the name: fields from FIELD_STATE on, each after a space. */
static void read_fields(const char *at, struct thread *ret) {
    for (int field = FIELD_STATE; *at == ' '; field++) {
        at++;
        if (field == FIELD_STATE) ret->state = *at;
        if (field == FIELD_USER_TICKS || field == FIELD_SYSTEM_TICKS)
            ret->ticks += strtoull(at, NULL, 10);
        at += strcspn(at, " ");
    }
}

static bool read_thread(const char *number, struct thread *ret) {
    char path[64], line[STAT_LINE_MAX];
    *ret = (struct thread){.state = '?'};
    (void)snprintf(path, sizeof path, "/proc/self/task/%.16s/stat", number);
    FILE *f = fopen(path, "re");
    if (f == NULL) return false; /* it has ended */
    const size_t n = fread(line, 1, sizeof line - 1, f);
    (void)fclose(f);
    line[n] = '\0';
    const char *open = strchr(line, '('), *close = strrchr(line, ')');
    if (open == NULL || close == NULL || close < open) return false;
    (void)snprintf(ret->name, sizeof ret->name, "%.*s", (int)(close - open - 1), open + 1);
    read_fields(close + 1, ret);
    return true;
}

void process_write_threads(struct wr *w) {
    DIR *d = opendir("/proc/self/task");
    const uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
    if (d == NULL) return;
    for (const struct dirent *entry; (entry = readdir(d)) != NULL;) {
        struct thread t;
        char line[LINE_MAX_LEN];
        if (entry->d_name[0] == '.' || !read_thread(entry->d_name, &t)) continue;
        (void)snprintf(line, sizeof line, "ThreadId %.16s (%c, %" PRIu64 ".%02" PRIu64 " s) %s\n",
                       entry->d_name, t.state, t.ticks / hz, t.ticks % hz * 100 / hz, t.name);
        if (wr_left(w) < strlen(line)) break;
        wr_str(w, line);
    }
    (void)closedir(d);
}
