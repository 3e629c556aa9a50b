/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* /proc/net/tcp and tcp6 have a line for each socket: addresses in hexadecimal, word by word as
 * they lie in memory, the state, and the inode, by which the process is found that has it open. */
#include "app/server/check_ports.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/files/proc_line.h"
#include "net/addr.h"

enum { TCP_LISTENING = 0x0A, ADDRESS_WORDS = 4, WORD_DIGITS = 8 };
enum { V4 = 1, V6 = 2 };

/* IPv4 addresses are mapped ones, so that all compare alike. */
struct place {
    uint32_t words[ADDRESS_WORDS]; /* in the order of the network */
    unsigned port, families;       /* what it takes connections of */
};

static const uint32_t ANY[ADDRESS_WORDS];

static void map_v4(uint32_t word, struct place *ret) {
    ret->words[0] = ret->words[1] = 0;
    ret->words[2] = word != 0 ? htonl(0xffff) : 0;
    ret->words[3] = word;
}

static bool is_any(const struct place *p) {
    return memcmp(p->words, ANY, sizeof ANY) == 0;
}

/* Whoever listens at all addresses meets everybody. */
static bool meet(const struct place *a, const struct place *b) {
    return a->port == b->port && (a->families & b->families) != 0 &&
           (is_any(a) || is_any(b) || memcmp(a->words, b->words, sizeof a->words) == 0);
}

static bool parse_place(const struct listener_addr *a, struct place *ret) {
    union addr at;
    *ret = (struct place){.port = a->port, .families = V4 | V6};
    if (a->host == NULL) return true;
    if (!addr_parse(a->host, a->port, &at)) return false;
    if (at.any.sa_family == AF_INET) {
        map_v4(at.v4.sin_addr.s_addr, ret);
        ret->families = V4;
        return true;
    }
    memcpy(ret->words, addr_bytes(&at.any).p, sizeof ret->words);
    ret->families = V6;
    return true;
}

/* "0100007F:1467", or four times as many digits before the colon. */
static bool parse_address(const char *text, struct place *ret) {
    uint64_t w[ADDRESS_WORDS], port = 0;
    unsigned n = 0;
    while (n < ADDRESS_WORDS && proc_number(&text, 16, WORD_DIGITS, &w[n])) n++;
    if (!proc_number_after(&text, ':', 16, &port)) return false;
    ret->port = (unsigned)port;
    ret->families = n == 1 ? V4 : V4 | V6; /* which of them is not told */
    if (n == 1) map_v4((uint32_t)w[0], ret);
    for (unsigned i = 0; i < n && n == ADDRESS_WORDS; i++) ret->words[i] = (uint32_t)w[i];
    return n == 1 || n == ADDRESS_WORDS;
}

struct owner {
    uint64_t uid, inode;
};

/* Of a socket that listens. The columns: number, local and remote address, state, queues, timer,
 * retransmissions, user, timeout, inode. */
static bool parse_line(char *line, struct place *ret, struct owner *ret_owner) {
    enum { LOCAL = 1, STATE = 3, UID = 7, INODE = 9 };
    struct proc_line l;
    proc_split(line, &l);
    if (l.n <= INODE) return false;
    uint64_t state = 0;
    return proc_number(&l.words[STATE], 16, 0, &state) && state == TCP_LISTENING &&
           proc_number(&l.words[UID], 10, 0, &ret_owner->uid) &&
           proc_number(&l.words[INODE], 10, 0, &ret_owner->inode) &&
           parse_address(l.words[LOCAL], ret);
}

/* "Uid:	1000	1000	1000	1000": real, effective, saved, of files. True when it cannot
 * be told. */
static bool is_user_of(long pid, uint64_t uid) {
    enum { EFFECTIVE = 2 };
    char path[64], line[256];
    struct proc_line l = {0};
    (void)snprintf(path, sizeof path, "/proc/%ld/status", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) return true;
    bool found = false;
    while (!found && fgets(line, sizeof line, f) != NULL) {
        proc_split(line, &l);
        found = l.n > EFFECTIVE && strcmp(l.words[0], "Uid:") == 0;
    }
    (void)fclose(f);
    uint64_t effective = 0;
    return !found || !proc_number(&l.words[EFFECTIVE], 10, 0, &effective) || effective == uid;
}

