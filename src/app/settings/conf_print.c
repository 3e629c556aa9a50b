/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* conf_print.c -- settings in words: what is in force, and smp-server.ini as init writes it. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "app/settings/conf_priv.h"
#include "crypto/crypto.h"

/* ---- a value ---- */

struct conf_text conf__printed(const struct opt *o, const struct conf *c) {
    struct conf_text t;
    struct wr w = wr_init(t.s, sizeof t.s - 1);
    opt_print(o, c, &w);
    assert(wr_err(&w) == OK);
    t.s[wr_bytes(&w).n] = '\0';
    return t;
}

struct conf_text conf__allowed(const struct opt *o) {
    struct conf_text t;
    struct wr w = wr_init(t.s, sizeof t.s - 1);
    opt_allowed(o, &w);
    t.s[wr_bytes(&w).n] = '\0';
    return t;
}

struct conf_text conf__shown(const struct opt *o, const char *value) {
    struct conf_text t = {""};
    struct wr w = wr_init(t.s, sizeof t.s - 1);
    const bool is_short = strlen(value) < sizeof t.s / 2;
    if (is_short) {
        opt_show(o, value, &w);
        t.s[wr_bytes(&w).n] = '\0';
    } else {
        const char *cut = (o->flags & OPT_SECRET) != 0 ? "(hidden)" : value;
        (void)snprintf(t.s, sizeof t.s, "%s", cut);
    }
    return t;
}

/* ---- all of them ---- */

void conf_list_unused(const struct conf *c, struct wr *w) {
    const char *separator = "";
    for (size_t i = 0; i < N_OPTS; i++) {
        if (!c->unused[i]) continue;
        wr_str(w, separator);
        wr_str(w, OPTS[i].section);
        wr_str(w, ".");
        wr_str(w, OPTS[i].key);
        separator = ", ";
    }
}

static bool is_in(const struct opt *o, const struct opt_section *s) {
    return strcmp(o->section, s->name) == 0;
}

static void write_setting(struct wr *w, const char *prefix, const char *key, const char *value) {
    wr_str(w, prefix);
    wr_str(w, key);
    wr_str(w, *value != '\0' ? " = " : " =");
    wr_str(w, value);
    wr_str(w, "\n");
}

static void write_section(struct wr *w, const struct opt_section *s) {
    wr_str(w, "[");
    wr_str(w, s->name);
    wr_str(w, "]\n");
}

static void write_in_force(struct wr *w, const struct opt *o, const struct conf *c) {
    struct conf_text t = conf__printed(o, c);
    const bool has_value = t.s[0] != '\0';
    const bool is_default = o->def_text != NULL && strcmp(t.s, o->def_text) == 0; /* no secret */
    write_setting(w, has_value ? "" : "# ", o->key,
                  is_default ? t.s : (has_value ? conf__shown(o, t.s).s : ""));
    crypto_wipe(&t, sizeof t);
}

void conf_print(const struct conf *c, struct wr *w) {
    for (size_t s = 0; s < N_OPT_SECTIONS; s++) {
        bool is_begun = false;
        for (size_t i = 0; i < N_OPTS; i++) {
            const struct opt *o = &OPTS[i];
            if (!is_in(o, &OPT_SECTIONS[s]) || (o->flags & OPT_NOT_YET) != 0) continue;
            if (!is_begun) write_section(w, &OPT_SECTIONS[s]);
            is_begun = true;
            write_in_force(w, o, c);
        }
    }
}

/* Each line of help as a comment. */
static void write_help(struct wr *w, const char *help) {
    while (help != NULL && *help != '\0') {
        const size_t len = strcspn(help, "\n");
        wr_str(w, "# ");
        wr_bytes_raw(w, bytes_of(help, len));
        wr_str(w, "\n");
        help += len + (help[len] == '\n');
    }
}

static const char *value_for(const struct opt *o, const struct conf_value *values, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct conf_value *v = &values[i];
        if (strcmp(v->section, o->section) == 0 && strcmp(v->key, o->key) == 0) return v->value;
    }
    return NULL;
}

/* A value for a setting that has none: the sample, or the first of its words. */
static struct conf_text sample(const struct opt *o) {
    struct conf_text t = {""};
    if (o->words == NULL) return t;
    const size_t n = o->type == OPT_WORD ? strcspn(o->words, ",") : strlen(o->words);
    assert(n < sizeof t.s);
    memcpy(t.s, o->words, n);
    t.s[n] = '\0';
    return t;
}

static void write_template_setting(struct wr *w, const struct opt *o, const struct conf *defaults,
                                   const char *value) {
    struct conf_text shown = conf__printed(o, defaults);
    const bool in_force = value != NULL || (o->flags & OPT_WRITTEN) != 0;
    if (shown.s[0] == '\0') shown = sample(o);
    write_help(w, o->help);
    if ((o->flags & OPT_NOT_YET) != 0) write_help(w, "This version does not use it.");
    write_setting(w, in_force ? "" : "# ", o->key, value != NULL ? value : shown.s);
    wr_str(w, "\n");
}

void conf_print_template(const struct conf_value *values, size_t n, struct wr *w) {
    struct conf defaults;
    conf_init(&defaults);
    wr_str(w,
           "# Settings of smp-server. Lines that begin with # are comments; settings that are "
           "commented out\n"
           "# have the value shown or, where the explanation says so, none. After changes restart "
           "the server, or\n"
           "# send it SIGHUP: it then says which of them need a restart.\n\n");
    for (size_t s = 0; s < N_OPT_SECTIONS; s++) {
        write_section(w, &OPT_SECTIONS[s]);
        write_help(w, OPT_SECTIONS[s].help);
        wr_str(w, OPT_SECTIONS[s].help != NULL ? "\n" : "");
        for (size_t i = 0; i < N_OPTS; i++) {
            if (!is_in(&OPTS[i], &OPT_SECTIONS[s])) continue;
            write_template_setting(w, &OPTS[i], &defaults, value_for(&OPTS[i], values, n));
        }
    }
}
