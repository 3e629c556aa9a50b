/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* import.h -- messages between a store and files of the reference's forms.
 *
 * Not of all stores: of one that keeps its messages in files of its own, which are the backends
 * "journal", and "memory" with a store log. Between store_start() and store_stop(), with nobody
 * else using the store; blocks. *ret_n: messages. E_STORE, E_SYS, E_NO_MEMORY. */
#pragma once

#include "store/store.h"

/* From a messages log, which is set aside. */
MUST_USE enum err store_import_messages(struct store *s, const char *path, uint64_t *ret_n,
                                        struct store_problem *ret_problem);
/* The same from the directory of the reference's journal, which becomes `<dir>.bak`. */
MUST_USE enum err store_import_reference(struct store *s, const char *dir, uint64_t *ret_n,
                                         struct store_problem *ret_problem);
/* Into a messages log; the messages stay in the store too. */
MUST_USE enum err store_export_messages(struct store *s, const char *path, uint64_t *ret_n,
                                        struct store_problem *ret_problem);
