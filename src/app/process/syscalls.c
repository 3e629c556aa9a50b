/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Calls that older machines have and newer ones do not (open beside openat) stand together at the
 * end of the list: what is not there is not listed. */
#include "app/process/syscalls.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) && defined(__LP64__)
enum { MACHINE = (int)AUDIT_ARCH_X86_64, NUMBERS_MAX = 0x40000000 }; /* above: those of x32 */
#elif defined(__aarch64__) && defined(__LP64__) && defined(__AARCH64EL__)
enum { MACHINE = (int)AUDIT_ARCH_AARCH64, NUMBERS_MAX = 0x40000000 };
#elif defined(__riscv) && __riscv_xlen == 64
enum { MACHINE = (int)AUDIT_ARCH_RISCV64, NUMBERS_MAX = 0x40000000 };
#else
enum { MACHINE = 0, NUMBERS_MAX = 0 };
#endif

// clang-format off
static const int ALLOWED[] = {
    /* in the loops, all the time: first */
    SYS_read, SYS_write, SYS_epoll_pwait, SYS_recvmsg, SYS_sendmsg, SYS_futex, SYS_writev,
    SYS_clock_gettime, SYS_recvfrom, SYS_sendto, SYS_accept4, SYS_epoll_ctl, SYS_close,
    /* files */
    SYS_openat, SYS_readv, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2,
    SYS_pwritev2, SYS_lseek, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_fstatfs,
    SYS_fsync, SYS_fdatasync, SYS_sync_file_range, SYS_ftruncate, SYS_truncate, SYS_fallocate,
    SYS_fadvise64, SYS_renameat, SYS_renameat2, SYS_unlinkat, SYS_mkdirat, SYS_linkat,
    SYS_faccessat, SYS_readlinkat, SYS_getdents64, SYS_fcntl, SYS_flock, SYS_dup, SYS_dup3,
    SYS_pipe2, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_umask,
    SYS_getcwd, SYS_ioctl, SYS_copy_file_range, SYS_sendfile,
    /* connections; socket: by argument */
    SYS_socketpair, SYS_bind, SYS_connect, SYS_listen, SYS_accept, SYS_getsockname,
    SYS_getpeername, SYS_setsockopt, SYS_getsockopt, SYS_sendmmsg, SYS_recvmmsg, SYS_shutdown,
    /* events */
    SYS_epoll_create1, SYS_ppoll, SYS_pselect6, SYS_eventfd2, SYS_timerfd_create,
    SYS_timerfd_settime, SYS_signalfd4,
    /* memory; mmap and mprotect: by argument */
    SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk, SYS_mlock, SYS_munlock, SYS_mlock2, SYS_mincore,
    SYS_membarrier,
    /* threads; clone: by argument */
    SYS_set_robust_list, SYS_get_robust_list, SYS_set_tid_address, SYS_exit, SYS_exit_group,
    SYS_gettid, SYS_getpid, SYS_getppid, SYS_tgkill, SYS_sched_yield, SYS_sched_getaffinity,
    SYS_sched_setaffinity, SYS_sched_getparam, SYS_sched_getscheduler, SYS_getcpu,
    SYS_restart_syscall,
    /* signals */
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigtimedwait,
    SYS_rt_sigpending, SYS_rt_sigsuspend, SYS_sigaltstack,
    /* time */
    SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_times,
    /* itself; capset: each thread gives up its own */
    SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid, SYS_getresgid, SYS_getgroups,
    SYS_capget, SYS_capset, SYS_prctl, SYS_prlimit64, SYS_getrusage, SYS_sysinfo, SYS_uname,
    SYS_getrandom,
#ifdef SYS_faccessat2
    SYS_faccessat2,
#endif
#ifdef SYS_epoll_pwait2
    SYS_epoll_pwait2,
#endif
#ifdef SYS_close_range
    SYS_close_range,
#endif
#ifdef SYS_rseq
    SYS_rseq,
#endif
#ifdef SYS_riscv_flush_icache
    SYS_riscv_flush_icache,
#endif
#ifdef __x86_64__
    SYS_epoll_wait, SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_rename,
    SYS_unlink, SYS_mkdir, SYS_rmdir, SYS_link, SYS_getdents, SYS_chmod, SYS_dup2, SYS_pipe,
    SYS_poll, SYS_select, SYS_epoll_create, SYS_eventfd, SYS_time, SYS_getrlimit, SYS_setrlimit,
    SYS_arch_prctl,
#endif
    /* what looks for races and leaks does it as a debugger does */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    SYS_ptrace, SYS_wait4, SYS_kill, SYS_personality, SYS_clone,
#endif
};
// clang-format on

