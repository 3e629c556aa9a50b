/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* template.h -- pages with places for values.
 *
 * {{name}} is the value, escaped for HTML text and double-quoted attributes; what is between
 * {{#name}} and {{/name}} is there when the value is not empty, between {{^name}} and {{/name}}
 * when it is. These may nest. Pure; any thread. */
#pragma once

#include "base/wr.h"

enum { TEMPLATE_NAME_MAX = 64, TEMPLATE_DEPTH_MAX = 8 };

/* NULL when there is no such name; "" when it is empty. Borrowed for the call. */
typedef const char *template_value(const void *ctx, struct bytes name);

/* E_SYNTAX: a tag is not closed, sections cross or are too deep; E_NOT_FOUND: there is no such
 * name; E_LIMIT: w is full. */
MUST_USE enum err template_fill(struct bytes text, template_value *value, const void *ctx,
                                struct wr *w);
