/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/process/rights.h"
#include "app/process/sandbox.h"
#include "app/process/syscalls.h"
#include "base/caps.h"
#include "base/thread.h"

/* A test runs in a child, since there is no way back. It tells its first failure by the line. */
#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) _exit(__LINE__ % 250 + 3);                                               \
    } while (0)
enum { EXIT_SKIP = 1 };

static void run_in_child(void (*run)(void)) {
    int status = 0;
    const pid_t pid = fork();
    if (pid == 0) {
        run();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == EXIT_SKIP) skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static char root[] = "/tmp/smp-sandbox-XXXXXX";
static char own[64], others[64];

static int make_dirs(void **state) {
    (void)state;
    if (mkdtemp(root) == NULL) return -1;
    (void)snprintf(own, sizeof own, "%s/own", root);
    (void)snprintf(others, sizeof others, "%s/others", root);
    return mkdir(own, 0755) != 0 || mkdir(others, 0755) != 0 ? -1 : 0;
}

static int remove_dirs(void **state) {
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

/* False: what would be tested is not in this kernel. */
static void enter(bool needs_files, bool needs_syscalls) {
    struct problem p;
    struct sandbox_state state = {0};
    const char *const writes[] = {own};
    const struct sandbox_paths paths = {NULL, 0, writes, 1};
    EXPECT(rights_begin("", &p) == OK);
    EXPECT(sandbox_enter(&paths, &state, &p) == OK);
    if ((needs_files && !state.files) || (needs_syscalls && !state.syscalls)) _exit(EXIT_SKIP);
}

static int make_file(const char *dir, const char *name) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

/* ---- files ---- */

static void files(void) {
    char from[128], to[128];
    const int before = make_file(others, "before");
    EXPECT(before >= 0);
    enter(true, false);
    EXPECT(make_file(own, "a") >= 0);
    (void)snprintf(from, sizeof from, "%s/a", own);
    (void)snprintf(to, sizeof to, "%s/b", own);
    EXPECT(truncate(from, 10) == 0 && rename(from, to) == 0);
    (void)snprintf(from, sizeof from, "%s/d", own);
    EXPECT(mkdir(from, 0700) == 0 && rmdir(from) == 0);
    EXPECT(make_file(others, "a") == -1 && errno == EACCES);
    (void)snprintf(to, sizeof to, "%s/before", others);
    EXPECT(open(to, O_RDONLY | O_CLOEXEC) == -1 && errno == EACCES);
    EXPECT(unlink(to) == -1 && errno == EACCES);
    EXPECT(write(before, "x", 1) == 1); /* what is open stays open */
    EXPECT(open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0);
    EXPECT(open("/etc/passwd", O_RDWR | O_CLOEXEC) == -1 && errno != 0);
    EXPECT(open("/dev/null", O_RDWR | O_CLOEXEC) >= 0);
    EXPECT(open("/proc/self/statm", O_RDONLY | O_CLOEXEC) >= 0);
}

static void test_files(void **state) {
    (void)state;
    run_in_child(files);
}

/* ---- system calls ---- */

static void *thread(void *arg) {
    *(bool *)arg = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 &&
                   syscall(SYS_acct, NULL) == -1 && errno == ENOSYS;
    return NULL;
}

static void system_calls(void) {
    pthread_t id;
    bool good = false;
    char *const nothing[] = {NULL};
    enter(false, true);
    EXPECT(execve("/bin/true", nothing, nothing) == -1 && errno == ENOSYS);
    EXPECT(syscall(SYS_acct, NULL) == -1 && errno == ENOSYS);
    EXPECT(unshare(CLONE_NEWUSER) == -1 && errno == ENOSYS);
    EXPECT(syscall(SYS_memfd_create, "x", 0) == -1 && errno == ENOSYS);
    EXPECT(syscall(425 /* io_uring_setup */, 1, NULL) == -1 && errno == ENOSYS);
    EXPECT(socket(AF_PACKET, SOCK_RAW, 0) == -1 && errno == EAFNOSUPPORT);
    EXPECT(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0);
    EXPECT(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0) == MAP_FAILED &&
           errno == EPERM);
    void *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(m != MAP_FAILED);
    EXPECT(mprotect(m, 4096, PROT_READ | PROT_EXEC) == -1 && errno == EPERM);
    EXPECT(mprotect(m, 4096, PROT_READ) == 0);
    EXPECT(pthread_create(&id, NULL, thread, &good) == 0 && pthread_join(id, NULL) == 0 && good);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT(fork() == -1 && errno == EPERM);
    EXPECT(kill(getppid(), 0) == -1 && errno == ENOSYS);
#endif
}

static void test_system_calls(void **state) {
    (void)state;
    run_in_child(system_calls);
}

/* ---- memory ---- */

static void memory(void) {
    struct problem p;
    struct rlimit limit;
    struct sandbox_state state = {0};
    EXPECT(sandbox_keep_memory(&state, &p) == OK && state.dumps);
    EXPECT(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 0 && limit.rlim_max == 0);
#if !defined(__SANITIZE_ADDRESS__)
    EXPECT(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
#endif
}

static void test_memory(void **state) {
    (void)state;
    run_in_child(memory);
}

/* ---- rights ---- */

static bool may_bind_443(void) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(443)};
    const bool may = bind(fd, (const struct sockaddr *)&at, sizeof at) == 0;
    (void)close(fd);
    return may;
}

