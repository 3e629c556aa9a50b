/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* /proc/net/tcp and tcp6 have a line for each socket: addresses in hexadecimal, word by word as
 * they lie in memory, the state, and the inode, by which the process is found that has it open. */
#include "app/check_ports.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TCP_LISTENING = 0x0A, ADDRESS_WORDS = 4 };

/* IPv4 addresses are mapped ones, so that all compare alike. */
struct place {
    uint32_t words[ADDRESS_WORDS]; /* in the order of the network */
    unsigned port;
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
    return a->port == b->port &&
           (is_any(a) || is_any(b) || memcmp(a->words, b->words, sizeof a->words) == 0);
}

static bool parse_place(const struct listener_addr *a, struct place *ret) {
    char host[64];
    *ret = (struct place){.port = a->port};
    if (a->host == NULL) return true;
    (void)snprintf(host, sizeof host, "%s", a->host);
    host[strcspn(host, "%")] = '\0'; /* without its zone */
    uint32_t v4 = 0;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        map_v4(v4, ret);
        return true;
    }
    return inet_pton(AF_INET6, host, ret->words) == 1;
}

/* "0: 0100007F:1467 00000000:0000 0A ... uid timeout inode" */
static bool parse_line(const char *line, struct place *ret, unsigned long *ret_inode) {
    unsigned state = 0, w[ADDRESS_WORDS];
    if (sscanf(line, " %*u: %8x%8x%8x%8x:%x %*32[0-9A-F]:%*x %x %*s %*s %*s %*u %*u %lu", &w[0],
               &w[1], &w[2], &w[3], &ret->port, &state, ret_inode) == 7) {
        memcpy(ret->words, w, sizeof ret->words);
    } else if (sscanf(line, " %*u: %8x:%x %*8x:%*x %x %*s %*s %*s %*u %*u %lu", &w[0], &ret->port,
                      &state, ret_inode) == 4) {
        map_v4(w[0], ret);
    } else {
        return false;
    }
    return state == TCP_LISTENING;
}

static bool has_open(long pid, unsigned long inode) {
    char path[64], wanted[64], link[64];
    (void)snprintf(path, sizeof path, "/proc/%ld/fd", pid);
    (void)snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    DIR *fds = opendir(path);
    if (fds == NULL) return false;
    bool found = false;
    for (const struct dirent *d; !found && (d = readdir(fds)) != NULL;) {
        const ssize_t n = readlinkat(dirfd(fds), d->d_name, link, sizeof link - 1);
        if (n <= 0) continue;
        link[n] = '\0';
        found = strcmp(link, wanted) == 0;
    }
    (void)closedir(fds);
    return found;
}

static enum port_user look_in(const char *table, const struct place *wanted, long pid) {
    char line[512];
    enum port_user user = PORT_FREE;
    FILE *f = fopen(table, "re");
    if (f == NULL) return PORT_FREE;
    while (user != PORT_TAKEN && fgets(line, sizeof line, f) != NULL) {
        struct place found;
        unsigned long inode = 0;
        if (!parse_line(line, &found, &inode) || !meet(wanted, &found)) continue;
        user = pid != 0 && has_open(pid, inode) ? PORT_OURS : PORT_TAKEN;
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
