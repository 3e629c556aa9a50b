/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_row.h -- rows of the reference's tables as records and messages, and back: what is read from a
 * row and written again has the same bytes. Pure; any thread.
 *
 * Private to this folder. */
#pragma once

#include "crypto/base64.h"
#include "crypto/crypto.h"
#include "store/db/db_priv.h"
#include "store/text/msg_line.h"
#include "store/text/record.h"

/* In the order of the values of a row. */
#define DB_QUEUE_COLUMNS                                                                           \
    "recipient_id, recipient_keys, rcv_dh_secret, sender_id, sender_key, notifier_id, "            \
    "notifier_key, rcv_ntf_dh_secret, status, updated_at, queue_mode, link_id, fixed_data, "       \
    "user_data, rcv_service_id, ntf_service_id"
#define DB_SERVICE_COLUMNS "service_id, service_role, service_cert, service_cert_hash, created_at"
#define DB_MESSAGE_COLUMNS "recipient_id, msg_id, msg_ts, msg_quota, msg_ntf_flag, msg_body"
enum { N_DB_QUEUE_COLUMNS = 16, N_DB_SERVICE_COLUMNS = 5, N_DB_MESSAGE_COLUMNS = 6 };

enum {
    DB_KEYS_MAX = 1 + RECORD_KEYS_MAX * (1 + SPKI_MAX), /* bytes of recipient_keys */
    DB_STATUS_MAX = 8 + RECORD_INFO_MAX,
    DB_I64_LEN = 8,
};

/* Where values are put that are not in the record as they are. */
struct db_row_buf {
    uint8_t keys[DB_KEYS_MAX], snd_key[SPKI_MAX], ntf_key[SPKI_MAX];
    uint8_t status[DB_STATUS_MAX], time[DB_I64_LEN];
    uint8_t chain[RECORD_CERT_MAX], hash[SHA256_LEN];
};

/* Of a RECORD_CREATE; ret borrows from r and buf. E_LIMIT. */
MUST_USE enum err db_queue_to_row(const struct record *r, struct db_row_buf *buf,
                                  struct db_value ret[N_DB_QUEUE_COLUMNS]);
/* E_SYNTAX: *ret_column, static, is what cannot be used. ret borrows from v and keys. */
MUST_USE enum err db_queue_from_row(const struct db_value v[N_DB_QUEUE_COLUMNS],
                                    struct pubkey keys[RECORD_KEYS_MAX], struct record *ret,
                                    const char **ret_column);

/* The same of a RECORD_NEW_SERVICE. E_SYNTAX: its texts are no certificates. */
MUST_USE enum err db_service_to_row(const struct record *r, struct db_row_buf *buf,
                                    struct db_value ret[N_DB_SERVICE_COLUMNS]);
struct db_service_text {
    uint8_t cert[RECORD_CERT_MAX], hash[BASE64_LEN(SHA256_LEN)];
};
MUST_USE enum err db_service_from_row(const struct db_value v[N_DB_SERVICE_COLUMNS],
                                      struct db_service_text *text, struct record *ret,
                                      const char **ret_column);

/* Of a message that is not sealed. */
void db_message_to_row(const struct msg_line *m, uint8_t time[DB_I64_LEN],
                       struct db_value ret[N_DB_MESSAGE_COLUMNS]);
MUST_USE enum err db_message_from_row(const struct db_value v[N_DB_MESSAGE_COLUMNS],
                                      struct msg_line *ret, const char **ret_column);
