/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* service_line.h -- the line of a service client in the store log, out of its record in memory.
 * Pure; any thread. */
#pragma once

#include "crypto/base64.h"
#include "model/service_record.h"
#include "store/text/record.h"

/* Room for the line of a new service. */
struct service_text {
    uint8_t cert[RECORD_CERT_MAX];
    char hash[BASE64_LEN(SHA256_LEN) + 1];
    uint8_t line[RECORD_LINE_MAX];
};

/* NEW_SERVICE; *ret is in t. E_SYNTAX, E_LIMIT. */
MUST_USE enum err service_line_write(const struct service_rec *rec, struct service_text *t,
                                     struct bytes *ret);
