/* Who refused: the pure function over made-up facts, and the kernel's own refusals where this machine can make them. */
#include "linux_target.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/ptrace.h>

#include "linux/access.h"
#include "linux/identity.h"

/* A plain case: same user, nothing special, and the kernel said no. */
static mdc_access_facts plain(void) {
    mdc_access_facts facts = {.os_errno = EPERM,
                              .yama_scope = -1,
                              .is_descendant = 0,
                              .has_cap_ptrace = 0,
                              .same_user_ns = 1,
                              .target_has_more_caps = 0,
                              .same_ids = 1,
                              .dumpable = 1,
                              .our_uid = 1000,
                              .target_uid = 1000,
                              .seccomp = 0,
                              .lsm_confined = 0};
    return facts;
}

static char message[512];

static int32_t explain(mdc_access_facts facts) {
    memset(message, 'x', sizeof message);
    int32_t reason = mdc_access_explain(&facts, message, sizeof message);
    REQUIRE(memchr(message, '\0', 320) != NULL && message[0] != '\0' && strchr(message, '\n') == NULL);
    return reason;
}

static bool says(const char *text) { return strstr(message, text) != NULL; }

static void test_facts(void) {
    mdc_access_facts facts = plain();
    REQUIRE(explain(facts) == MDC_ACCESS_UNKNOWN && says("root"));

    facts.same_ids = 0;
    facts.target_uid = 33;
    REQUIRE(explain(facts) == MDC_ACCESS_UID && says("33") && says("1000") && says("CAP_SYS_PTRACE"));
    facts.yama_scope = 1; /* ids are looked at before Yama */
    REQUIRE(explain(facts) == MDC_ACCESS_UID);
    facts.same_user_ns = 0;
    REQUIRE(explain(facts) == MDC_ACCESS_NAMESPACE && says("nsenter"));
    facts.has_cap_ptrace = 1;
    REQUIRE(explain(facts) == MDC_ACCESS_NAMESPACE && says("has no effect"));
    facts.same_user_ns = 1;
    REQUIRE(explain(facts) == MDC_ACCESS_UNKNOWN); /* the capability passes ids and Yama's 1 */

    facts = plain();
    facts.dumpable = 0;
    facts.yama_scope = 1;
    REQUIRE(explain(facts) == MDC_ACCESS_DUMPABLE && says("dumpable"));
    facts.has_cap_ptrace = 1;
    REQUIRE(explain(facts) == MDC_ACCESS_UNKNOWN);

    facts = plain();
    facts.target_has_more_caps = 1;
    facts.yama_scope = 2;
    REQUIRE(explain(facts) == MDC_ACCESS_CAPABILITY && says("cap_sys_ptrace"));
    facts.has_cap_ptrace = 1;
    REQUIRE(explain(facts) == MDC_ACCESS_UNKNOWN);

    facts = plain();
    facts.yama_scope = 0;
    REQUIRE(explain(facts) == MDC_ACCESS_UNKNOWN);
    facts.yama_scope = 1;
    REQUIRE(explain(facts) == MDC_ACCESS_YAMA && says("kernel.yama.ptrace_scope=0") && says("descendants"));
    facts.is_descendant = 1;
    REQUIRE(explain(facts) == MDC_ACCESS_UNKNOWN);
    facts.yama_scope = 2;
    REQUIRE(explain(facts) == MDC_ACCESS_YAMA && says("is 2"));
    facts.has_cap_ptrace = 1;
    REQUIRE(explain(facts) == MDC_ACCESS_UNKNOWN);
    facts.yama_scope = 3;
    REQUIRE(explain(facts) == MDC_ACCESS_YAMA && says("reboot"));

    facts = plain();
    facts.same_user_ns = 0;
    REQUIRE(explain(facts) == MDC_ACCESS_NAMESPACE);

    facts = plain();
    facts.lsm_confined = 1;
    facts.seccomp = 2;
    REQUIRE(explain(facts) == MDC_ACCESS_LSM && says("AppArmor"));
    facts.lsm_confined = 0;
    REQUIRE(explain(facts) == MDC_ACCESS_SECCOMP && says("seccomp"));

    memset(&facts, 0xFF, sizeof facts); /* nothing known */
    REQUIRE(explain(facts) == MDC_ACCESS_UNKNOWN);

    facts = plain();
    facts.same_user_ns = 0;
    char small[8]; /* cut, not overrun */
    REQUIRE(mdc_access_explain(&facts, small, sizeof small) == MDC_ACCESS_NAMESPACE && strlen(small) == 7);
}

