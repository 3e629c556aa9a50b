/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

bool addr_parse(const char *host, uint16_t port, union addr *ret) {
    *ret = (union addr){.any.sa_family = AF_UNSPEC};
    if (inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons(port);
        return true;
    }
    if (inet_pton(AF_INET6, host, &ret->v6.sin6_addr) != 1) return false;
    ret->v6.sin6_family = AF_INET6;
    ret->v6.sin6_port = htons(port);
    return true;
}

bool addr_is_ip(const char *host) {
    union addr a;
    return addr_parse(host, 0, &a);
}

socklen_t addr_len(const struct sockaddr *a) {
    return a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

uint16_t addr_port(const union addr *a) {
    return ntohs(a->any.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

struct bytes addr_bytes(const struct sockaddr *a) {
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)a;
        return bytes_of(&v4->sin_addr, 4);
    }
    if (a->sa_family != AF_INET6) return (struct bytes){0};
    const struct sockaddr_in6 *v6 = (const void *)a;
    return bytes_of(&v6->sin6_addr, 16);
}

struct bytes addr_unmapped(struct bytes address) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (address.n != 16 || memcmp(address.p, mapped, sizeof mapped) != 0) return address;
    return bytes_of(address.p + sizeof mapped, 4);
}

bool addr_is_loopback(const struct sockaddr *a) {
    const struct bytes b = addr_bytes(a);
    if (b.n == 4) return b.p[0] == IN_LOOPBACKNET;
    return b.n == 16 && memcmp(b.p, &in6addr_loopback, 16) == 0;
}

static bool set_option(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

int addr_bind(const union addr *a, bool is_dual_stack, bool shares_port) {
    const bool is_v6 = a->any.sa_family == AF_INET6;
    const int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
        (!shares_port || set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1)) &&
        (!is_v6 || set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !is_dual_stack)) &&
        bind(fd, &a->any, addr_len(&a->any)) == 0) {
        return fd;
    }
    addr_close(fd);
    return -1;
}

void addr_close(int fd) {
    const int saved = errno;
    (void)close(fd);
    errno = saved;
}