static const int FAMILIES[] = {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK};

enum {
    PER_CALL = 2,
    CHECKS_MAX = 64,
    PROGRAM_MAX = PER_CALL * ARRAY_LEN(ALLOWED) + CHECKS_MAX,
};

struct program {
    unsigned n;
    struct sock_filter code[PROGRAM_MAX];
};

static void add(struct program *p, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k) {
    p->code[p->n++] = (struct sock_filter){code, jt, jf, k};
}

static void load(struct program *p, size_t at) {
    add(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)at);
}

static void answer(struct program *p, uint32_t what) {
    add(p, BPF_RET | BPF_K, 0, 0, what);
}

static void refuse(struct program *p, int error) {
    answer(p, SECCOMP_RET_ERRNO | (uint32_t)error);
}

/* The next n instructions are for call number nr alone. */
static void only_for(struct program *p, int nr, uint8_t n) {
    add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, n, (uint32_t)nr);
}

/* The low word of an argument: little endian on all machines listed above. */
static void load_arg(struct program *p, unsigned i) {
    load(p, offsetof(struct seccomp_data, args) + i * sizeof(uint64_t));
}

/* Threads, but no processes: and therefore no namespaces. */
static void check_clone(struct program *p) {
    only_for(p, SYS_clone, 4);
    load_arg(p, 0);
    add(p, BPF_JMP | BPF_JSET | BPF_K, 0, 1, CLONE_THREAD);
    answer(p, SECCOMP_RET_ALLOW);
    refuse(p, EPERM);
}

/* Libraries that are loaded late are mapped as code, but never what can be written, and what was
 * data never becomes code. */
static void check_mmap(struct program *p) {
    only_for(p, SYS_mmap, 5);
    load_arg(p, 2);
    add(p, BPF_ALU | BPF_AND | BPF_K, 0, 0, PROT_WRITE | PROT_EXEC);
    add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, PROT_WRITE | PROT_EXEC);
    refuse(p, EPERM);
    answer(p, SECCOMP_RET_ALLOW);
    only_for(p, SYS_mprotect, 4);
    load_arg(p, 2);
    add(p, BPF_JMP | BPF_JSET | BPF_K, 0, 1, PROT_EXEC);
    refuse(p, EPERM);
    answer(p, SECCOMP_RET_ALLOW);
}

static void check_socket(struct program *p) {
    only_for(p, SYS_socket, PER_CALL * ARRAY_LEN(FAMILIES) + 2);
    load_arg(p, 0);
    for (size_t i = 0; i < ARRAY_LEN(FAMILIES); i++) {
        add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)FAMILIES[i]);
        answer(p, SECCOMP_RET_ALLOW);
    }
    refuse(p, EAFNOSUPPORT);
}

static void write_program(struct program *p) {
    load(p, offsetof(struct seccomp_data, arch));
    add(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, (uint32_t)MACHINE);
    refuse(p, ENOSYS);
    load(p, offsetof(struct seccomp_data, nr));
    add(p, BPF_JMP | BPF_JGE | BPF_K, 0, 1, (uint32_t)NUMBERS_MAX);
    refuse(p, ENOSYS);
    for (size_t i = 0; i < ARRAY_LEN(ALLOWED); i++) {
        add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)ALLOWED[i]);
        answer(p, SECCOMP_RET_ALLOW);
    }
    check_clone(p);
    check_mmap(p);
    check_socket(p);
    refuse(p, ENOSYS);
}

enum err syscalls_restrict(bool *ret, struct problem *ret_problem) {
    struct program p = {0};
    if (MACHINE == 0) return OK;
    write_program(&p);
    const struct sock_fprog program = {(unsigned short)p.n, p.code};
    *ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
    if (*ret || errno == ENOSYS || errno == EINVAL || errno == EPERM || errno == EACCES) return OK;
    return problem_sys(ret_problem, "cannot limit system calls");
}
