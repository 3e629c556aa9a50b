/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* opt_type.c -- one parser, printer and description for each kind of value. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/addr.h"
#include "net/reach.h"
#include "net/socks.h"

#include "app/settings/options.h"
#include "crypto/crypto.h"

static void print_number(struct wr *w, int64_t n) {
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, n);
    wr_str(w, text);
}

/* Copies a text that must fit with its terminator. */
static enum err copy_text(const char *value, char *ret, size_t cap) {
    const size_t n = strlen(value);
    if (n >= cap) return E_CONFIG;
    memcpy(ret, value, n + 1);
    return OK;
}

static enum err parse_number(const char *s, int64_t *ret) {
    if (*s != '-' && (*s < '0' || *s > '9')) return E_CONFIG; /* strtoll would skip blanks */
    char *end = NULL;
    errno = 0;
    const long long n = strtoll(s, &end, 10);
    if (errno != 0 || *end != '\0') return E_CONFIG;
    *ret = n;
    return OK;
}

/* Calls add for each part of a comma separated list, without blanks around it. */
static enum err each_part(const char *list, enum err (*add)(void *field, const char *part),
                          void *field) {
    enum { PART_MAX = 64 };
    while (true) {
        char part[PART_MAX];
        list += strspn(list, " \t");
        const size_t len = strcspn(list, ",");
        size_t n = len;
        while (n > 0 && (list[n - 1] == ' ' || list[n - 1] == '\t')) n--;
        if (n == 0 || n >= sizeof part) return E_CONFIG;
        memcpy(part, list, n);
        part[n] = '\0';
        const enum err e = add(field, part);
        if (e != OK) return e;
        if (list[len] == '\0') return OK;
        list += len + 1;
    }
}

/* ---- on, off ---- */

static enum err parse_bool(const struct opt *o, const char *value, void *field) {
    (void)o;
    bool *ret = field;
    if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0) return E_CONFIG;
    *ret = strcmp(value, "on") == 0;
    return OK;
}

static void print_bool(const struct opt *o, const void *field, struct wr *w) {
    (void)o;
    const bool *b = field;
    wr_str(w, *b ? "on" : "off");
}

static void allowed_bool(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "on or off");
}

/* ---- numbers ---- */

static int64_t load_number(const struct opt *o, const void *field) {
    uint16_t u16 = 0;
    uint32_t u32 = 0;
    int64_t n = 0;
    if (o->size == sizeof u16) {
        memcpy(&u16, field, sizeof u16);
        return u16;
    }
    if (o->size == sizeof u32) {
        memcpy(&u32, field, sizeof u32);
        return u32;
    }
    memcpy(&n, field, sizeof n);
    return n;
}

static void store_number(const struct opt *o, int64_t n, void *field) {
    const uint16_t u16 = (uint16_t)n;
    const uint32_t u32 = (uint32_t)n;
    if (o->size == sizeof u16) {
        memcpy(field, &u16, sizeof u16);
    } else if (o->size == sizeof u32) {
        memcpy(field, &u32, sizeof u32);
    } else {
        memcpy(field, &n, sizeof n);
    }
}

static enum err parse_int(const struct opt *o, const char *value, void *field) {
    int64_t n = 0;
    const bool is_off = (o->flags & OPT_OFF_0) != 0 && strcmp(value, "off") == 0;
    const enum err e = is_off ? OK : parse_number(value, &n);
    if (e != OK || (!is_off && (n < o->min || n > o->max))) return E_CONFIG;
    store_number(o, n, field);
    return OK;
}

static void print_int(const struct opt *o, const void *field, struct wr *w) {
    const int64_t n = load_number(o, field);
    if (n == 0 && (o->flags & OPT_UNSET_0) != 0) return;
    if (n == 0 && (o->flags & OPT_OFF_0) != 0) {
        wr_str(w, "off");
        return;
    }
    print_number(w, n);
}

