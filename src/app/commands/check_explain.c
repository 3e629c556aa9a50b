/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/commands/check_explain.h"

#include <stdio.h>
#include <string.h>

#include "crypto/base64.h"
#include "crypto/crypto.h"

static long long seconds(const struct check_place *at) {
    return (long long)(at->timeout_ms / 1000);
}

/* ---- connecting ---- */

static void explain_dial(const struct check_place *at, const struct smp_end *end,
                         struct problem *p) {
    if (end->is_late) {
        (void)problem_set(p, E_SYS,
                          "no answer within %lld s: is the server running, and does the firewall "
                          "let port %u through?",
                          seconds(at), at->port);
    } else if (end->error == E_SYS && at->via_socks) {
        (void)problem_set(p, E_SYS, "the SOCKS proxy cannot be connected to: %s",
                          strerror(end->sys_error));
    } else if (end->error == E_SYS) {
        (void)problem_set(p, E_SYS, "%s: is the server running, and is %u its port?",
                          strerror(end->sys_error), at->port);
    } else if (end->error == E_NOT_FOUND) {
        (void)problem_set(p, E_NOT_FOUND, "%s cannot be looked up: check the spelling and the DNS",
                          at->via_socks ? "the SOCKS proxy" : "this host");
    } else if (end->error == E_HOST) {
        (void)problem_set(p, E_HOST,
                          "there is no way to this host: onion hosts need --socks-proxy");
    } else if (at->via_socks) {
        (void)problem_set(p, E_CLOSED,
                          "the SOCKS proxy does not connect: is the host right, and the server "
                          "running?");
    } else {
        (void)problem_set(p, end->error, "cannot connect: %s", err_meaning(end->error));
    }
}

static void explain_identity(const struct smp_end *end, struct problem *p) {
    char fingerprint[BASE64_LEN(SHA256_LEN) + 1];
    base64url_encode(bytes_of(end->identity, SHA256_LEN), fingerprint);
    (void)problem_set(p, E_IDENTITY,
                      "the server that answers has the fingerprint %s: the address is of another "
                      "server (`smp-server start` prints the right one), or somebody stands "
                      "between",
                      fingerprint);
}

static void explain_tls(const struct check_place *at, const struct smp_end *end,
                        struct problem *p) {
    if (end->error == E_IDENTITY) {
        explain_identity(end, p);
    } else if (end->is_late) {
        (void)problem_set(p, E_CLOSED,
                          "connected, but nobody speaks TLS within %lld s: is %u the port of an "
                          "SMP server?",
                          seconds(at), at->port);
    } else if (strstr(end->tls, "expired") != NULL) {
        (void)problem_set(p, E_CERT,
                          "a certificate of the server is out of its dates: renew it, and look at "
                          "the clocks of both machines");
    } else if (end->tls[0] != '\0') {
        (void)problem_set(p, E_CLOSED,
                          "TLS fails (%s): is %u the port of an SMP server, and is it reached "
                          "without a proxy for HTTPS in between?",
                          end->tls, at->port);
    } else {
        (void)problem_set(p, E_CLOSED,
                          "connected, but closed before TLS was up: is %u the port of an SMP "
                          "server, and does it take more connections?",
                          at->port);
    }
}

static void explain_hello(const struct check_place *at, const struct smp_failure *why,
                          const struct smp_end *end, struct problem *p) {
    if (end->is_late) {
        (void)problem_set(p, E_CLOSED,
                          "TLS is up, but the server says nothing within %lld s: is it an SMP "
                          "server?",
                          seconds(at));
    } else if (why->error != FAILURE_TRANSPORT) {
        (void)problem_set(p, E_CLOSED,
                          "the server closed the connection: see its log, it may be full");
    } else if (why->transport == TRANSPORT_VERSION) {
        (void)problem_set(p, E_VERSION,
                          "the server speaks SMP versions %u to %u, this program %u to %u: update "
                          "the older one",
                          end->version_min, end->version_max, at->version_min, at->version_max);
    } else if (why->transport == TRANSPORT_HS_BAD_AUTH) {
        (void)problem_set(p, E_CERT,
                          "the server's session key is not signed by its certificate: restart it "
                          "if its certificate was renewed");
    } else {
        (void)problem_set(p, E_SYNTAX, "what the server says is no SMP handshake (%s)",
                          transport_error_text(why->transport));
    }
}

void check_explain_end(const struct check_place *at, const struct smp_failure *why,
                       const struct smp_end *end, struct problem *ret) {
    switch (end->stage) {
    case SMP_STAGE_DIAL:
        explain_dial(at, end, ret);
        return;
    case SMP_STAGE_TLS:
        explain_tls(at, end, ret);
        return;
    case SMP_STAGE_HELLO:
        explain_hello(at, why, end, ret);
        return;
    case SMP_STAGE_UP:
        check_explain_failure(at, why, ret);
        return;
    }
}

/* ---- requests ---- */

void check_explain_failure(const struct check_place *at, const struct smp_failure *why,
                           struct problem *ret) {
    if (why->error == FAILURE_TIMEOUT) {
        (void)problem_set(ret, E_CLOSED, "no answer within %lld s: see the server's log and load",
                          seconds(at));
    } else if (why->error == FAILURE_RESPONSE) {
        (void)problem_set(ret, E_SYNTAX, "what the server answers cannot be read");
    } else {
        (void)problem_set(ret, E_CLOSED, "the server closed the connection: see its log");
    }
}

/* What a peer says, so that a terminal is safe from it. */
static void write_text(struct bytes b, char *ret, size_t cap) {
    size_t n = b.n < cap - 1 ? b.n : cap - 1;
    for (size_t i = 0; i < n; i++) ret[i] = b.p[i] >= ' ' && b.p[i] < 0x7f ? (char)b.p[i] : '?';
    ret[n] = '\0';
}

void check_explain_answer(const struct check_place *at, const struct reply_view *a, bool is_new,
                          struct problem *ret) {
    char text[128];
    if (a->tag != REPLY_ERR) {
        (void)problem_set(ret, E_SYNTAX, "the server gives another answer than is due");
        return;
    }
    if (is_new && a->err.code == E_AUTH && at->has_password) {
        (void)problem_set(ret, E_AUTH,
                          "ERR AUTH: the password is wrong, or the server makes no new queues "
                          "([AUTH] new_queues)");
        return;
    }
    if (is_new && a->err.code == E_AUTH) {
        (void)problem_set(ret, E_AUTH,
                          "ERR AUTH: new queues need a password, which goes into the address "
                          "(smp://fingerprint:password@host), or are switched off ([AUTH] "
                          "new_queues)");
        return;
    }
    write_text(a->err.text, text, sizeof text);
    (void)problem_set(ret, a->err.code, "the server answers ERR %s%s%s", text,
                      a->err.code < N_ERRS ? ": " : "",
                      a->err.code < N_ERRS ? err_meaning(a->err.code) : "");
}
