/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/settings/conf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/files/file_problem.h"
#include "app/files/files.h"
#include "app/settings/conf_priv.h"
#include "app/settings/country.h"
#include "app/settings/ini.h"
#include "app/settings/near.h"
#include "app/settings/options.h"
#include "base/day.h"
#include "names/endpoint.h"
#include "base/log.h"
#include "crypto/crypto.h"

void conf_init(struct conf *c) {
    *c = (struct conf){0};
    for (size_t i = 0; i < N_OPTS; i++) {
        const struct opt *o = &OPTS[i];
        if (o->type == OPT_BOOL) *(bool *)(void *)((char *)c + o->offset) = o->def != 0;
        if (o->type == OPT_INT) opt_set_number(o, o->def, c);
        if (o->def_text != NULL) {
            const enum err e = opt_parse(o, o->def_text, c);
            assert(e == OK); /* the table contradicts itself */
        }
    }
}

void conf_done(struct conf *c) {
    for (size_t i = 0; i < N_OPTS; i++) {
        if ((OPTS[i].flags & OPT_SECRET) != 0) opt_wipe(&OPTS[i], c);
    }
}

/* ---- reading ---- */

struct reader {
    struct conf *conf;
    const char *file;
    conf_warn *warn;
    void *warn_ctx;
    struct problem *problem;
    conf_warn *fail; /* NULL: the first error ends reading */
};

static const struct opt *find(const char *section, const char *key) {
    for (size_t i = 0; i < N_OPTS; i++) {
        if (strcmp(OPTS[i].section, section) == 0 && strcmp(OPTS[i].key, key) == 0) return &OPTS[i];
    }
    return NULL;
}

static PRINTF_LIKE(2, 3) void remark(const struct reader *r, const char *fmt, ...) {
    struct problem p;
    va_list ap;
    va_start(ap, fmt);
    (void)problem_vset(&p, OK, fmt, ap);
    va_end(ap);
    r->warn(r->warn_ctx, p.text);
}

/* Whether a section of the file may be meant to be this one. */
static bool is_section_near(const char *section, const char *known) {
    return strcmp(section, known) == 0 || near_is_slip(section, known);
}

/* The nearest of the settings that are like an unknown one, NULL when none is. Of those in its
 * section (or one whose name is like it) the names need only share a part; or of all. */
static const struct opt *nearest_of(const struct ini_line *line, bool in_section) {
    const struct opt *nearest = NULL;
    unsigned best = NEAR_FAR;
    for (size_t i = 0; i < N_OPTS; i++) {
        const struct opt *o = &OPTS[i];
        if (in_section && !is_section_near(line->section, o->section)) continue;
        const bool is_part = in_section && near_is_part(line->key, o->key);
        if (!is_part && !near_is_slip(line->key, o->key)) continue;
        const unsigned distance = near_distance(line->key, o->key);
        if (distance >= best && nearest != NULL) continue;
        nearest = o;
        best = distance;
    }
    return nearest;
}

/* The setting that an unknown one may have been meant to be, NULL when none is like it. */
static const struct opt *find_near(const struct ini_line *line) {
    const struct opt *near = nearest_of(line, true);
    return near != NULL ? near : nearest_of(line, false);
}

/* A name as messages have it. What follows its first word is not told: where the = was forgotten it
 * is the value, which may be a password. */
struct name {
    char word[NEAR_WORD_MAX + 1];
    bool is_cut;
};

static struct name first_word(const char *key) {
    struct name name;
    const size_t n = strcspn(key, " \t");
    (void)snprintf(name.word, sizeof name.word, "%.*s", (int)n, key);
    name.is_cut = key[n] != '\0' || n >= sizeof name.word;
    return name;
}

static struct problem shown_name(const char *section, const struct name *name) {
    struct problem text;
    const char *dots = name->is_cut ? " ..." : "";
    if (*section == '\0') {
        (void)problem_set(&text, OK, "%s%s before the first [SECTION]", name->word, dots);
    } else {
        (void)problem_set(&text, OK, "[%.100s] %s%s", section, name->word, dots);
    }
    return text;
}

static bool is_of_auth(const struct opt *o) {
    return strcmp(o->section, "AUTH") == 0;
}

/* `create_password abc=` is read as a setting of that name. */
static enum err treat_lost_equals(const struct reader *r, unsigned number, const struct opt *o) {
    if (is_of_auth(o)) {
        return problem_set(r->problem, E_CONFIG,
                           "%s:%u: there is no = after [AUTH] %s: write it, or begin the line with "
                           "#",
                           r->file, number, o->key);
    }
    remark(r, "%s:%u: there is no = after [%s] %s: the line is ignored", r->file, number,
           o->section, o->key);
    return OK;
}