static void allowed_int(const struct opt *o, struct wr *w) {
    if ((o->flags & OPT_OFF_0) != 0) wr_str(w, "off, or ");
    print_number(w, o->min);
    wr_str(w, " to ");
    print_number(w, o->max);
    if (o->unit != NULL) {
        wr_str(w, " ");
        wr_str(w, o->unit);
    }
}

/* ---- words ---- */

static enum err parse_word(const struct opt *o, const char *value, void *field) {
    const size_t n = strlen(value);
    const char *word = o->words;
    while (n > 0) {
        const size_t len = strcspn(word, ",");
        if (len == n && strncmp(word, value, n) == 0) return copy_text(value, field, o->size);
        if (word[len] == '\0') break;
        word += len + 1;
    }
    return E_CONFIG;
}

static void print_text(const struct opt *o, const void *field, struct wr *w) {
    (void)o;
    wr_str(w, field);
}

static void allowed_word(const struct opt *o, struct wr *w) {
    wr_str(w, "one of ");
    wr_str(w, o->words);
}

/* ---- passwords ---- */

static enum err parse_password(const struct opt *o, const char *value, void *field) {
    (void)o;
    return smp_is_password(bytes_str(value)) ? copy_text(value, field, o->size) : E_CONFIG;
}

static void allowed_password(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "1 to 255 printable ASCII characters other than space, @, : and /");
}

/* ---- host names ---- */

/* DNS has no names with a hyphen at either end of a label. */
static bool has_loose_hyphen(const char *name) {
    for (const char *p = name; *p != '\0'; p++) {
        const bool begins = p == name || p[-1] == '.', ends = p[1] == '\0' || p[1] == '.';
        if (*p == '-' && (begins || ends)) return true;
    }
    return false;
}

/* One of n characters; an IPv6 address with or without brackets. */
static bool is_one_host(const char *s, size_t n) {
    char text[HOST_TEXT_MAX];
    const bool has_brackets = n > 2 && s[0] == '[' && s[n - 1] == ']';
    if (has_brackets) {
        s++;
        n -= 2;
    }
    if (n >= sizeof text || memchr(s, '\0', n) != NULL) return false;
    memcpy(text, s, n);
    text[n] = '\0';
    const enum host_kind kind = host_kind_of(text);
    if (has_brackets) return kind == HOST_IP && strchr(text, ':') != NULL;
    return kind != HOST_BAD && strstr(text, "..") == NULL && !has_loose_hyphen(text);
}

bool conf_is_host(const char *s) {
    while (true) {
        const size_t n = strcspn(s, ",");
        if (!is_one_host(s, n)) return false;
        if (s[n] == '\0') return true;
        s += n + 1;
    }
}

enum err conf_write_hosts(const char *hosts, char *ret, size_t cap) {
    if (!conf_is_host(hosts)) return E_CONFIG;
    size_t at = 0;
    for (const char *p = hosts; *p != '\0';) {
        const size_t n = strcspn(p, ","), n_comma = p[n] == ',';
        const bool is_bare_v6 = *p != '[' && memchr(p, ':', n) != NULL;
        const int len = snprintf(ret + at, cap - at, is_bare_v6 ? "[%.*s]%s" : "%.*s%s", (int)n, p,
                                 n_comma != 0 ? "," : "");
        if (len < 0 || (size_t)len >= cap - at) return E_CONFIG;
        at += (size_t)len;
        p += n + n_comma;
    }
    return OK;
}

/* The value without the blanks that may stand around its commas. */
static enum err parse_host(const struct opt *o, const char *value, void *field) {
    if (strlen(value) >= CONF_TEXT_MAX) return E_CONFIG;
    char text[CONF_TEXT_MAX];
    size_t n = 0;
    for (const char *p = value; *p != '\0'; p++) {
        if (*p != ' ' && *p != '\t') {
            text[n++] = *p;
        } else if (n > 0 && text[n - 1] != ',' && p[strspn(p, " \t")] != ',') {
            return E_CONFIG; /* two names without a comma are not one */
        }
    }
    text[n] = '\0';
    const bool is_open = strcmp(text, "<hostnames>") == 0; /* as init writes it without a name */
    return is_open ? copy_text(text, field, o->size) : conf_write_hosts(text, field, o->size);
}

