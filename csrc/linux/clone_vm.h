/* A separate process that shares our memory and our files: it runs our code on our data, but is another process for
 * the kernel.
 *
 * A tracer needs this. The stops of a tracee are reported to every thread of the tracer's process: if that
 * were ours, a thread of ours that waits for a child would see the child "stopped by SIGTRAP" while we dump
 * it, and would lose its exit status if it took that for the end (as subprocess.Popen.wait does). */
#ifndef MDC_LINUX_CLONE_VM_H
#define MDC_LINUX_CLONE_VM_H

#include <stdbool.h>

/* Runs body(argument) in such a process and returns when that process is gone, reaped by us: it has no exit signal, so
 * neither SIGCHLD nor waitpid(-1) without __WALL reports it. It dies by SIGKILL when this thread ends before it, with
 * the whole process (killed, exit, exec) that is. Returns 0, or why it could not be started; then body has not begun.
 * *finished: body has returned; false if it was killed in it, as it is when a signal stops it.
 *
 * The caller's thread lends it the thread-local storage (errno, the allocator's caches): so body may call what the
 * thread could call; but it may be killed at any instruction, so it must take no lock. All signals must be blocked in
 * the thread: body inherits that, and its signal handlers are a copy, its own to change. */
int mdc_clone_vm_run(void (*body)(void *argument), void *argument, bool *finished);

#endif
