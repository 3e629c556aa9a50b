/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* scrape.h -- what a server on this machine says of its storage, by GET /metrics. Any thread but a
 * loop's: it waits for the answer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct storage_sample {
    uint64_t n_syncs, n_writes, written_bytes; /* since the server's start */
};

/* port: of [TRANSPORT] metrics, on 127.0.0.1. False: no answer, or without these figures. */
bool scrape_read(int port, struct storage_sample *ret);

/* For tests: the text of an answer. Pure. */
bool scrape_parse(const char *text, struct storage_sample *ret);
