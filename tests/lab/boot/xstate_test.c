/* Stops a child and gives it back its extended state, shortened by 64 bytes: 0 taken, 1 refused, 2 no such test here. */
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    static char state[1 << 16];
    struct iovec area = {state, sizeof state};
    pid_t child = fork();

    if (!child) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(child, 0, 0);
    if (ptrace(PTRACE_GETREGSET, child, (void *)0x202, &area))
        return 2;
    area.iov_len -= 64;
    int refused = ptrace(PTRACE_SETREGSET, child, (void *)0x202, &area) != 0;
    kill(child, SIGKILL);
    return refused;
}