/* All of these run in a child of their own, because it gives up being root. */
static void waits(target_shared *shared) { sleep_forever(shared); }

static void become(uid_t user) {
    REQUIRE(setgroups(0, NULL) == 0 && setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0);
    REQUIRE(prctl(PR_SET_DUMPABLE, 1) == 0); /* cleared by the change */
}

static void waits_as_1234(target_shared *shared) {
    become(1234);
    sleep_forever(shared);
}

static void waits_as_1234_hidden(target_shared *shared) {
    become(1234);
    REQUIRE(prctl(PR_SET_DUMPABLE, 0) == 0);
    sleep_forever(shared);
}

static void waits_as_1234_with_capability(target_shared *shared) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{1 << CAP_NET_RAW, 1 << CAP_NET_RAW, 0}, {0, 0, 0}};
    REQUIRE(prctl(PR_SET_KEEPCAPS, 1) == 0);
    become(1234);
    REQUIRE(syscall(SYS_capset, &header, data) == 0);
    REQUIRE(prctl(PR_SET_DUMPABLE, 1) == 0);
    sleep_forever(shared);
}

/* What identity says of the target to `user` without capabilities, or with all of them in a user namespace of its
 * own. */
static void refused(void (*body)(target_shared *), uid_t user, bool own_namespace, mdc_status expected,
                    const char *text) {
    target_shared *shared = target_share();
    pid_t pid = target_start(body, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 1);
    fflush(stdout);
    pid_t dumper = fork();
    REQUIRE(dumper >= 0);
    if (dumper == 0) {
        mdc_identity identity;
        mdc_error err;
        mdc_live_options options = {.pid = pid, .pidfd = -1};
        mdc_error_clear(&err);
        become(user);
        if (own_namespace && unshare(CLONE_NEWUSER) != 0) {
            printf("not tried, there are no user namespaces: %s\n", text);
            fflush(stdout);
            _exit(0);
        }
        mdc_status status = mdc_identity_open(&identity, &options, &err);
        printf("%s\n", err.message);
        REQUIRE(status == expected);
        REQUIRE(status == MDC_OK || (err.pid == pid && strstr(err.message, text) != NULL));
        REQUIRE(status != MDC_ERR_ACCESS || (err.os_errno == EACCES || err.os_errno == EPERM));
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(dumper, &status, 0) == dumper && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    target_end(pid);
}

static void test_live(void) {
    if (geteuid() != 0) {
        puts("not root: the kernel's own refusals are not tried");
        return;
    }
    refused(waits_as_1234, 1234, false, MDC_OK, "");
    refused(waits, 1234, false, MDC_ERR_ACCESS, "belongs to user 0 and we are user 1234");
    refused(waits_as_1234, 1235, false, MDC_ERR_ACCESS, "belongs to user 1234 and we are user 1235");
    refused(waits_as_1234_hidden, 1234, false, MDC_ERR_ACCESS, "not dumpable");
    refused(waits_as_1234_with_capability, 1234, false, MDC_ERR_ACCESS, "capabilities that we do not have");
    refused(waits, 1235, true, MDC_ERR_ACCESS, "another user namespace");
}

static void test_traced(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(waits, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 1);
    REQUIRE(ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0);
    REQUIRE(prctl(PR_SET_NAME, "odd\x01\xFFname") == 0);
    mdc_identity identity;
    mdc_error err;
    mdc_live_options options = {.pid = pid, .pidfd = -1};
    mdc_error_clear(&err);
    REQUIRE(mdc_identity_open(&identity, &options, &err) == MDC_ERR_TARGET_BUSY);
    char expected[128];
    snprintf(expected, sizeof expected, "process %d is traced by odd??name (pid %d): detach it first", (int)pid,
             (int)getpid());
    REQUIRE(strcmp(err.message, expected) == 0);
    target_end(pid);
}

int main(void) {
    test_facts();
    test_traced();
    test_live();
    return 0;
}
