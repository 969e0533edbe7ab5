/* The clock on the wall, shifted for the processes that load this (LD_PRELOAD) by the number of nanoseconds in the file that
 * HOMEPORT_TEST_CLOCK names: eight bytes, of this machine's order, mapped, so that a change is seen at once by all of them.
 *
 * Covers clock_gettime, gettimeofday, time, timespec_get, and futexes that wait until a moment of that clock (abseil's, in gRPC and
 * Envoy). Monotonic clocks are left alone, as a real jump leaves them. Not covered: what asks the kernel itself, times of files,
 * waits that had begun before the jump, timed waits of glibc on that clock (CPython's are on the monotonic one).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift;

__attribute__((constructor)) static void open_file(void)
{
    const char *path = getenv("HOMEPORT_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        shift = mapped;
    close(file);
}

static void add(struct timespec *at, int64_t nanoseconds)
{
    int64_t all = at->tv_nsec + nanoseconds % 1000000000;
    at->tv_sec += nanoseconds / 1000000000 + (all >= 1000000000) - (all < 0);
    at->tv_nsec = all + (all < 0 ? 1000000000 : all >= 1000000000 ? -1000000000 : 0);
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, at);
    if (answer == 0 && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        add(at, *shift);
    return answer;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *at, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, at) == 0 ? base : 0;
}

long syscall(long number, ...)
{
    static long (*real)(long, ...);
    if (!real)
        real = dlsym(RTLD_NEXT, "syscall");
    va_list list;
    va_start(list, number);
    long a[6];
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    struct timespec until;
    if (number == SYS_futex && shift && (a[1] & FUTEX_CLOCK_REALTIME) && a[3]) {
        until = *(const struct timespec *)a[3];
        add(&until, -*shift);
        a[3] = (long)&until;
    }
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
