/* Preload for user-mode Linux 6.1 on processors whose extended state is larger than that kernel knows (AMX).
 *
 * It restores a guest process's registers with PTRACE_SETREGSET(NT_X86_XSTATE) from a short area. Since Linux 5.14 the
 * host takes only the whole area (EFAULT otherwise), and the guest dies at its first instruction. This puts the short
 * area over the front of the tracee's own whole one; where the sizes agree the call goes through untouched.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PEEKUSER 3
#define GETREGSET 0x4204
#define SETREGSET 0x4205
#define XSTATE 0x202

static __thread char whole[1 << 16];

static long set_xstate(int pid, const struct iovec *given)
{
    static size_t size; /* of the host's area; 0 until it was asked for */
    struct iovec area = {whole, sizeof whole};

    if (!size || given->iov_len < size) {
        if (syscall(SYS_ptrace, GETREGSET, pid, XSTATE, &area))
            return -1;
        size = area.iov_len;
    }
    if (given->iov_len >= size)
        return syscall(SYS_ptrace, SETREGSET, pid, XSTATE, given);
    memcpy(whole, given->iov_base, given->iov_len);
    return syscall(SYS_ptrace, SETREGSET, pid, XSTATE, &area);
}

long ptrace(int request, ...)
{
    va_list rest;
    long word, result;
    int pid;
    void *address, *data;

    va_start(rest, request);
    pid = va_arg(rest, int);
    address = va_arg(rest, void *);
    data = va_arg(rest, void *);
    va_end(rest);

    if (request == SETREGSET && (long)address == XSTATE)
        return set_xstate(pid, data);
    if (request < 1 || request > PEEKUSER)
        return syscall(SYS_ptrace, request, pid, address, data);
    /* The three PEEKs: the system call stores the word, the library's function returns it (ptrace(2), "C library/kernel differences"). */
    result = syscall(SYS_ptrace, request, pid, address, &word);
    if (!result)
        errno = 0;
    return result ? result : word;
}
