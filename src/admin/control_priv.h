/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* control_priv.h -- what the files of the control port share: the port, its sessions, the handlers
 * of its commands. */
#pragma once

#include "admin/auth_gate.h"
#include "admin/control.h"
#include "admin/control_port.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/thread.h"
#include "net/line_server.h"
#include "net/loop.h"
#include "relay/delivery/fate.h"
#include "stats/report.h"
#include "store/store.h"

enum {
    CONTROL_PASSWORD_MAX = SMP_PASSWORD_MAX, /* bytes; a longer one is wrong */
    CONTROL_REPLY_MAX = 512,                 /* bytes of an answer that waits for the disk */
    CONTROL_TEXT_MAX = 32768                 /* bytes of any other answer, or of a part of a list */
};

struct control_walk;

/* Owner loop only. */
struct control_session {
    struct control_port *cp; /* borrowed */
    struct line_conn *conn;  /* borrowed */
    enum control_role role;
    bool was_refused; /* a command for want of the role: said once in the log */
    struct auth_gate gate;
    struct loop_timer timer; /* of what it waits for */
    /* waiting for the gates: its own, then the port's */
    struct list in_trying;
    size_t n_password;
    uint8_t password[CONTROL_PASSWORD_MAX]; /* secret */
    /* waiting for the disk */
    struct fate_waiter disk;
    size_t n_reply;
    uint8_t reply[CONTROL_REPLY_MAX];
    /* waiting for the relay's loops; it ends by itself when the session has ended */
    struct control_walk *walk; /* borrowed; NULL: none */
    struct list in_saving;
};

struct control_port {
    /* fixed after control_port_new() */
    struct control_port_opts o; /* identity: see below */
    uint8_t identity[SHA256_LEN];
    struct loop *loop;          /* owned */
    struct line_server *server; /* owned */
    struct fate_desk desk;
    /* owner loop only */
    struct auth_gate gate;
    struct list trying; /* sessions whose password waits for it */
    struct loop_timer gate_timer;
    struct list saving; /* the session that waits for `save` */
    bool is_saving;
    struct thread saver;
    uint8_t scratch[CONTROL_TEXT_MAX]; /* where an answer is made */
    struct stats_gauges gauges;        /* and where figures are gathered for it */
    struct stats_report report;
    /* guarded by mtx */
    struct lock mtx;
    struct control_settings settings; /* secret */
};

/* A cursor over the port's scratch, and its text as the answer. */
struct wr say_begin(const struct control_session *s);
void say_end(const struct control_session *s, const struct wr *w);
void say(const struct control_session *s, const char *text); /* with its newline */
void say_error(const struct control_session *s, const char *what);
void say_failure(const struct control_session *s, enum err e); /* of a queue's change, in words */
/* The text when what has this lsn is durable, or an error when it never will be. */
void say_when_durable(struct control_session *s, lsn_t lsn, const struct wr *w);

typedef void control_fn(struct control_session *s, const struct control_command *c);
#define VERB(id, name, role, args, listed) control_fn run_##id;
#include "admin/verbs.def"
#undef VERB

void control_report(struct control_port *cp); /* fills in gauges and report */

void control_walk_orphan(struct control_walk *w);  /* its session has ended; NULL is a no-op */
void control_walk_next(struct control_session *s); /* all was written: the next part */
void control_saving_join(struct control_port *cp); /* waits for `save`, if one is under way */