/* Who mistypes a setting of [AUTH] would let in those whom it should keep out: that stops the
 * start. Anything else is ignored, as newer versions of the reference may have more settings. */
static enum err treat_unknown(const struct reader *r, const struct ini_line *line) {
    const struct name name = first_word(line->key);
    const struct ini_line first = {line->number, line->section, name.word, line->value};
    const struct opt *exact = name.is_cut ? find(line->section, name.word) : NULL;
    if (exact != NULL) return treat_lost_equals(r, line->number, exact);
    const struct opt *meant = find_near(&first);
    const struct problem text = shown_name(line->section, &name);
    if (meant == NULL) {
        remark(r, "%s:%u: unknown setting %s is ignored: check its spelling", r->file, line->number,
               text.text);
        return OK;
    }
    if (!is_of_auth(meant)) {
        remark(r, "%s:%u: unknown setting %s is ignored: did you mean [%s] %s?", r->file,
               line->number, text.text, meant->section, meant->key);
        return OK;
    }
    return problem_set(r->problem, E_CONFIG,
                       "%s:%u: unknown setting %s: did you mean [AUTH] %s? Correct it, or begin "
                       "the "
                       "line with #",
                       r->file, line->number, text.text, meant->key);
}

/* Whether a setting that is not used asks for something else than this version does. */
static bool asks_for_more(const struct opt *o, const struct conf *c) {
    struct conf defaults;
    conf_init(&defaults);
    return strcmp(conf__printed(o, &defaults).s, conf__printed(o, c).s) != 0;
}

/* Passes on an error, unless somebody wants to hear of all. */
static enum err pass_error(const struct reader *r, enum err e) {
    if (e == OK || r->fail == NULL) return e;
    r->fail(r->warn_ctx, r->problem->text);
    return OK;
}

static enum err read_line(const struct reader *r, const struct ini_line *line) {
    struct conf *c = r->conf;
    const struct opt *o = find(line->section, line->key);
    if (o == NULL) return treat_unknown(r, line);
    const size_t row = (size_t)(o - OPTS);
    if (c->line[row] != 0) { /* the first counts, as in the reference: tools insert above */
        remark(r, "%s:%u: [%s] %s is already set in line %u, which counts: remove one", r->file,
               line->number, o->section, o->key, c->line[row]);
        return OK;
    }
    if (opt_parse(o, line->value, c) != OK) {
        const bool secret = (o->flags & OPT_SECRET) != 0 && o->type != OPT_SOCKS;
        return problem_set(r->problem, E_CONFIG,
                           "%s:%u: [%s] %s: %s%.200s%s is not allowed; must be %s", r->file,
                           line->number, o->section, o->key, secret ? "" : "\"",
                           secret ? "its value" : conf__shown(o, line->value).s, secret ? "" : "\"",
                           conf__allowed(o).s);
    }
    c->line[row] = line->number;
    c->unused[row] = (o->flags & OPT_NOT_YET) != 0 && asks_for_more(o, c);
    return OK;
}

static enum err read_setting(void *ctx, const struct ini_line *line) {
    const struct reader *r = ctx;
    return pass_error(r, read_line(r, line));
}

static unsigned line_of(const struct conf *c, const char *section, const char *key) {
    const struct opt *o = find(section, key);
    assert(o != NULL);
    return c->line[o - OPTS];
}

/* What asks for storage that does not exist must not start a server that forgets. */
static enum err check_storage(const struct reader *r) {
    const struct conf *c = r->conf;
    const bool queues = strcmp(c->store_queues, "database") == 0;
    const bool messages = strcmp(c->store_messages, "database") == 0;
    const bool journal = strcmp(c->store_messages, "journal") == 0;
    if (c->database_is_fine || (!queues && !messages)) return OK;
    const struct {
        const char *key, *value, *why;
        bool refused;
    } rows[] = {
        {"store_queues", c->store_queues,
         "messages are in the journal: run `smp-server journal export`, then `smp-server database "
         "import --table messages`, and set store_messages = database",
         queues && journal},
        {"store_queues", c->store_queues,
         "messages are then in the database too: set store_messages = database",
         queues && !messages},
        {"store_messages", c->store_messages,
         "messages are in a database only together with their queues: set store_queues = database "
         "too",
         !queues},
        {"store_queues", c->store_queues, "there are files beside a database: set enable = on",
         !c->store_log},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!rows[i].refused) continue;
        return problem_set(r->problem, E_CONFIG, "%s:%u: [STORE_LOG] %s: \"%s\" is not allowed; %s",
                           r->file, line_of(c, "STORE_LOG", rows[i].key), rows[i].key,
                           rows[i].value, rows[i].why);
    }
    return OK;
}

