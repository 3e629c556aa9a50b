/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/site.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/attr.h"
#include "base/rd.h"
#include "crypto/crypto.h"
#include "web/assets.h"
#include "web/coding.h"
#include "web/template.h"

enum {
    PAGE_MAX = 1024 * 1024,
    PATH_MAX_BYTES = 128,
    PATHS_MAX = 160,
    FILES_MAX = 40,
    NO_LANG = N_WEB_LANGS,
};

static const char *const LINK_FOLDERS[] = {"contact", "invitation", "a", "c", "g", "r", "i"};

/* What is at a path. */
struct place {
    char path[PATH_MAX_BYTES];
    const struct site_file *file; /* borrowed from site.files */
    unsigned lang;                /* NO_LANG: as the browser wants it */
    bool is_written;              /* in static_path it is a file of this name */
};

struct site {
    _Atomic unsigned n_refs;
    unsigned n_places, n_files;
    struct place places[PATHS_MAX]; /* sorted */
    struct site_file files[FILES_MAX];
    const struct site_file *not_found; /* borrowed from files */
};

/* ---- values ---- */

struct filling {
    const struct site_value *values;
    size_t n;
    enum web_lang lang;
    char name[TEMPLATE_NAME_MAX]; /* of a country */
};

static struct bytes find_asset(const char *path) {
    for (size_t i = 0; i < N_WEB_ASSETS; i++) {
        if (strcmp(WEB_ASSETS[i].path, path) == 0)
            return bytes_of(WEB_ASSETS[i].p, WEB_ASSETS[i].n);
    }
    return (struct bytes){0};
}

static const char *find_value(const struct filling *f, struct bytes name) {
    for (size_t i = 0; i < f->n; i++) {
        if (bytes_equal(name, bytes_str(f->values[i].name))) return f->values[i].value;
    }
    return NULL;
}

/* countries.tsv: code, then the names in the order of enum web_lang. The code itself where it has
 * no name. */
static const char *country_name(struct filling *f, const char *code) {
    struct rd table = rd_init(find_asset("countries.tsv"));
    struct bytes name = bytes_str(code);
    while (rd_left(&table) != 0) {
        struct rd line = rd_init(rd_part(&table, '\n'));
        if (!bytes_equal(rd_until(&line, '\t'), bytes_str(code))) continue;
        for (unsigned i = 0; i <= f->lang && rd_left(&line) != 0; i++) {
            rd_lit(&line, '\t');
            name = rd_until(&line, '\t');
        }
        break;
    }
    (void)snprintf(f->name, sizeof f->name, "%.*s", (int)name.n, (const char *)name.p);
    return f->name;
}

static const char *value_of(const void *ctx, struct bytes name) {
    static const char SUFFIX[] = "_name", COUNTRY[] = "country_name";
    struct filling *f = *(struct filling *const *)ctx;
    const size_t n_country = sizeof COUNTRY - 1;
    if (name.n < n_country || memcmp(name.p + name.n - n_country, COUNTRY, n_country) != 0)
        return find_value(f, name);
    const char *code = find_value(f, bytes_of(name.p, name.n - (sizeof SUFFIX - 1)));
    return code != NULL && *code != '\0' ? country_name(f, code) : code;
}

/* ---- files ---- */

static const char *type_of(const char *path) {
    // clang-format off
    static const struct { const char *end, *type; } TYPES[] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".txt", "text/plain; charset=utf-8"},
    };
    // clang-format on
    const size_t n = strlen(path);
    for (size_t i = 0; i < ARRAY_LEN(TYPES); i++) {
        const size_t n_end = strlen(TYPES[i].end);
        if (n >= n_end && strcmp(path + n - n_end, TYPES[i].end) == 0) return TYPES[i].type;
    }
    return "application/json"; /* those of well-known */
}

static enum err make_tag(struct site_body *b) {
    uint8_t hash[SHA256_LEN];
    const enum err e = crypto_sha256(b->coded[WEB_PLAIN], hash);
    for (unsigned i = 0; i < 8; i++)
        (void)snprintf(b->tag + (size_t)2 * i, sizeof b->tag - (size_t)2 * i, "%02x", hash[i]);
    return e;
}

/* A copy of plain, and what comes of it. On an error the site frees what is there. */
static enum err make_body(struct site_body *b, struct bytes plain) {
    uint8_t *copy = malloc(plain.n + 1);
    if (copy == NULL) return E_NO_MEMORY;
    if (plain.n > 0) memcpy(copy, plain.p, plain.n);
    b->coded[WEB_PLAIN] = bytes_of(copy, plain.n);
    enum err e = make_tag(b);
    for (unsigned c = WEB_GZIP; c < N_WEB_CODINGS && e == OK; c++)
        e = coding_make((enum web_coding)c, b->coded[WEB_PLAIN], &b->coded[c]);
    return e;
}

