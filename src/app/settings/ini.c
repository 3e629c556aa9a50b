/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/settings/ini.h"

#include <stdbool.h>
#include <string.h>

static const char BLANKS[] = " \t\r\v\f";

/* The text without blanks at both ends; writes a terminator. */
static char *trim(char *s) {
    s += strspn(s, BLANKS);
    size_t n = strlen(s);
    while (n > 0 && strchr(BLANKS, s[n - 1]) != NULL) n--;
    s[n] = '\0';
    return s;
}

/* Takes marks of n characters from both ends. */
static char *strip(char *s, size_t n) {
    s[strlen(s) - n] = '\0';
    return s + n;
}

static bool is_between(const char *s, const char *mark) {
    const size_t n = strlen(s), n_mark = strlen(mark);
    return n >= 2 * n_mark && strncmp(s, mark, n_mark) == 0 && strcmp(s + n - n_mark, mark) == 0;
}

/* The value without the quotes that Go's ini library puts around it: backquotes when there is a
 * '#' or ';' in it, three double quotes when there is a backquote. What it would not have quoted
 * is taken as it stands: passwords may begin and end with quotes. */
static char *unquote(char *s) {
    if (is_between(s, "\"\"\"") && strchr(s, '`') != NULL) return strip(s, 3);
    const bool is_quoted = is_between(s, "`") && strpbrk(s, "#;") != NULL;
    return is_quoted && strcspn(s + 1, "`") == strlen(s) - 2 ? strip(s, 1) : s;
}

static enum err parse_section(char *s, struct ini_line *line) {
    char *end = strchr(s, ']');
    if (end == NULL || end[1] != '\0') return E_SYNTAX;
    *end = '\0';
    line->section = trim(s + 1);
    return OK;
}

static enum err parse_line(char *s, struct ini_line *line, ini_handler *handler, void *ctx) {
    s = trim(s);
    if (*s == '\0' || *s == '#' || *s == ';') return OK;
    if (*s == '[') return parse_section(s, line);
    char *split = s + strcspn(s, ":=");
    if (*split == '\0' || split == s) return E_SYNTAX;
    *split = '\0';
    line->key = trim(s);
    line->value = unquote(trim(split + 1));
    return handler(ctx, line);
}

enum err ini_parse(char *text, ini_handler *handler, void *ctx, unsigned *ret_line) {
    static const char BOM[] = "\xEF\xBB\xBF";
    if (strncmp(text, BOM, strlen(BOM)) == 0) text += strlen(BOM);
    struct ini_line line = {.section = ""};
    while (*text != '\0') {
        line.number++;
        char *end = text + strcspn(text, "\n");
        char *next = *end == '\n' ? end + 1 : end;
        *end = '\0';
        const enum err e = parse_line(text, &line, handler, ctx);
        if (e != OK) {
            *ret_line = line.number;
            return e;
        }
        text = next;
    }
    return OK;
}
