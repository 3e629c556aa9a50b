/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* proxy_rig.h -- the proxy on two loops that do not run (loop_rig), and relays that a test plays:
 * it says whether they can be reached, reads what they are sent and writes what they say. All but
 * net/dial and net/conn is the proxy's own. One rig at a time. */
#pragma once

#include "loop_rig.h"

#include "client/smp_client.h"
#include "crypto/crypto.h"
#include "proxy/proxy.h"
#include "wire/handshake.h"

enum {
    RIG_CONNECT_S = 10, /* the settings of the proxy's; ping and idle: as the test wants */
    RIG_REQUEST_S = 20,
    RIG_RETRY_S = 5
};

/* In place of net/dial's. */
struct dial {
    struct dial *next;
    struct loop *loop;
    char host[HOST_TEXT_MAX];
    uint16_t port;
    dial_done *done;
    void *session;
    bool is_over; /* done, or given up */
};

struct proxy_rig {
    struct server_cert *cert; /* owned; of all relays */
    struct proxy *proxy;
    struct dial *dials; /* owned; the last one first */
    unsigned n_dials;
    enum err dial_err; /* instead of a dial, unless OK */
};
extern struct proxy_rig prig;

/* With the proxy's settings at *state, or the usual ones when that is NULL. */
int prig_setup(void **state);
int prig_teardown(void **state);

/* What was posted is run and what was closed ends, until nothing is left. All below end so. */
void prig_turn(void);
void prig_pass_s(int64_t s);

/* ---- operations ---- */

struct prig_op {
    struct proxy_op op;
    unsigned n_done, n_dropped;
};
/* To the relay of this name, from one of the loops. */
void prig_connect(struct prig_op *op, unsigned loop, const char *host);
void prig_connect_to(struct prig_op *op, unsigned loop, const char *host, struct bytes identity);
void prig_forward(struct prig_op *op, unsigned loop, struct bytes session_id,
                  const struct forward *f);
/* "waits", "dropped", "done", or the failure: "NETWORK", "PROTOCOL AUTH", "TRANSPORT VERSION". */
const char *prig_result(const struct prig_op *op);
void prig_done(struct prig_op *op); /* frees what is inside */

/* ---- a relay ---- */

enum { RIG_REQUESTS_MAX = 4 };

struct prig_request {
    struct id corr_id; /* the nonce too */
    bool is_ping;
    size_t n;
    uint8_t text[16384]; /* after RFWD */
};

struct prig_relay {
    struct conn *conn;
    uint8_t unique[32]; /* of its TLS: the id of the session */
    uint16_t version_min, version_max;
    struct x25519_pair keys;
    struct box_key shared; /* after prig_relay_meet() */
    struct wire_params params;
    unsigned n_requests; /* that were read */
    struct prig_request requests[RIG_REQUESTS_MAX];
};

void prig_dial_fails(enum err e); /* the last one that was begun */
/* It succeeds, and TLS after it. */
void prig_relay_accept(struct prig_relay *r);
/* Says hello, with this id of the session, and this key. */
void prig_relay_hello(struct prig_relay *r, struct bytes session_id,
                      const uint8_t signed_pub[X25519_LEN]);
void prig_relay_meet(struct prig_relay *r); /* all that, until the connection is up */
/* Reads what the proxy wants to write: the number of requests. */
unsigned prig_relay_read(struct prig_relay *r);
void prig_relay_say(struct prig_relay *r, const struct id *corr_id, struct bytes text);
void prig_relay_noise(struct prig_relay *r); /* a block that is none */
void prig_relay_close(struct prig_relay *r);
bool prig_relay_is_closed(const struct prig_relay *r);