static enum port_user user_of(long pid, const struct owner *o) {
    char path[64], wanted[64], link[64];
    (void)snprintf(path, sizeof path, "/proc/%ld/fd", pid);
    (void)snprintf(wanted, sizeof wanted, "socket:[%" PRIu64 "]", o->inode);
    DIR *fds = pid != 0 ? opendir(path) : NULL;
    bool found = false, is_closed = fds == NULL;
    for (const struct dirent *d; !is_closed && !found && (d = readdir(fds)) != NULL;) {
        const ssize_t n = readlinkat(dirfd(fds), d->d_name, link, sizeof link - 1);
        is_closed = n < 0 && (errno == EACCES || errno == EPERM);
        if (n <= 0) continue;
        link[n] = '\0';
        found = strcmp(link, wanted) == 0;
    }
    if (fds != NULL) (void)closedir(fds);
    if (is_closed && pid != 0 && is_user_of(pid, o->uid)) return PORT_SAME_USER;
    return found ? PORT_OURS : PORT_TAKEN;
}

static enum port_user look_in(const char *table, const struct place *wanted, long pid) {
    char line[512];
    enum port_user user = PORT_FREE;
    FILE *f = fopen(table, "re");
    if (f == NULL) return PORT_FREE;
    while (user != PORT_TAKEN && fgets(line, sizeof line, f) != NULL) {
        struct place found;
        struct owner owner = {0};
        if (!parse_line(line, &found, &owner) || !meet(wanted, &found)) continue;
        user = user_of(pid, &owner);
    }
    (void)fclose(f);
    return user;
}

enum port_user check_port(const struct listener_addr *a, long pid) {
    struct place wanted;
    if (!parse_place(a, &wanted)) return PORT_FREE;
    const enum port_user v4 = look_in("/proc/net/tcp", &wanted, pid);
    return v4 != PORT_FREE ? v4 : look_in("/proc/net/tcp6", &wanted, pid);
}

bool ports_meet(const struct listener_addr *a, const struct listener_addr *b) {
    struct place x, y;
    return parse_place(a, &x) && parse_place(b, &y) && meet(&x, &y);
}

/* ---- rights ---- */

enum { FIRST_FREE_PORT = 1024 }; /* where the kernel does not say it */

static uint64_t first_unprivileged_port(void) {
    char line[32];
    uint64_t port = 0;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
    if (f == NULL) return FIRST_FREE_PORT;
    const char *text = fgets(line, sizeof line, f);
    (void)fclose(f);
    return text != NULL && proc_number(&text, 10, 0, &port) ? port : FIRST_FREE_PORT;
}

/* "CapEff:	0000000000000400" */
static bool may_bind_low_ports(long pid) {
    char path[64], line[256];
    bool found = false;
    uint64_t set = 0;
    (void)snprintf(path, sizeof path, "/proc/%ld/status", pid != 0 ? pid : (long)getpid());
    FILE *f = fopen(path, "re");
    if (f == NULL) return true;
    while (!found && fgets(line, sizeof line, f) != NULL) {
        struct proc_line l;
        proc_split(line, &l);
        found =
            l.n > 1 && strcmp(l.words[0], "CapEff:") == 0 && proc_number(&l.words[1], 16, 0, &set);
    }
    (void)fclose(f);
    return !found || (set >> CAP_NET_BIND_SERVICE & 1) != 0;
}

/* To bind to the port itself would keep a server from starting at this moment. */
enum err check_may_bind(const struct listener_addr *a, long pid) {
    if (a->port < first_unprivileged_port() && !may_bind_low_ports(pid)) {
        errno = EACCES;
        return E_SYS;
    }
    return listener_probe(&(struct listener_addr){.host = a->host, .port = 0});
}
