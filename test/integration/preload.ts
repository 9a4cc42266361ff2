import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Why no shim can be preloaded on this machine; null when it can. */
export function preloadObstacle(): string | null {
  if (process.platform !== 'linux') return 'LD_PRELOAD shims are for Linux';
  const { status } = spawnSync('cc', ['--version']);
  return status === 0 ? null : 'there is no C compiler (cc)';
}

/** Compiles a shim and returns the environment of a process that is to be run with it. */
export function compilePreload(directory: string, name: string, source: string): Record<string, string> {
  const code = join(directory, `${name}.c`);
  const library = join(directory, `${name}.so`);
  writeFileSync(code, source);
  const { status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, code, '-ldl']);
  if (status !== 0) throw new Error(`cc ${code}: ${stderr.toString()}`);
  return { LD_PRELOAD: library };
}

/**
 * While the file that CAIRN_TEST_TRIGGER names exists, every write to a log segment fails with EIO: the last synced write of
 * a disk that died. Which files those are is asked of /proc, so nothing has to be tracked. Node writes through libuv, which
 * may use any of these calls.
 */
export const FAILING_LOG_SOURCE = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(int fd) {
  const char *trigger = getenv("CAIRN_TEST_TRIGGER");
  if (trigger == NULL || access(trigger, F_OK) != 0) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 4) return 0;
  path[length] = 0;
  return strcmp(path + length - 4, ".log") == 0 && strstr(path, "/log/") != NULL;
}
#define FORWARD(result, name, parameters, arguments) \\
  result name parameters { \\
    static result (*next) parameters; \\
    if (next == NULL) next = dlsym(RTLD_NEXT, #name); \\
    if (fails(fd)) { errno = EIO; return -1; } \\
    return next arguments; \\
  }
FORWARD(ssize_t, write, (int fd, const void *bytes, size_t count), (fd, bytes, count))
FORWARD(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
FORWARD(ssize_t, pwrite, (int fd, const void *bytes, size_t count, off_t offset), (fd, bytes, count, offset))
FORWARD(ssize_t, pwrite64, (int fd, const void *bytes, size_t count, off64_t offset), (fd, bytes, count, offset))
FORWARD(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t offset), (fd, parts, count, offset))
FORWARD(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t offset), (fd, parts, count, offset))
FORWARD(int, fsync, (int fd), (fd))
FORWARD(int, fdatasync, (int fd), (fd))
`;

/** The wall clock is off by CAIRN_TEST_CLOCK_OFFSET seconds; the monotonic one is not touched. */
export const SHIFTED_CLOCK_SOURCE = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long offset(void) {
  const char *text = getenv("CAIRN_TEST_CLOCK_OFFSET");
  return text == NULL ? 0 : atol(text);
}
int clock_gettime(clockid_t clock, struct timespec *at) {
  static int (*next)(clockid_t, struct timespec *);
  if (next == NULL) next = dlsym(RTLD_NEXT, "clock_gettime");
  int result = next(clock, at);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += offset();
  return result;
}
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  static int (*next)(struct timeval *, void *);
  if (next == NULL) next = dlsym(RTLD_NEXT, "gettimeofday");
  int result = next(at, zone);
  if (result == 0 && at != NULL) at->tv_sec += offset();
  return result;
}
time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at != NULL) *at = now.tv_sec;
  return now.tv_sec;
}
`;
