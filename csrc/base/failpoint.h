/* Fail points by name: a test build (-DMDC_FAILPOINTS) can make the nth pass of a named point fail; in a release
 * build the macro is the constant 0 and nothing remains.
 *
 * Names: alloc, read:page, write:chunk, write:patch, sink:finish, stop:thread, stop:hang, regs:thread, regs:hang,
 * maps:list, maps:query, smaps:list, modules:step, pagemap:scan, backing:open, backing:blocks, backing:runs,
 * late:lease, arena:reserve, arena:touch, root:links, input:reopen, spawn:tracer, spawn:clone_vm, spawn:worker,
 * spawn:helper, crash:stack, crash:key, redact:compare, ranges:sort (these two are
 * only counted). Where the tracer is killed: inject:* and child:*
 * (linux/inject_x86_64.c). */
#ifndef MDC_BASE_FAILPOINT_H
#define MDC_BASE_FAILPOINT_H

#ifdef MDC_FAILPOINTS
/* Returns 0, or the error number the point shall fail with. */
int mdc_failpoint(const char *name);
/* `spec`: "name:n:errno,name:n:errno"; "" switches everything off. n counts from 1; 0 fails every time. */
void mdc_failpoint_set(const char *spec);
/* How often a point of the current `spec` was passed; with the error number 0 it never fails and is only counted. */
unsigned long mdc_failpoint_passes(const char *name);
#define MDC_FAILPOINT(name) mdc_failpoint(name)
#else
#define MDC_FAILPOINT(name) 0
#endif

#endif
