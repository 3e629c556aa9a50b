/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* page_cert.h -- the certificate that browsers see: read when the server starts, and again when its
 * files have changed. What is wrong with it is warned of; the one before is shown on, and nothing
 * of it ever stops the relay. Main thread, where nothing else is said. */
#pragma once

#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>

#include "app/settings/conf.h"
#include "crypto/web_cert.h"

typedef struct ssl_ctx_st SSL_CTX;

enum { PAGE_CERT_WARN_DAYS = 14 };
#define PAGE_CERT_NONE INT64_MAX /* no date: there is no certificate */

/* What is another one when a file was replaced or written to. */
struct file_state {
    ino_t ino;
    off_t size;
    struct timespec changed;
};

struct page_cert {
    SSL_CTX *tls; /* owned; NULL: there is none */
    int64_t begins_s;
    int64_t warned_s;           /* when its dates were warned of */
    struct file_state crt, key; /* of the files that were looked at last */
    bool is_unread;             /* and could not be read, as they are: that may pass by itself */
    _Atomic int64_t expires_s;  /* Unix seconds; relaxed: any thread may read it */
};

void page_cert_init(struct page_cert *p);
void page_cert_done(struct page_cert *p);
/* Reads the files of the settings, if they have changed, could not be read the last time (which is
 * said once), or is_asked; says daily when there are not many days left. True: there is a new one.
 */
bool page_cert_look(struct page_cert *p, const struct conf *c, bool is_asked);

/* What is in the files of the settings. *ret: web_cert_free(). Any error with ret_problem filled
 * in: which file, why, what there is not for that, and what mends it. */
MUST_USE enum err page_cert_load(const struct conf *c, struct web_cert **ret,
                                 struct problem *ret_problem);
