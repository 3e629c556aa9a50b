/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* err.h -- every error of the server, once.
 *
 * Columns: X(id, wire, meaning)
 *   id       enum member without its E_ prefix
 *   wire     text after "ERR " in a reply (SMP protocol, "Errors"), or NULL for errors that never
 * leave this process meaning  one line for logs and start-up messages
 *
 * Fallible functions return enum err and write their results through ret_ pointers only on OK. */
#pragma once

#include "base/attr.h"

/* clang-format off */
#define ERR_LIST(X) \
    X(BLOCK,          "BLOCK",          "block or transmission cannot be parsed") \
    X(SESSION,        "SESSION",        "transmission names another session") \
    X(CMD_UNKNOWN,    "CMD UNKNOWN",    "no such command") \
    X(CMD_SYNTAX,     "CMD SYNTAX",     "bad command parameters") \
    X(CMD_PROHIBITED, "CMD PROHIBITED", "command is not allowed here") \
    X(CMD_NO_AUTH,    "CMD NO_AUTH",    "command needs authorization and entity") \
    X(CMD_HAS_AUTH,   "CMD HAS_AUTH",   "command must not have authorization or entity") \
    X(CMD_NO_ENTITY,  "CMD NO_ENTITY",  "command needs an entity") \
    X(AUTH,           "AUTH",           "not authorized, or no such queue") \
    X(SERVICE,        "SERVICE",        "service authorization is missing or wrong") \
    X(CRYPTO,         "CRYPTO",         "cryptographic operation refused the input") \
    X(QUOTA,          "QUOTA",          "queue is full") \
    X(NO_MSG,         "NO_MSG",         "no such message to acknowledge") \
    X(LARGE_MSG,      "LARGE_MSG",      "message is larger than the version allows") \
    X(NAME_NO_RESOLVER, "NAME NO_RESOLVER", "names are not resolved here") \
    X(INTERNAL,       "INTERNAL",       "server failed") \
    X(PROXY_NO_AUTH,  "PROXY BROKER TRANSPORT NO_AUTH", "forwarded by a session without a key") \
    X(STORE,          "STORE storage",  "storage refused the change") \
    X(SYNTAX,         NULL,             "malformed input") \
    X(NO_MEMORY,      NULL,             "out of memory") \
    X(SYS,            NULL,             "system call failed") \
    X(EXISTS,         NULL,             "already exists") \
    X(NOT_FOUND,      NULL,             "not found") \
    X(LIMIT,          NULL,             "limit reached") \
    X(CLOSED,         NULL,             "connection closed") \
    X(VERSION,        NULL,             "no common protocol version") \
    X(IDENTITY,       NULL,             "peer asked for another server identity") \
    X(CERT,           NULL,             "certificate is not acceptable") \
    X(KEY,            NULL,             "private key does not fit its certificate") \
    X(HOST,           NULL,             "host is not allowed, or there is no way to it") \
    X(CONFIG,         NULL,             "bad configuration") \
    X(PENDING,        NULL,             "not decided yet")
/* clang-format on */

enum err {
    OK = 0,
#define X(id, wire, meaning) E_##id,
    ERR_LIST(X)
#undef X
        N_ERRS
};

const char *err_name(enum err e);    /* "AUTH"; static; any thread */
const char *err_meaning(enum err e); /* one line; static; any thread */
/* The same, but errno's text with E_SYS: for what has just failed. Of the calling thread until it
 * asks again. */
const char *err_reason(enum err e);
const char *err_wire(enum err e); /* text after "ERR "; errors that have none become "INTERNAL";
                                     static; any thread */