static void allowed_host(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "host names or addresses without ports, separated by commas");
}

/* ---- ports ---- */

static enum err add_port(void *field, const char *part) {
    struct conf_ports *ports = field;
    int64_t n = 0;
    const enum err e = parse_number(part, &n);
    if (e != OK || n < 1 || n > UINT16_MAX || ports->n == CONF_PORTS_MAX) return E_CONFIG;
    for (unsigned i = 0; i < ports->n; i++) {
        if (ports->port[i] == n) return E_CONFIG;
    }
    ports->port[ports->n++] = (uint16_t)n;
    return OK;
}

static enum err parse_ports(const struct opt *o, const char *value, void *field) {
    (void)o;
    struct conf_ports ports = {0};
    const enum err e = each_part(value, add_port, &ports);
    if (e == OK) memcpy(field, &ports, sizeof ports);
    return e;
}

static void print_ports(const struct opt *o, const void *field, struct wr *w) {
    (void)o;
    const struct conf_ports *ports = field;
    for (unsigned i = 0; i < ports->n; i++) {
        if (i > 0) wr_str(w, ",");
        print_number(w, ports->port[i]);
    }
}

static void allowed_ports(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "up to 16 different ports, 1 to 65535, separated by commas");
}

/* ---- addresses ---- */

static enum err add_address(void *field, const char *part) {
    struct conf_addresses *list = field;
    if (list->n == CONF_ADDRESSES_MAX) return E_CONFIG;
    char *text = list->text[list->n];
    enum err e = copy_text(part, text, CONF_ADDRESS_LEN);
    if (e != OK) return e;
    const size_t n = strlen(text);
    if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
        memmove(text, text + 1, n - 2);
        text[n - 2] = '\0';
    }
    if (!addr_is_ip(text)) return E_CONFIG;
    list->n++;
    return OK;
}

static enum err parse_addresses(const struct opt *o, const char *value, void *field) {
    (void)o;
    struct conf_addresses list = {0};
    const enum err e = each_part(value, add_address, &list);
    if (e == OK) memcpy(field, &list, sizeof list);
    return e;
}

static void print_addresses(const struct opt *o, const void *field, struct wr *w) {
    (void)o;
    const struct conf_addresses *list = field;
    for (unsigned i = 0; i < list->n; i++) {
        if (i > 0) wr_str(w, ",");
        wr_str(w, list->text[i]);
    }
}

static void allowed_addresses(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "up to 16 numeric IPv4 or IPv6 addresses, separated by commas");
}

/* ---- texts ---- */

static enum err parse_text(const struct opt *o, const char *value, void *field) {
    (void)o;
    for (const char *p = value; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ' || *p == '\x7f') return E_CONFIG;
    }
    return copy_text(value, field, o->size);
}

static void allowed_text(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "a text of up to 1023 bytes without control characters");
}

/* ---- paths ---- */

static enum err parse_path(const struct opt *o, const char *value, void *field) {
    (void)o;
    return value[0] == '/' ? copy_text(value, field, o->size) : E_CONFIG;
}

static void allowed_path(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "an absolute path");
}

static enum err parse_file(const struct opt *o, const char *value, void *field) {
    return value[0] != '\0' ? parse_text(o, value, field) : E_CONFIG;
}

static void allowed_file(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "a path");
}

/* ---- SOCKS proxy ---- */

static enum err parse_socks(const struct opt *o, const char *value, void *field) {
    (void)o;
    struct socks_proxy ignored;
    if (*value == '\0' || socks_proxy_parse(value, &ignored) != OK) return E_CONFIG;
    return copy_text(value, field, o->size);
}

static void allowed_socks(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "host:port, or user:password@host:port");
}

/* ---- links of SimpleX ---- */

