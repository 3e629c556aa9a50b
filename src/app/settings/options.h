/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* options.h -- the table of all settings, and the types that its rows can have.
 *
 * Private to conf.c, options.c and opt_type.c: others ask conf.h. A new setting is one row in
 * options.c and one field, of struct conf or of what a part of the server has in there; a new kind
 * of value is one enum opt_type and one row of OPT_TYPES. */
#pragma once

#include "app/settings/conf.h"

enum opt_type {
    OPT_BOOL,       /* bool: on, off */
    OPT_INT,        /* uint16_t, unsigned or int64_t: min..max */
    OPT_WORD,       /* char[CONF_WORD_MAX]: one of `words` */
    OPT_PASSWORD,   /* char[CONF_PASSWORD_MAX] */
    OPT_HOST,       /* char[CONF_TEXT_MAX] */
    OPT_PORTS,      /* struct conf_ports */
    OPT_ADDRESSES,  /* struct conf_addresses */
    OPT_PATH,       /* char[CONF_TEXT_MAX]: absolute; "": not set */
    OPT_FILE,       /* char[CONF_TEXT_MAX]: absolute or not; "": not set */
    OPT_SOCKS,      /* char[CONF_TEXT_MAX]: socks_proxy_parse(); "": not set */
    OPT_TEXT,       /* char[CONF_TEXT_MAX]: anything, also nothing; "": not set */
    OPT_LINK,       /* char[CONF_TEXT_MAX]: link of SimpleX; "": not set */
    OPT_COUNTRY,    /* char[CONF_WORD_MAX]: two capitals; "": not set */
    OPT_DOMAINS,    /* char[CONF_TEXT_MAX]: separated by commas; "": not set */
    OPT_ENDPOINT,   /* struct conf_endpoint */
    OPT_WEBSOCKETS, /* struct conf_ports, none for off */
    N_OPT_TYPES
};

enum {
    OPT_WRITTEN = 1, /* init writes it in force, even where it is the default: tools edit these
                      * lines, and the reference does not start without some of them */
    OPT_NOT_YET = 2, /* understood, but not used by this version: a remark when it asks for more */
    OPT_SECRET = 4,  /* never printed; of OPT_SOCKS user and password */
    OPT_UNSET_0 = 8, /* the number 0, outside min..max, means not set */
    OPT_OFF_0 = 16,  /* the number 0, outside min..max, is written `off` */
    OPT_OURS = 32    /* the reference does not have it */
};

struct opt {
    const char *section, *key;
    enum opt_type type;
    unsigned flags;
    enum conf_part part;  /* that takes over a new value while the server runs */
    size_t offset, size;  /* of its field in struct conf */
    int64_t def;          /* default of BOOL and INT */
    const char *def_text; /* default of the others; NULL: empty */
    int64_t min, max;     /* INT */
    const char *unit;     /* INT: "seconds", ...; or NULL */
    const char *words; /* WORD: allowed, comma separated. Else: sample for the template, or NULL */
    const char *help;  /* lines for the template, separated by \n */
};

extern const struct opt OPTS[];
extern const size_t N_OPTS;

struct opt_section {
    const char *name, *help; /* help as above, or NULL */
};
extern const struct opt_section OPT_SECTIONS[];
extern const size_t N_OPT_SECTIONS;

/* The value into its field. E_CONFIG when it is not allowed. */
MUST_USE enum err opt_parse(const struct opt *o, const char *value, struct conf *c);
/* Into the field of an OPT_INT. */
void opt_set_number(const struct opt *o, int64_t n, struct conf *c);
/* The field as text; nothing when it is not set. */
void opt_print(const struct opt *o, const struct conf *c, struct wr *w);
void opt_copy(const struct opt *o, const struct conf *from, struct conf *to);
void opt_wipe(const struct opt *o, struct conf *c);
/* A value, allowed or not, as it may be shown: (hidden) in place of what is secret in it. */
void opt_show(const struct opt *o, const char *value, struct wr *w);
/* What is allowed, for messages: "on or off", "1 to 10000 messages". */
void opt_allowed(const struct opt *o, struct wr *w);
