/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* handle.h -- What all requests to web servers have in common: HTTP and HTTPS alone, no proxy of
 * the environment's, no signals. */
#pragma once
#include <curl/curl.h>

#include "base/attr.h"

/* libcurl is ready, also for several threads; for who needs it before there is a handle. Any
 * thread. */
void fetch_init(void);

/* NULL: out of memory. Any thread; the caller's, for curl_easy_cleanup(). */
MUST_USE CURL *fetch_handle_new(void);