static enum err parse_link(const struct opt *o, const char *value, void *field) {
    static const char *const SCHEMES[] = {"simplex:/", "https://"};
    bool has_scheme = *value == '\0';
    for (size_t i = 0; i < ARRAY_LEN(SCHEMES); i++) {
        const size_t n = strlen(SCHEMES[i]);
        has_scheme = has_scheme || (strncmp(value, SCHEMES[i], n) == 0 && value[n] != '\0');
    }
    if (!has_scheme || strpbrk(value, " \t") != NULL) return E_CONFIG;
    return parse_text(o, value, field);
}

static void allowed_link(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "a SimpleX address, which begins with https:// or simplex:/");
}

/* ---- countries ---- */

static enum err parse_country(const struct opt *o, const char *value, void *field) {
    (void)o;
    char text[3] = "";
    const size_t n = strlen(value);
    if (n != 0 && n != sizeof text - 1) return E_CONFIG;
    for (size_t i = 0; i < n; i++) {
        const bool is_small = value[i] >= 'a' && value[i] <= 'z';
        text[i] = (char)(is_small ? value[i] - 'a' + 'A' : value[i]);
        if (text[i] < 'A' || text[i] > 'Z') return E_CONFIG;
    }
    return copy_text(text, field, o->size);
}

static void allowed_country(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "the two letters that ISO 3166 has for the country, as in DE");
}

/* ---- domains ---- */

/* The value with one comma between names, whatever was there. */
static enum err parse_domains(const struct opt *o, const char *value, void *field) {
    static const char SEPARATORS[] = " \t,";
    (void)o;
    char text[CONF_TEXT_MAX];
    if (strlen(value) >= sizeof text) return E_CONFIG;
    size_t n = 0;
    for (const char *p = value + strspn(value, SEPARATORS); *p != '\0';) {
        const size_t len = strcspn(p, SEPARATORS);
        if (n > 0) text[n++] = ',';
        memcpy(text + n, p, len);
        n += len;
        p += len;
        p += strspn(p, SEPARATORS);
    }
    text[n] = '\0';
    return n == 0 || conf_is_host(text) ? copy_text(text, field, o->size) : E_CONFIG;
}

static void allowed_domains(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "domain names, separated by spaces or commas");
}

/* ---- address and port on this machine ---- */

static bool is_loopback(const char *host) {
    union addr a;
    return addr_parse(host, 0, &a) && addr_is_loopback(&a.any);
}

static enum err parse_endpoint(const struct opt *o, const char *value, void *field) {
    (void)o;
    struct conf_endpoint at = {.port = 0};
    if (strcmp(value, "off") != 0) {
        const char *colon = strrchr(value, ':');
        if (colon == NULL) return E_CONFIG;
        size_t n = (size_t)(colon - value);
        const bool has_brackets = n > 2 && value[0] == '[' && value[n - 1] == ']';
        if (has_brackets) n -= 2;
        if (n >= sizeof at.host) return E_CONFIG;
        memcpy(at.host, value + has_brackets, n);
        int64_t port = 0;
        const enum err e = parse_number(colon + 1, &port);
        if (e != OK || port < 1 || port > UINT16_MAX || !is_loopback(at.host)) return E_CONFIG;
        if ((strchr(at.host, ':') != NULL) != has_brackets) return E_CONFIG;
        at.port = (uint16_t)port;
    }
    memcpy(field, &at, sizeof at);
    return OK;
}

static void print_endpoint(const struct opt *o, const void *field, struct wr *w) {
    (void)o;
    const struct conf_endpoint *at = field;
    const bool is_v6 = strchr(at->host, ':') != NULL;
    if (at->port == 0) {
        wr_str(w, "off");
        return;
    }
    wr_str(w, is_v6 ? "[" : "");
    wr_str(w, at->host);
    wr_str(w, is_v6 ? "]:" : ":");
    print_number(w, at->port);
}

static void allowed_endpoint(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "off, or a loopback address and a port, as in 127.0.0.1:9090 or [::1]:9090");
}