/* Two servers on files would each serve what the other one does not have. */
static enum err check_standby(const struct reader *r) {
    const struct conf *c = r->conf;
    if (!c->standby || strcmp(c->store_queues, "database") == 0) return OK;
    return problem_set(r->problem, E_CONFIG,
                       "%s:%u: [CLUSTER] standby: \"on\" is not allowed; it needs PostgreSQL, "
                       "which "
                       "both servers use: set [STORE_LOG] store_queues = database and "
                       "store_messages = database",
                       r->file, line_of(c, "CLUSTER", "standby"));
}

/* Messages cannot outlive their queues. Not an error: init writes `store_messages = journal`, and
 * tools change `enable` alone. */
static void settle_storage(const struct reader *r) {
    struct conf *c = r->conf;
    if (c->store_log || strcmp(c->store_messages, "journal") != 0) return;
    remark(r,
           "%s:%u: [STORE_LOG] store_messages = journal has no effect with enable = off: all is in "
           "memory, and lost when the server stops; set enable = on to keep it",
           r->file, line_of(c, "STORE_LOG", "store_messages"));
    (void)snprintf(c->store_messages, sizeof c->store_messages, "memory");
}

static enum err check_versions(const struct reader *r) {
    const struct conf *c = r->conf;
    if (c->relay.version_min <= c->relay.version_max) return OK;
    const unsigned at_min = line_of(c, "LIMITS", "smp_version_min");
    const unsigned at_max = line_of(c, "LIMITS", "smp_version_max");
    return problem_set(r->problem, E_CONFIG,
                       "%s:%u: [LIMITS] smp_version_min %d is above smp_version_max %d: no client "
                       "could "
                       "connect",
                       r->file, at_min > at_max ? at_min : at_max, (int)c->relay.version_min,
                       (int)c->relay.version_max);
}

/* Who tells anything about a server has to tell where its source code is. The type of hosting alone
 * says nothing; the reference writes it into every file. */
static enum err check_source_code(const struct reader *r) {
    if (r->conf->information.source_code[0] != '\0') return OK;
    for (size_t i = 0; i < N_OPTS; i++) {
        const struct opt *o = &OPTS[i];
        if (strcmp(o->section, "INFORMATION") != 0 || strcmp(o->key, "hosting_type") == 0) continue;
        if (r->conf->line[i] == 0 || conf__printed(o, r->conf).s[0] == '\0') continue;
        return problem_set(r->problem, E_CONFIG,
                           "%s:%u: [INFORMATION] %s is set without source_code: set that too, or "
                           "remove both",
                           r->file, r->conf->line[i], o->key);
    }
    return OK;
}

enum err conf_resolver(const struct conf *c, struct endpoint *ret, const char **ret_key,
                       const char **ret_why) {
    *ret_key = "resolver_endpoint";
    *ret_why = "it is not set";
    if (c->resolver_endpoint[0] == '\0') return E_CONFIG;
    if (endpoint_set_url(ret, c->resolver_endpoint, ret_why) != OK) return E_CONFIG;
    *ret_key = "resolver_auth";
    if (c->resolver_auth[0] == '\0') return OK;
    return endpoint_set_auth(ret, c->resolver_auth, ret_why) == OK ? OK : E_CONFIG;
}

static enum err check_names(const struct reader *r) {
    const struct conf *c = r->conf;
    struct endpoint e;
    const char *key = NULL, *why = NULL;
    const bool is_needed = c->names_enable || c->resolver_auth[0] != '\0';
    if (!is_needed && c->resolver_endpoint[0] == '\0') return OK;
    const enum err result = conf_resolver(c, &e, &key, &why);
    endpoint_wipe(&e);
    if (result == OK) return OK;
    unsigned line = line_of(c, "NAMES", key); /* 0: another key makes it necessary */
    if (line == 0) line = line_of(c, "NAMES", c->names_enable ? "enable" : "resolver_auth");
    return problem_set(r->problem, E_CONFIG, "%s:%u: [NAMES] %s: %s; must be %s", r->file, line,
                       key, why,
                       strcmp(key, "resolver_auth") == 0
                           ? "bearer TOKEN or basic USER:PASSWORD, with https or on localhost"
                           : "an http or https URL such as http://localhost:8000");
}

static bool is_set(const struct conf *c, const char *section, const char *key) {
    const struct opt *o = find(section, key);
    assert(o != NULL);
    const struct conf_text t = conf__printed(o, c);
    return t.s[0] != '\0' && strcmp(t.s, "off") != 0;
}

