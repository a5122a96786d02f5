/* A wall clock that can be stepped, as a preloaded library: it adds an offset to CLOCK_REALTIME.
 *
 * The offset, whole seconds, is the first 8 bytes of the file that ROVERLINE_STEPPED_CLOCK names (native byte
 * order). The file is mapped, so that a step reaches all processes at once and a reading costs one addition.
 * Monotonic clocks are unchanged. A wait until an absolute time of the wall clock is not converted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset_s;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void map_offset(void)
{
  real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  const char *path = getenv("ROVERLINE_STEPPED_CLOCK");
  const int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset_s, PROT_READ, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED)
    abort();
  offset_s = mapped;
  close(file);
}

int clock_gettime(clockid_t id, struct timespec *now)
{
  if (real_clock_gettime == NULL)
    real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  const int result = real_clock_gettime(id, now);
  if (result == 0 && offset_s && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
    now->tv_sec += *offset_s;
  return result;
}

int gettimeofday(struct timeval *now, void *zone)
{
  (void)zone;
  struct timespec time;
  const int result = clock_gettime(CLOCK_REALTIME, &time);
  now->tv_sec = time.tv_sec;
  now->tv_usec = time.tv_nsec / 1000;
  return result;
}

time_t time(time_t *seconds)
{
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (seconds)
    *seconds = now.tv_sec;
  return now.tv_sec;
}