/* ---- websockets ---- */

enum { WEBSOCKETS_PORT = 80 }; /* as of the reference */

static enum err parse_websockets(const struct opt *o, const char *value, void *field) {
    bool is_on = false;
    if (parse_bool(o, value, &is_on) != OK) return parse_ports(o, value, field);
    const struct conf_ports ports = {.n = is_on ? 1 : 0, .port = {WEBSOCKETS_PORT}};
    memcpy(field, &ports, sizeof ports);
    return OK;
}

static void print_websockets(const struct opt *o, const void *field, struct wr *w) {
    const struct conf_ports *ports = field;
    if (ports->n == 0) wr_str(w, "off");
    print_ports(o, field, w);
}

static void allowed_websockets(const struct opt *o, struct wr *w) {
    (void)o;
    wr_str(w, "off, on, or ports separated by commas");
}

// clang-format off
static const struct {
    enum err (*parse)(const struct opt *o, const char *value, void *field);
    void (*print)(const struct opt *o, const void *field, struct wr *w);
    void (*allowed)(const struct opt *o, struct wr *w);
} OPT_TYPES[N_OPT_TYPES] = {
    [OPT_BOOL]       = {parse_bool,       print_bool,      allowed_bool},
    [OPT_INT]        = {parse_int,        print_int,       allowed_int},
    [OPT_WORD]       = {parse_word,       print_text,      allowed_word},
    [OPT_PASSWORD]   = {parse_password,   print_text,      allowed_password},
    [OPT_HOST]       = {parse_host,       print_text,      allowed_host},
    [OPT_PORTS]      = {parse_ports,      print_ports,     allowed_ports},
    [OPT_ADDRESSES]  = {parse_addresses,  print_addresses, allowed_addresses},
    [OPT_PATH]       = {parse_path,       print_text,      allowed_path},
    [OPT_FILE]       = {parse_file,       print_text,      allowed_file},
    [OPT_SOCKS]      = {parse_socks,      print_text,      allowed_socks},
    [OPT_TEXT]       = {parse_text,       print_text,      allowed_text},
    [OPT_LINK]       = {parse_link,       print_text,      allowed_link},
    [OPT_COUNTRY]    = {parse_country,    print_text,      allowed_country},
    [OPT_DOMAINS]    = {parse_domains,    print_text,      allowed_domains},
    [OPT_ENDPOINT]   = {parse_endpoint,   print_endpoint,  allowed_endpoint},
    [OPT_WEBSOCKETS] = {parse_websockets, print_websockets, allowed_websockets},
};
// clang-format on

void opt_copy(const struct opt *o, const struct conf *from, struct conf *to) {
    memcpy((char *)to + o->offset, (const char *)from + o->offset, o->size);
}

void opt_wipe(const struct opt *o, struct conf *c) {
    crypto_wipe((char *)c + o->offset, o->size);
}

void opt_set_number(const struct opt *o, int64_t n, struct conf *c) {
    store_number(o, n, (char *)c + o->offset);
}

enum err opt_parse(const struct opt *o, const char *value, struct conf *c) {
    return OPT_TYPES[o->type].parse(o, value, (char *)c + o->offset);
}

void opt_print(const struct opt *o, const struct conf *c, struct wr *w) {
    OPT_TYPES[o->type].print(o, (const char *)c + o->offset, w);
}

void opt_show(const struct opt *o, const char *value, struct wr *w) {
    const char *host = o->type == OPT_SOCKS ? strrchr(value, '@') : NULL;
    const bool has_secret = o->type != OPT_SOCKS || (host != NULL && host != value);
    if ((o->flags & OPT_SECRET) == 0 || !has_secret) {
        wr_str(w, value);
        return;
    }
    wr_str(w, "(hidden)");
    if (host != NULL) wr_str(w, host);
}

void opt_allowed(const struct opt *o, struct wr *w) {
    OPT_TYPES[o->type].allowed(o, w);
}
