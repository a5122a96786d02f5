/* Where a remote writer is, as far as its packets can be believed. Without any part of CycloneDDS, because a header
   of the library contains it (build/edits.rs). */
#ifndef ROVERLINE_POSITION_H
#define ROVERLINE_POSITION_H

#include <stdint.h>

struct roverline_position {
  uint64_t last_data; /* sequence number of the last DATA that arrived */
  uint64_t confirmed; /* the highest one that came right after its predecessor */
  uint64_t claimed_last; /* `last` of the HEARTBEAT that is not believed yet; 0: there is none */
  int64_t claimed_at_ns; /* when it arrived */
};

/* Notes a DATA or DATA_FRAG submessage. */
void roverline_position_data (struct roverline_position *position, uint64_t sequence_number);

/* Decides what is believed of a HEARTBEAT that says that the samples `*first` to `*last` are available, and lowers
   the two to that. `next` is the sample that is delivered next, `known` the highest one that is known to exist. */
void roverline_position_heartbeat (struct roverline_position *position, uint64_t next, uint64_t known, int64_t now_ns,
    uint64_t *first, uint64_t *last);

/* Whether a GAP that ends before the sample `end` is believed. */
int roverline_position_gap (const struct roverline_position *position, uint64_t next, uint64_t end);

#endif
