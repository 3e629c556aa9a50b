/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* service_record.h -- service clients: what the server keeps of one, and the sum over the queues
 * that are associated with it (spec: behaviour, "Services"). Pure; any thread. */
#pragma once

#include "base/err.h"
#include "base/id.h"
#include "crypto/crypto.h"

enum service_role { SERVICE_MESSAGING = 'M', SERVICE_NOTIFIER = 'N', SERVICE_PROXY = 'P' };

/* A service to be created. */
struct service_rec {
    struct id id;
    enum service_role role;
    uint8_t cert_hash[SHA256_LEN]; /* of its identity certificate: how it is known */
    struct bytes cert_chain;       /* SMP encoding: list of large strings (DER); borrowed */
    int64_t created_at_s;          /* Unix seconds; the day alone is kept */
};

enum { IDS_HASH_LEN = 16 };

/* How many ids, and the XOR of their MD5, by which both sides see that they differ. */
struct ids_sum {
    int64_t n;
    uint8_t hash[IDS_HASH_LEN];
};
/* When the library has no memory for a hash the count alone changes: clients take a hash that
 * differs for a warning, and the next start makes it right. */
void ids_sum_add(struct ids_sum *s, const struct id *id);
void ids_sum_remove(struct ids_sum *s, const struct id *id); /* the last one leaves nothing */
