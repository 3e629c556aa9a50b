/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* site.h -- all that a browser can get, in memory: the pages with their values filled in, in every
 * language and coding, and the files that belong to them.
 *
 * Immutable once it is made, and counted: an answer under way keeps its site when the settings
 * change. Any thread. */
#pragma once

#include "base/err.h"
#include "web/accept.h"

struct site;

/* What the pages tell: see web/README.md for the names. Country codes go in as `x_country`; the
 * pages find `x_country_name` by themselves. */
struct site_value {
    const char *name, *value; /* value: not NULL; borrowed for the call */
};

enum site_cache { SITE_REVALIDATE, SITE_DAY, SITE_FOREVER };

/* One file in all codings. */
struct site_body {
    struct bytes coded[N_WEB_CODINGS]; /* owned by the site; empty: not made, as it is no smaller */
    char tag[20];                      /* of the plain one; others have a letter behind it */
};

struct site_file {
    const char *type; /* Content-Type; static */
    enum site_cache cache;
    bool by_lang; /* has a body for each language */
    struct site_body bodies[N_WEB_LANGS];
};

/* n values, borrowed. *ret: site_unref(). E_NO_MEMORY; E_NOT_FOUND, E_SYNTAX: a fault in a page. */
MUST_USE enum err site_new(const struct site_value *values, size_t n, struct site **ret);
/* The dashboard's, likewise. */
MUST_USE enum err site_new_dashboard(const struct site_value *values, size_t n, struct site **ret);
struct site *site_ref(struct site *s);
void site_unref(struct site *s); /* NULL is a no-op */

/* The file at a path, borrowed from s; *ret_lang is changed where the path names a language. NULL:
 * there is none. */
const struct site_file *site_find(const struct site *s, struct bytes path, enum web_lang *ret_lang);
const struct site_file *site_not_found(const struct site *s); /* what is shown in its place */

/* A body as it is sent. */
struct site_form {
    struct bytes body;  /* borrowed from the site */
    const char *coding; /* Content-Encoding, or NULL; static */
    char tag[24];       /* ETag, with its quotes */
};
/* accept: what the browser says of codings, in Accept-Encoding. */
void site_choose(const struct site_body *b, struct bytes accept, struct site_form *ret);

/* The files of static_path, by their paths below it, until fn returns an error. */
typedef enum err site_visit(void *ctx, const char *path, struct bytes content);
MUST_USE enum err site_each_file(const struct site *s, site_visit *fn, void *ctx);