/* What has an effect only together with something else. */
static void warn_of_halves(const struct reader *r) {
    static const struct {
        const char *section, *key, *in, *needs;
    } ROWS[] = {
        {"INFORMATION", "condition_amendments", "INFORMATION", "usage_conditions"},
        {"INFORMATION", "operator_country", "INFORMATION", "operator"},
        {"INFORMATION", "hosting_country", "INFORMATION", "hosting"},
        {"INFORMATION", "admin_pgp", "INFORMATION", "admin_pgp_fingerprint"},
        {"INFORMATION", "admin_pgp_fingerprint", "INFORMATION", "admin_pgp"},
        {"INFORMATION", "complaints_pgp", "INFORMATION", "complaints_pgp_fingerprint"},
        {"INFORMATION", "complaints_pgp_fingerprint", "INFORMATION", "complaints_pgp"},
        {"WEB", "https", "WEB", "cert"},
        {"WEB", "https", "WEB", "key"},
        {"WEB", "dashboard", "AUTH", "control_port_user_password"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        const char *section = ROWS[i].section, *key = ROWS[i].key;
        const char *in = ROWS[i].in, *needs = ROWS[i].needs;
        const bool is_elsewhere = strcmp(in, section) != 0;
        if (!is_set(r->conf, section, key) || is_set(r->conf, in, needs)) continue;
        remark(r, "%s:%u: [%s] %s has no effect without %s%s%s%s: set that too", r->file,
               line_of(r->conf, section, key), section, key, is_elsewhere ? "[" : "",
               is_elsewhere ? in : "", is_elsewhere ? "] " : "", needs);
    }
}

/* The reference says days in its file and reads seconds. */
static void warn_of_days(const struct reader *r) {
    const struct conf *c = r->conf;
    const unsigned line = line_of(c, "STORE_LOG", "db_deleted_ttl");
    if (line == 0 || strcmp(c->store_queues, "database") != 0 ||
        c->db_deleted_ttl > CONF_DB_TTL_DAYS_MAX)
        return;
    remark(r,
           "%s:%u: [STORE_LOG] db_deleted_ttl = %lld is taken for days, where the reference takes "
           "it "
           "for seconds; a number above %d is seconds here too",
           r->file, line, (long long)c->db_deleted_ttl, CONF_DB_TTL_DAYS_MAX);
}

/* Any two letters are accepted, as the reference does: visitors see them as they are. */
static void warn_of_countries(const struct reader *r) {
    const struct conf_information *i = &r->conf->information;
    const struct {
        const char *key, *value;
    } rows[] = {
        {"server_country", i->server_country},
        {"operator_country", i->operator_country},
        {"hosting_country", i->hosting_country},
    };
    for (size_t n = 0; n < ARRAY_LEN(rows); n++) {
        if (rows[n].value[0] == '\0' || country_exists(rows[n].value)) continue;
        remark(r, "%s:%u: [INFORMATION] %s: ISO 3166 has no country %s%s", r->file,
               line_of(r->conf, "INFORMATION", rows[n].key), rows[n].key, rows[n].value,
               strcmp(rows[n].value, "UK") == 0 ? ": the United Kingdom is GB" : "");
    }
}

static enum err read_text(struct reader *r, char *text) {
    unsigned at = 0;
    enum err e = ini_parse(text, read_setting, r, &at);
    if (e == E_SYNTAX) {
        return problem_set(r->problem, E_CONFIG,
                           "%s:%u: neither a [SECTION] nor a `key = value`: correct it, or begin "
                           "it "
                           "with #",
                           r->file, at);
    }
    if (e == OK) e = pass_error(r, check_storage(r));
    if (e == OK) e = pass_error(r, check_standby(r));
    if (e == OK) e = pass_error(r, check_versions(r));
    if (e == OK) e = pass_error(r, check_names(r));
    if (e == OK) e = pass_error(r, check_source_code(r));
    if (e == OK) settle_storage(r);
    if (e == OK) warn_of_halves(r);
    if (e == OK) warn_of_days(r);
    if (e == OK) warn_of_countries(r);
    return e;
}

enum err conf_parse(struct conf *c, const char *file, char *text, conf_warn *warn, void *ctx,
                    struct problem *ret_problem) {
    struct reader r = {c, file, warn, ctx, ret_problem, NULL};
    return read_text(&r, text);
}

enum err conf_check_value(const struct conf_value *v, char *ret_allowed, size_t cap) {
    const struct opt *o = find(v->section, v->key);
    assert(o != NULL);
    struct conf scratch;
    conf_init(&scratch);
    const enum err e = opt_parse(o, v->value, &scratch);
    conf_done(&scratch);
    if (e != OK) (void)snprintf(ret_allowed, cap, "%s", conf__allowed(o).s);
    return e;
}

bool conf_is_used(const char *section, const char *key) {
    const struct opt *o = find(section, key);
    return o != NULL && (o->flags & OPT_NOT_YET) == 0;
}

void conf_log_warning(void *ctx, const char *text) {
    (void)ctx;
    log_line(LOG_WARN, "settings", "%s", text);
}

/* A file that was emptied, as by an editor on a full disk, asks for nothing that its server was. */
static bool has_settings(const struct conf *c) {
    for (size_t i = 0; i < N_OPTS; i++) {
        if (c->line[i] != 0) return true;
    }
    return false;
}

static enum err load(struct reader *r) {
    const char *file = r->file;
    struct problem *ret_problem = r->problem;
    if (!file_exists(file) && errno == ENOENT) {
        return problem_set(ret_problem, E_NOT_FOUND,
                           "server is not initialized (%s does not exist): run `smp-server init`",
                           file);
    }
    char *text = NULL;
    size_t n = 0;
    enum err e = file_read(file, CONF_FILE_MAX, &text, &n);
    if (e == E_LIMIT) {
        return problem_set(ret_problem, E_CONFIG, "%s is larger than 1 MiB: this is not its place",
                           file);
    }
    if (e == E_SYS) {
        return file_problem(ret_problem, "cannot read", file, errno);
    }
    if (e != OK) return problem_set(ret_problem, e, "cannot read %s: %s", file, err_meaning(e));
    if (strlen(text) != n) {
        e = problem_set(ret_problem, E_CONFIG, "%s has a NUL character: it is not a text file",
                        file);
    } else {
        e = read_text(r, text);
        if (e == OK && !has_settings(r->conf)) {
            e = problem_set(ret_problem, E_CONFIG,
                            "there are no settings in %s: restore it from your backup, or move it "
                            "away and run `smp-server init --keep-identity`",
                            file);
        }
    }
    crypto_wipe(text, n); /* it has passwords in it */
    free(text);
    return e;
}

enum err conf_load(struct conf *c, const char *file, conf_warn *warn, void *ctx,
                   struct problem *ret_problem) {
    struct reader r = {c, file, warn, ctx, ret_problem, NULL};
    return load(&r);
}

enum err conf_load_all(struct conf *c, const char *file, conf_warn *warn, conf_warn *fail,
                       void *ctx, struct problem *ret_problem) {
    struct reader r = {c, file, warn, ctx, ret_problem, fail};
    return load(&r);
}

int64_t conf_message_ttl_s(const struct conf *c) {
    return c->message_ttl_s != 0 ? c->message_ttl_s : c->expire_messages_days * DAY_S;
}

int64_t conf_ntf_ttl_s(const struct conf *c) {
    return c->ntf_ttl_s != 0 ? c->ntf_ttl_s : c->expire_ntfs_hours * 3600;
}

/* ---- what changes while the server runs ---- */

static bool is_equal(const struct opt *o, const struct conf *a, const struct conf *b) {
    struct conf_text text_a = conf__printed(o, a), text_b = conf__printed(o, b);
    const bool equal = strcmp(text_a.s, text_b.s) == 0;
    crypto_wipe(&text_a, sizeof text_a);
    crypto_wipe(&text_b, sizeof text_b);
    return equal;
}

bool conf_differs(const struct conf *c, const struct conf *next, enum conf_part part) {
    for (size_t i = 0; i < N_OPTS; i++) {
        if (OPTS[i].part == part && !is_equal(&OPTS[i], c, next)) return true;
    }
    return false;
}

void conf_take(struct conf *c, const struct conf *next, enum conf_part part) {
    for (size_t i = 0; i < N_OPTS; i++) {
        if (OPTS[i].part == part) opt_copy(&OPTS[i], next, c);
    }
}

void conf_warn_of_restart(const struct conf *c, const struct conf *next, conf_warn *warn,
                          void *ctx) {
    for (size_t i = 0; i < N_OPTS; i++) {
        const struct opt *o = &OPTS[i];
        const bool is_meant = o->part == CONF_RESTART && (o->flags & OPT_NOT_YET) == 0;
        if (!is_meant || is_equal(o, c, next)) continue;
        char text[256];
        (void)snprintf(text, sizeof text, "[%s] %s changed: restart to use it", o->section, o->key);
        warn(ctx, text);
    }
}