static struct site_file *add_file(struct site *s, const char *path, enum site_cache cache) {
    assert(s->n_files < FILES_MAX);
    struct site_file *f = &s->files[s->n_files++];
    f->type = type_of(path);
    f->cache = cache;
    return f;
}

/* path: of its files, without language and ending. */
static enum err add_page(struct site *s, const char *page, struct filling *f,
                         const struct site_file **ret) {
    static const char *const ENDS[N_WEB_LANGS] = {".html", ".fr.html", ".ja.html"};
    struct site_file *file = add_file(s, ".html", SITE_REVALIDATE);
    uint8_t *buf = malloc(PAGE_MAX);
    enum err e = buf != NULL ? OK : E_NO_MEMORY;
    file->by_lang = true;
    for (unsigned i = 0; i < N_WEB_LANGS && e == OK; i++) {
        char path[PATH_MAX_BYTES];
        (void)snprintf(path, sizeof path, "%s%s", page, ENDS[i]);
        f->lang = (enum web_lang)i;
        struct wr w = wr_init(buf, PAGE_MAX);
        e = template_fill(find_asset(path), value_of, &f, &w);
        if (e == OK) e = make_body(&file->bodies[i], wr_bytes(&w));
    }
    free(buf);
    *ret = file;
    return e;
}

/* ---- paths ---- */

static void add_place(struct site *s, const struct site_file *f, unsigned lang, bool is_written,
                      const char *folder, const char *name) {
    assert(s->n_places < PATHS_MAX);
    struct place *p = &s->places[s->n_places++];
    const int n = snprintf(p->path, sizeof p->path, "%s/%s", folder, name);
    assert(n > 0 && (size_t)n < sizeof p->path);
    p->file = f;
    p->lang = lang;
    p->is_written = is_written;
}

/* A page as the index of a folder: "" or "/contact". */
static void add_index(struct site *s, const struct site_file *f, const char *folder) {
    add_place(s, f, NO_LANG, false, folder, "");
    add_place(s, f, NO_LANG, true, folder, "index.html");
    add_place(s, f, WEB_EN, true, folder, "index.en.html");
    add_place(s, f, WEB_FR, true, folder, "index.fr.html");
    add_place(s, f, WEB_JA, true, folder, "index.ja.html");
}

static void add_link_pages(struct site *s, const struct site_file *f) {
    for (size_t i = 0; i < ARRAY_LEN(LINK_FOLDERS); i++) {
        char folder[32];
        (void)snprintf(folder, sizeof folder, "/%s", LINK_FOLDERS[i]);
        add_index(s, f, folder);
        add_place(s, f, NO_LANG, false, "", LINK_FOLDERS[i]);
    }
}

/* The files of web/media and web/well-known. */
static enum err add_assets(struct site *s) {
    enum err e = OK;
    for (size_t i = 0; i < N_WEB_ASSETS && e == OK; i++) {
        const struct web_asset *a = &WEB_ASSETS[i];
        const bool is_media = strncmp(a->path, "media/", 6) == 0;
        const bool is_known = strncmp(a->path, "well-known/", 11) == 0;
        if (!is_media && !is_known) continue;
        const char *name = strchr(a->path, '/') + 1;
        const bool is_hashed = is_media && strstr(name, ".txt") == NULL;
        struct site_file *f = add_file(s, a->path, is_hashed ? SITE_FOREVER : SITE_DAY);
        e = make_body(&f->bodies[0], bytes_of(a->p, a->n));
        add_place(s, f, NO_LANG, true, is_media ? "/media" : "/well-known", name);
        /* Some web servers give out no names with a dot: so both are there. */
        if (is_known) add_place(s, f, NO_LANG, true, "/.well-known", name);
    }
    return e;
}

static int compare_places(const void *a, const void *b) {
    return strcmp(((const struct place *)a)->path, ((const struct place *)b)->path);
}

/* ---- the whole ---- */

typedef enum err fill_fn(struct site *s, struct filling *f);

static enum err fill(struct site *s, struct filling *f) {
    const struct site_file *index = NULL, *link = NULL;
    enum err e = add_page(s, "pages/index", f, &index);
    if (e == OK) e = add_page(s, "pages/link", f, &link);
    if (e == OK) e = add_page(s, "pages/404", f, &s->not_found);
    if (e != OK) return e;
    add_index(s, index, "");
    add_link_pages(s, link);
    return add_assets(s);
}

