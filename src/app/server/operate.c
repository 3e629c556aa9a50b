/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/operate.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/control_port.h"
#include "admin/dashboard.h"
#include "admin/metrics_http.h"
#include "app/server/ports.h"
#include "app/server/stats_job.h"
#include "app/server/web_values.h"
#include "app/files/version.h"
#include "base/log.h"

struct operate {
    /* fixed after operate_new() */
    struct operate_opts o; /* conf, identity and ini_path only while it is made */
    struct conf_endpoint metrics, dashboard_at;
    char name[CONF_TEXT_MAX];     /* of the server; "": it has none */
    struct control_port *control; /* owned; NULL: off */
    /* main thread */
    bool runs_control;
    struct metrics_http *http;   /* owned; NULL: off */
    struct dashboard *dashboard; /* owned; NULL: off */
};

/* ---- save ---- */

/* Worker thread of the control port. */
static enum err save(void *ctx, char *ret_text, size_t cap) {
    const struct operate *op = ctx;
    struct store_problem problem = {0};
    enum err e = store_save(op->o.store, &problem);
    if (e == OK) {
        e = stats_job_save(op->o.job);
        if (e == OK) return OK;
        (void)snprintf(problem.text, sizeof problem.text, "cannot save the statistics: %s",
                       err_reason(e));
    }
    (void)snprintf(ret_text, cap, "%s", problem.text[0] != '\0' ? problem.text : err_reason(e));
    return e;
}

/* Any thread. */
static void gauges(void *ctx, struct stats_gauges *ret) {
    const struct operate *op = ctx;
    op->o.gauges(op->o.ctx, ret);
}

/* ---- start and stop ---- */

static enum err open_control(struct operate *op, struct problem *p) {
    const struct conf *c = op->o.conf;
    if (c->control_port == 0) return OK;
    const struct control_port_opts o = {
        .env = &ENV_SYSTEM,
        .relay = op->o.relay,
        .store = op->o.store,
        .stats = op->o.stats,
        .sheet = op->o.sheet,
        .source = {.ctx = op, .gauges = gauges, .save = save},
        .identity = identity_fingerprint(op->o.identity).p,
        .loop_index = op->o.loop_index,
        .port = (uint16_t)c->control_port,
    };
    const enum err e = control_port_new(&o, &op->control);
    if (e == OK) return OK;
    const struct port_use u = ports_use_of(c, PORTS_CONTROL_KEY);
    return ports_explain(&u, e, op->o.ini_path, p);
}

static enum err open_metrics(struct operate *op, struct problem *p) {
    const struct metrics_http_opts o = {
        .host = op->metrics.host,
        .port = op->metrics.port,
        .stats = op->o.stats,
        .sheet = op->o.metrics_sheet,
        .version = SMP_SERVER_VERSION,
        .ctx = op->o.ctx,
        .gauges = op->o.gauges,
    };
    if (o.port == 0) return OK;
    const enum err e = metrics_http_new(&o, &op->http);
    if (e == OK) return OK;
    const struct port_use u = ports_use_of(op->o.conf, PORTS_METRICS_KEY);
    return ports_explain(&u, e, op->o.ini_path, p);
}

static enum err make_page(const struct operate *op, struct site **ret) {
    struct web_values *values = malloc(sizeof *values);
    if (values == NULL) return E_NO_MEMORY;
    enum err e = web_values_make(op->o.conf, identity_fingerprint(op->o.identity), values);
    if (e == OK) e = site_new_dashboard(values->v, values->n, ret);
    assert(e == OK || e == E_NO_MEMORY); /* values and page are part of the program */
    free(values);
    return e;
}

static enum err open_dashboard(struct operate *op, struct problem *p) {
    const struct conf *c = op->o.conf;
    struct site *site = NULL;
    if (c->dashboard.port == 0) return OK;
    web_name(c, op->name, sizeof op->name);
    enum err e = make_page(op, &site);
    const struct dashboard_opts o = {
        .env = &ENV_SYSTEM,
        .host = op->dashboard_at.host,
        .port = op->dashboard_at.port,
        .site = site,
        .stats = op->o.stats,
        .sheet = op->o.dashboard_sheet,
        .version = SMP_SERVER_VERSION,
        .name = op->name,
        .ctx = op->o.ctx,
        .gauges = op->o.gauges,
    };
    if (e == OK) e = dashboard_new(&o, &op->dashboard);
    site_unref(site);
    if (e == OK) return OK;
    const struct port_use u = ports_use_of(c, PORTS_DASHBOARD_KEY);
    return ports_explain(&u, e, op->o.ini_path, p);
}

enum err operate_new(const struct operate_opts *o, struct operate **ret,
                     struct problem *ret_problem) {
    struct operate *op = calloc(1, sizeof *op);
    if (op == NULL) return problem_set(ret_problem, E_NO_MEMORY, "out of memory");
    op->o = *o;
    op->metrics = o->conf->metrics;
    op->dashboard_at = o->conf->dashboard;
    enum err e = open_control(op, ret_problem);
    if (e == OK) e = open_metrics(op, ret_problem);
    if (e == OK) e = open_dashboard(op, ret_problem);
    if (e != OK) {
        operate_free(op);
        return e;
    }
    operate_set_control(op, &o->conf->control);
    op->o.conf = NULL;
    op->o.identity = NULL;
    op->o.ini_path = NULL;
    *ret = op;
    return OK;
}

static enum err start_metrics(struct operate *op, struct problem *p) {
    if (op->http == NULL) return OK;
    if (metrics_http_start(op->http) != OK)
        return problem_sys(p, "cannot start the thread of the metrics");
    log_line(LOG_INFO, "metrics", "host=%s port=%u", op->metrics.host, op->metrics.port);
    return OK;
}

static enum err start_dashboard(struct operate *op, struct problem *p) {
    if (op->dashboard == NULL) return OK;
    if (dashboard_start(op->dashboard) != OK)
        return problem_sys(p, "cannot start the threads of the dashboard");
    log_line(LOG_INFO, "dashboard", "host=%s port=%u", op->dashboard_at.host,
             op->dashboard_at.port);
    return OK;
}

static enum err start_control(struct operate *op, struct problem *p) {
    if (op->control == NULL) return OK;
    const enum err e = control_port_start(op->control);
    if (e != OK)
        return problem_set(p, e, "cannot start the thread of the control port: %s", err_reason(e));
    op->runs_control = true;
    log_line(LOG_INFO, "control-port", "port=%u", control_port_number(op->control));
    return OK;
}

enum err operate_start(struct operate *op, struct problem *ret_problem) {
    enum err e = start_metrics(op, ret_problem);
    if (e == OK) e = start_dashboard(op, ret_problem);
    if (e == OK) e = start_control(op, ret_problem);
    if (e != OK) operate_stop(op);
    return e;
}

void operate_stop(struct operate *op) {
    if (op == NULL) return;
    metrics_http_stop(op->http);
    dashboard_stop(op->dashboard);
    if (op->runs_control) control_port_stop(op->control);
    op->runs_control = false;
}

void operate_free(struct operate *op) {
    if (op == NULL) return;
    metrics_http_free(op->http);
    dashboard_free(op->dashboard);
    control_port_free(op->control);
    free(op);
}

void operate_set_control(struct operate *op, const struct control_settings *settings) {
    if (op->control != NULL) control_port_set(op->control, settings);
    if (op->dashboard != NULL) dashboard_set_password(op->dashboard, settings->user_password);
}
