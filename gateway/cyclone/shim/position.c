/* Where a remote writer is: the defence against damaged packets that skip its samples. A HEARTBEAT says which samples
   a writer still has, and those before them are given up. One whose numbers are damaged, or forged, says that
   thousands of future samples are gone, and the writer is never heard again. Pure: no state but the given one. */
#include "position.h"

/* Samples that may be announced, or declared to be gone, at once without further proof. */
#define MAX_STEP_SAMPLES 65536u
/* So long nothing may contradict a HEARTBEAT that skips samples. A writer's heartbeats are less than this apart where
   a sample is missing. */
#define CLAIM_NS 1000000000

static uint64_t roverline_larger (uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

void roverline_position_data (struct roverline_position *position, uint64_t sequence_number)
{
  /* Two that follow each other are hardly ever both damaged. */
  if (sequence_number == position->last_data + 1)
    position->confirmed = roverline_larger (position->confirmed, sequence_number);
  position->last_data = sequence_number;
}

/* Whether the claim of a HEARTBEAT is old enough. The last sample of a writer never goes back, so a HEARTBEAT with an
   earlier one contradicts the claim. */
static int roverline_claim_stands (struct roverline_position *position, uint64_t last, int64_t now_ns)
{
  if (position->claimed_last != 0 && last >= position->claimed_last
      && last - position->claimed_last <= MAX_STEP_SAMPLES)
    return now_ns - position->claimed_at_ns >= CLAIM_NS;
  position->claimed_last = last;
  position->claimed_at_ns = now_ns;
  return 0;
}

void roverline_position_heartbeat (struct roverline_position *position, uint64_t next, uint64_t known, int64_t now_ns,
    uint64_t *first, uint64_t *last)
{
  const uint64_t sure = roverline_larger (next, position->confirmed + 1);
  const uint64_t top = roverline_larger (known, sure - 1);
  const int skips = *first > sure, leaps = *last > top && *last - top > MAX_STEP_SAMPLES;
  if (!skips && !leaps)
  {
    if (*last < position->claimed_last)
      position->claimed_last = 0;
    return;
  }
  if (roverline_claim_stands (position, *last, now_ns))
  {
    position->claimed_last = 0;
    return;
  }
  if (skips)
    *first = next;
  if (leaps)
    *last = top;
}

int roverline_position_gap (const struct roverline_position *position, uint64_t next, uint64_t end)
{
  const uint64_t sure = roverline_larger (next, position->confirmed + 1);
  return end <= sure || end - sure <= MAX_STEP_SAMPLES;
}
