/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* control_report.c -- figures: stats, stats-rts, sockets, threads; and `save`, which takes a thread
 * of its own because it writes all that is in memory. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/control_priv.h"
#include "admin/process.h"
#include "base/attr.h"
#include "base/log.h"
#include "base/thread.h"

void control_report(struct control_port *cp) {
    cp->gauges = (struct stats_gauges){.n_ports = 0};
    cp->o.source.gauges(cp->o.source.ctx, &cp->gauges);
    stats_report(cp->o.stats, &cp->gauges, &cp->report);
}

void run_stats(struct control_session *s, const struct control_command *c) {
    (void)c;
    struct wr w = say_begin(s);
    control_report(s->cp);
    stats_write_control(&s->cp->report, s->role == ROLE_ADMIN, &w);
    say_end(s, &w);
}

static void write_number(struct wr *w, const char *name, uint64_t n) {
    char text[96];
    (void)snprintf(text, sizeof text, "%s: %" PRIu64 "\n", name, n);
    wr_str(w, text);
}

/* Values that were looked at, and their mean. */
static void write_histogram(struct wr *w, const struct stats_report *r, enum stat_histogram h,
                            const char *name) {
    char label[64];
    const uint64_t n = r->histogram[h].count;
    (void)snprintf(label, sizeof label, "%s count", name);
    write_number(w, label, n);
    (void)snprintf(label, sizeof label, "%s mean, us", name);
    write_number(w, label, n != 0 ? r->histogram[h].sum / n : 0);
}

void run_stats_rts(struct control_session *s, const struct control_command *c) {
    (void)c;
    struct wr w = say_begin(s);
    const struct stats_report *r = &s->cp->report;
    control_report(s->cp);
    write_number(&w, "memory, bytes", r->gauges.value[GAUGE_RESIDENT_BYTES]);
    write_number(&w, "processor time, us", r->gauges.value[GAUGE_CPU_US]);
    write_number(&w, "threads", r->gauges.value[GAUGE_THREADS]);
    write_number(&w, "open files", r->gauges.value[GAUGE_OPEN_FDS]);
    write_number(&w, "event loops", r->gauges.value[GAUGE_LOOPS]);
    write_histogram(&w, r, HISTOGRAM_LOOP_LAG_US, "event loop lag");
    write_histogram(&w, r, HISTOGRAM_COMMAND_US, "command");
    write_histogram(&w, r, HISTOGRAM_COMMIT_US, "commit");
    say_end(s, &w);
}

void run_sockets(struct control_session *s, const struct control_command *c) {
    (void)c;
    struct wr w = say_begin(s);
    control_report(s->cp);
    for (unsigned i = 0; i < s->cp->gauges.n_ports; i++) {
        const struct stats_port *p = &s->cp->gauges.port[i];
        char text[64];
        (void)snprintf(text, sizeof text, "Sockets for port %u:\n", p->port);
        wr_str(&w, text);
        write_number(&w, "accepted", p->accepted);
        write_number(&w, "closed", p->closed);
        write_number(&w, "active", p->active);
        write_number(&w, "leaked", p->accepted - p->closed - p->active);
    }
    say_end(s, &w);
}

void run_threads(struct control_session *s, const struct control_command *c) {
    (void)c;
    struct wr w = say_begin(s);
    control_report(s->cp);
    write_number(&w, "Threads", s->cp->gauges.value[GAUGE_THREADS]);
    process_write_threads(&w);
    say_end(s, &w);
}

/* ---- save ---- */

struct saved {
    struct loop_msg msg;
    struct control_port *cp;
    enum err err;
    char text[512];
};

/* Owner. */
static void run_saved(struct loop_msg *msg) {
    struct saved *d = CONTAINER_OF(msg, struct saved, msg);
    struct control_port *cp = d->cp;
    struct list *n = list_first(&cp->saving);
    control_saving_join(cp);
    log_line(d->err == OK ? LOG_INFO : LOG_ERROR, "control-port", "saved=%s", err_name(d->err));
    if (n != NULL) {
        struct control_session *s = CONTAINER_OF(n, struct control_session, in_saving);
        list_remove(n);
        if (d->err == OK) {
            say(s, "server state saved!\n");
        } else {
            say_error(s, d->text);
        }
        line_conn_release(s->conn);
    }
    free(d);
}

static void saver_main(void *arg) {
    struct saved *d = arg;
    const struct control_source *source = &d->cp->o.source;
    d->err = source->save(source->ctx, d->text, sizeof d->text);
    loop_post(d->cp->loop, &d->msg);
}

void control_saving_join(struct control_port *cp) {
    cp->is_saving = false;
    thread_join(&cp->saver);
}

void run_save(struct control_session *s, const struct control_command *c) {
    (void)c;
    struct control_port *cp = s->cp;
    if (cp->is_saving) {
        say_error(s, "the state is being saved already");
        return;
    }
    struct saved *d = calloc(1, sizeof *d);
    if (d != NULL) {
        d->msg.run = run_saved;
        d->cp = cp;
        cp->is_saving = thread_start(&cp->saver, "saver", saver_main, d) == OK;
    }
    if (!cp->is_saving) {
        free(d);
        say_error(s, "no memory for the thread that saves: try again");
        return;
    }
    list_push_back(&cp->saving, &s->in_saving);
    line_conn_hold(s->conn);
    say(s, "saving server state...\n");
}
