/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Each group of items goes on in spite of what is wrong in the ones before, as far as that leaves
 * something to look at. Rights are those of the user that runs the check. */
#include <string.h>

#include "app/commands/check.h"
#include "app/server/checks.h"
#include "app/server/ports.h"

enum { UNUSED_TEXT_MAX = 900, NOT_MEASURED = -1 };

/* One name for each group of items. */
static const char SETTINGS[] = "settings", SERVER[] = "server", WEB[] = "web";

struct look {
    const struct paths *paths; /* borrowed */
    struct findings *report;   /* borrowed */
    struct conf conf;
    struct storage storage; /* not locked */
    long pid;               /* of the server that runs on these files; 0: none that we see */
    const char *name;       /* of the items that warn() and err() make */
};

#define ADD(l, level, name, ...)                                                                   \
    findings_add((l)->report, (level), (name), NOT_MEASURED, __VA_ARGS__)

static void add_warning(void *ctx, const char *text) {
    struct look *l = ctx;
    ADD(l, FINDING_WARNING, l->name, "%s", text);
}

static void add_error(void *ctx, const char *text) {
    struct look *l = ctx;
    ADD(l, FINDING_ERROR, l->name, "%s", text);
}

static bool has_news(const struct look *l, const unsigned before[FINDING_ERROR + 1]) {
    return memcmp(l->report->n, before, sizeof l->report->n) != 0;
}

/* ---- settings ---- */

static void look_at_unused(struct look *l) {
    char text[UNUSED_TEXT_MAX];
    struct wr w = wr_init(text, sizeof text);
    conf_list_unused(&l->conf, &w);
    const struct bytes b = wr_bytes(&w);
    if (b.n != 0)
        ADD(l, FINDING_WARNING, SETTINGS, "not used by this version: %.*s", (int)b.n,
            (const char *)b.p);
}

/* False when there is nothing to go on with. */
static bool look_at_settings(struct look *l) {
    struct problem p = {0};
    unsigned before[FINDING_ERROR + 1];
    memcpy(before, l->report->n, sizeof before);
    l->name = SETTINGS;
    const enum err e = conf_load_all(&l->conf, l->paths->ini, add_warning, add_error, l, &p);
    if (e != OK) {
        ADD(l, FINDING_ERROR, SETTINGS, "%s", p.text);
        return false;
    }
    look_at_unused(l);
    if (ports_settle(&l->conf, l->paths->ini, &p)) ADD(l, FINDING_WARNING, WEB, "%s", p.text);
    if (!has_news(l, before)) ADD(l, FINDING_OK, SETTINGS, "%s", l->paths->ini);
    return true;
}

/* ---- the server ---- */

static void look_at_server(struct look *l) {
    l->pid = l->storage.on_disk ? storage_locked_by(&l->storage) : 0;
    findings_set_number(l->report, "server_pid", l->pid);
    if (l->pid != 0) {
        ADD(l, FINDING_OK, SERVER, "runs (process %ld)", l->pid);
    } else {
        ADD(l, FINDING_OK, SERVER, "%s",
            l->storage.on_disk ? "does not run" : "whether it runs is not known without storage");
    }
}

/* ---- what a start wants ---- */

static void add(void *ctx, enum finding_level level, const char *name, const char *text) {
    struct look *l = ctx;
    ADD(l, level, name, "%s", text);
}

static void look_at_start(struct look *l) {
    struct checks c = {
        .paths = l->paths,
        .conf = &l->conf,
        .storage = &l->storage,
        .pid = l->pid,
        .tell = add,
        .ctx = l,
    };
    checks_run(&c);
    if (c.identity != NULL) {
        findings_set_text(l->report, "certificate_expires", c.expires_day);
        findings_set_number(l->report, "certificate_days_left", c.days_left);
    }
    identity_free(c.identity);
}

void check_files(const struct paths *paths, struct findings *r) {
    struct look l = {.paths = paths, .report = r, .storage = {.lock_fd = -1}};
    struct problem p = {0};
    conf_init(&l.conf);
    if (look_at_settings(&l)) {
        if (storage_init(&l.storage, &l.conf, paths, &p) == OK) {
            look_at_server(&l);
            look_at_start(&l);
        } else {
            ADD(&l, FINDING_ERROR, SETTINGS, "%s", p.text);
        }
    }
    conf_done(&l.conf);
}
