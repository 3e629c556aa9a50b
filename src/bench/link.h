/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* link.h -- a connection of the generator, and the commands that go through it.
 *
 * What is not meant to happen (no connection, a connection that is lost, no answer in time, an
 * answer that cannot be read) ends the run with its reason; callbacks hear of the rest only. With
 * link_open_proxied() commands that are marked so are forwarded to the server by the proxy. All on
 * the worker's loop. */
#pragma once

#include "base/idmap.h"
#include "bench/crew.h"
#include "client/smp_command.h"
#include "wire/reply_view.h"

/* A command under way, embedded by who sends it. */
struct call {
    struct smp_request rq;
    struct link *link; /* borrowed; set by call_begin() */
    const char *what;  /* static: "SEND" */
    void *owner;
    int64_t start_ns; /* latencies count from here; set by call_begin(), may be moved */
    void (*answered)(struct call *c, const struct reply_view *a, uint8_t *text);
    struct box_key forward_key; /* of a forwarded one */
    bool is_forwarded;          /* set by the owner: by the proxy of a proxied link */
    bool is_under_way;
};

/* The session of a server behind a proxy. */
struct link_relay {
    struct wire_params params;
    uint8_t key[X25519_LEN]; /* the server's session key */
    struct call prxy;
};

struct link {
    struct worker *w;          /* borrowed */
    struct smp_client *client; /* borrowed; NULL: not open */
    void *owner;               /* of the callbacks */
    void (*on_up)(struct link *k);
    void (*on_down)(struct link *k); /* after link_close(); NULL: nobody waits for it */
    /* Of a queue on the map; what a is not is counted as an error. */
    void (*on_msg)(struct link *k, struct idnode *queue, const struct reply_view *a, uint8_t *text);
    struct idmap queues; /* by recipient id */
    int64_t start_ns;    /* when it was opened */
    bool is_closing;
    struct link_relay *relay; /* owned; NULL: direct */
};

void link_init(struct link *k, struct worker *w, void *owner);
void link_done(struct link *k); /* when no loop runs any more, or it is down */
void link_open(struct link *k);
void link_open_proxied(struct link *k); /* up when the server behind the proxy is connected */
void link_close(struct link *k);        /* when nothing is under way */
/* What commands to the server are written with: the server's session, or the relay's behind it. */
const struct wire_params *link_params(const struct link *k);
const uint8_t *link_session_key(const struct link *k);

/* A command that is being written. */
struct draft {
    struct wr w;
    struct smp_head head;
};

/* Room for n bytes. False when there is no memory: then the run ends. */
bool call_begin(struct call *c, struct link *k, size_t n, struct bytes entity, struct smp_auth auth,
                struct draft *ret);
/* Takes over the draft. answered() is called once, unless the run ends. */
void call_send(struct call *c, const struct draft *d);
/* Counts an error by its name; true when a was one. */
bool call_is_refused(const struct call *c, const struct reply_view *a);
/* The same for commands without which the workload makes no sense: ends the run unless the answer
 * is of this kind. */
bool call_expects(const struct call *c, const struct reply_view *a, enum reply_tag tag);
