/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/terminal/progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum { BAR_LEN = 24, DRAW_EVERY_MS = 100, LOG_EVERY_MS = 5000, PERCENT = 100, MIB = 1 << 20 };

/* main thread only */
static struct {
    const struct env *env; /* NULL: nothing is under way */
    const char *title;
    int64_t next_ms; /* when to show something again */
    bool is_terminal, is_drawn;
} now;

static unsigned percent_of(uint64_t done, uint64_t total) {
    if (done >= total) return PERCENT;
    return (unsigned)((double)done * PERCENT / (double)total);
}

void progress_text(const char *title, const char *what, uint64_t done_bytes, uint64_t total_bytes,
                   char ret[PROGRESS_LINE_MAX]) {
    const unsigned percent = percent_of(done_bytes, total_bytes);
    char bar[BAR_LEN + 1];
    memset(bar, '-', BAR_LEN);
    memset(bar, '#', (size_t)percent * BAR_LEN / PERCENT);
    bar[BAR_LEN] = '\0';
    const bool has_title = title != NULL;
    (void)snprintf(ret, PROGRESS_LINE_MAX, "%.20s%.20s [%s] %3u%% of %llu MiB",
                   has_title ? title : "Loading ", has_title ? "" : what, bar, percent,
                   (unsigned long long)((total_bytes + MIB - 1) / MIB));
}

void progress_begin(const struct env *env, const char *title, int64_t delay_ms) {
    now.env = env;
    now.title = title;
    now.is_terminal = isatty(STDERR_FILENO) == 1;
    now.is_drawn = false;
    now.next_ms = env_mono_ms(env) + (now.is_terminal ? delay_ms : LOG_EVERY_MS);
}

void progress_report(const char *what, uint64_t done_bytes, uint64_t total_bytes) {
    if (now.env == NULL || env_mono_ms(now.env) < now.next_ms) return;
    now.next_ms = env_mono_ms(now.env) + (now.is_terminal ? DRAW_EVERY_MS : LOG_EVERY_MS);
    if (!now.is_terminal) {
        log_line(LOG_INFO, "progress", "what=\"%s%s\" percent=%u",
                 now.title != NULL ? now.title : "Loading ", now.title != NULL ? "" : what,
                 percent_of(done_bytes, total_bytes));
        return;
    }
    char text[PROGRESS_LINE_MAX];
    progress_text(now.title, what, done_bytes, total_bytes, text);
    (void)fprintf(stderr, "\r%s\033[K", text);
    now.is_drawn = true;
}

void progress_end(void) {
    if (now.is_drawn) (void)fprintf(stderr, "\r\033[K");
    now.env = NULL;
}