/* The files of web/dashboard lie beside their page. */
static enum err fill_dashboard(struct site *s, struct filling *f) {
    static const char FOLDER[] = "dashboard/";
    const size_t n_folder = sizeof FOLDER - 1;
    const struct site_file *index = NULL;
    enum err e = add_page(s, "dashboard/index", f, &index);
    if (e == OK) add_index(s, index, "");
    for (size_t i = 0; i < N_WEB_ASSETS && e == OK; i++) {
        const struct web_asset *a = &WEB_ASSETS[i];
        if (strncmp(a->path, FOLDER, n_folder) != 0 || strstr(a->path, ".html") != NULL) continue;
        struct site_file *file = add_file(s, a->path, SITE_REVALIDATE);
        e = make_body(&file->bodies[0], bytes_of(a->p, a->n));
        add_place(s, file, NO_LANG, false, "", a->path + n_folder);
    }
    return e;
}

static enum err make(const struct site_value *values, size_t n, fill_fn *fn, struct site **ret) {
    struct site *s = calloc(1, sizeof *s);
    if (s == NULL) return E_NO_MEMORY;
    atomic_init(&s->n_refs, 1);
    struct filling f = {.values = values, .n = n};
    const enum err e = fn(s, &f);
    qsort(s->places, s->n_places, sizeof s->places[0], compare_places);
    if (e == OK) {
        *ret = s;
    } else {
        site_unref(s);
    }
    return e;
}

enum err site_new(const struct site_value *values, size_t n, struct site **ret) {
    return make(values, n, fill, ret);
}

enum err site_new_dashboard(const struct site_value *values, size_t n, struct site **ret) {
    return make(values, n, fill_dashboard, ret);
}

struct site *site_ref(struct site *s) {
    atomic_fetch_add_explicit(&s->n_refs, 1, memory_order_relaxed);
    return s;
}

static void free_body(struct site_body *b) {
    for (unsigned c = 0; c < N_WEB_CODINGS; c++) free((void *)(uintptr_t)b->coded[c].p);
}

void site_unref(struct site *s) {
    /* What others did with it comes before its end. */
    if (s == NULL || atomic_fetch_sub_explicit(&s->n_refs, 1, memory_order_acq_rel) != 1) return;
    for (unsigned i = 0; i < s->n_files; i++) {
        for (unsigned l = 0; l < N_WEB_LANGS; l++) free_body(&s->files[i].bodies[l]);
    }
    free(s);
}

static int compare_path(const void *path, const void *place) {
    const struct bytes a = *(const struct bytes *)path;
    const struct bytes b = bytes_str(((const struct place *)place)->path);
    const int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return order != 0 || a.n == b.n ? order : a.n < b.n ? -1 : 1;
}

const struct site_file *site_find(const struct site *s, struct bytes path,
                                  enum web_lang *ret_lang) {
    if (path.n == 0) return NULL;
    const struct place *p =
        bsearch(&path, s->places, s->n_places, sizeof s->places[0], compare_path);
    if (p == NULL) return NULL;
    if (p->lang != NO_LANG) *ret_lang = (enum web_lang)p->lang;
    return p->file;
}

const struct site_file *site_not_found(const struct site *s) {
    return s->not_found;
}

/* The coding that is wanted most among those that there are; the smaller one of equals. */
static enum web_coding choose_coding(const struct site_body *b, struct bytes accept) {
    unsigned weights[N_WEB_CODINGS];
    enum web_coding best = WEB_PLAIN;
    accept_coding(accept, weights);
    for (unsigned c = WEB_GZIP; c < N_WEB_CODINGS; c++) {
        if (b->coded[c].n == 0 || weights[c] == 0) continue;
        const bool is_smaller = b->coded[c].n < b->coded[best].n;
        if (weights[c] > weights[best] || (weights[c] == weights[best] && is_smaller))
            best = (enum web_coding)c;
    }
    return best;
}

void site_choose(const struct site_body *b, struct bytes accept, struct site_form *ret) {
    static const char *const NAMES[N_WEB_CODINGS] = {NULL, "gzip", "br"};
    static const char *const LETTERS[N_WEB_CODINGS] = {"", "g", "b"};
    const enum web_coding coding = choose_coding(b, accept);
    ret->body = b->coded[coding];
    ret->coding = NAMES[coding];
    (void)snprintf(ret->tag, sizeof ret->tag, "\"%s%s\"", b->tag, LETTERS[coding]);
}

enum err site_each_file(const struct site *s, site_visit *fn, void *ctx) {
    enum err e = OK;
    for (unsigned i = 0; i < s->n_places && e == OK; i++) {
        const struct place *p = &s->places[i];
        if (!p->is_written) continue;
        const unsigned lang = p->file->by_lang && p->lang != NO_LANG ? p->lang : WEB_EN;
        e = fn(ctx, p->path + 1, p->file->bodies[lang].coded[WEB_PLAIN]);
    }
    return e;
}