static void see_rights(void *ret) {
    *(uint64_t *)ret = caps_have();
}

/* Of a new thread. */
static uint64_t rights_of_thread(void) {
    struct thread t;
    uint64_t seen = UINT64_MAX;
    EXPECT(thread_start(&t, "rights", see_rights, &seen) == OK);
    thread_join(&t);
    return seen;
}

static void need_root(void) {
    if (geteuid() != 0 || (caps_have() & CAPS_PORTS) == 0) _exit(EXIT_SKIP);
}

static void becomes_user(void) {
    struct problem p;
    need_root();
    EXPECT(rights_begin("nobody", &p) == OK);
    EXPECT(getuid() != 0 && geteuid() != 0 && getgid() != 0);
    EXPECT(setuid(0) == -1);
    EXPECT(caps_have() == CAPS_PORTS && rights_of_thread() == 0);
    EXPECT(may_bind_443());
    rights_end();
    EXPECT(caps_have() == 0 && !may_bind_443() && errno == EACCES);
}

static void stays_root(void) {
    struct problem p;
    need_root();
    EXPECT(rights_begin("", &p) == OK && geteuid() == 0);
    EXPECT(may_bind_443() && (rights_of_thread() & CAPS_PORTS) == 0);
    rights_end();
    EXPECT(!may_bind_443());
    EXPECT(chroot("/") == -1 && errno == EPERM);
}

static void is_unknown_user(void) {
    struct problem p;
    need_root();
    EXPECT(rights_begin("no-such-user", &p) == E_CONFIG);
    EXPECT(strstr(p.text, "no user \"no-such-user\"") != NULL);
}

static void gains_nothing(void) {
    struct problem p;
    EXPECT(rights_begin("", &p) == OK);
    rights_end();
    EXPECT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    EXPECT((caps_have() & CAPS_PORTS) == 0);
}

static void test_becomes_user(void **state) {
    (void)state;
    run_in_child(becomes_user);
}

static void test_stays_root(void **state) {
    (void)state;
    run_in_child(stays_root);
}

static void test_unknown_user(void **state) {
    (void)state;
    run_in_child(is_unknown_user);
}

static void test_gains_nothing(void **state) {
    (void)state;
    run_in_child(gains_nothing);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),         cmocka_unit_test(test_system_calls),
        cmocka_unit_test(test_memory),        cmocka_unit_test(test_becomes_user),
        cmocka_unit_test(test_stays_root),    cmocka_unit_test(test_unknown_user),
        cmocka_unit_test(test_gains_nothing),
    };
    return cmocka_run_group_tests(tests, make_dirs, remove_dirs);
}
