/* The library as a whole: its start, its log, and the way from its listeners to Rust. */
#include "dds/dds.h"
#include "dds/ddsrt/log.h"
#include "dds__init.h"

#include "shim.h"

/* Set once, before any entity exists. */
static roverline_wake_fn wake_fn;
static roverline_log_fn log_fn;

/* Receives every line that the library logs (ddsrt/src/log.c). `message` has `size` bytes and then a newline. */
static void roverline_sink (void *unused, const dds_log_data_t *line)
{
  int32_t level = ROVERLINE_INFO;
  (void) unused;
  if (line->priority & (DDS_LC_FATAL | DDS_LC_ERROR))
    level = ROVERLINE_ERROR;
  else if (line->priority & DDS_LC_WARNING)
    level = ROVERLINE_WARNING;
  log_fn (level, line->message, line->size);
}

/* Starts the library and never stops it: with one reference held, the last participant to leave does not tear down
   what a new one needs at the same time. The reference is the one that dds_init (ddsc/src/dds_init.c) returns. */
int32_t roverline_start (roverline_wake_fn wake, roverline_log_fn log)
{
  wake_fn = wake;
  log_fn = log;
  dds_set_log_sink (roverline_sink, NULL);
  dds_set_trace_sink (roverline_sink, NULL);
  return dds_init ();
}

void roverline_wake (const void *context, enum roverline_event event)
{
  wake_fn (context, (int32_t) event);
}

const char *roverline_error_text (int32_t code)
{
  return dds_strretcode (code);
}
