/* A sample of raw CDR, as the library keeps it: shared by the files that make, fill and read it. */
#ifndef ROVERLINE_SAMPLE_H
#define ROVERLINE_SAMPLE_H

#include "dds/ddsi/ddsi_serdata.h"

#include "shim.h"

/* The encapsulation header: a representation and options, whose two low bits count the bytes of padding. */
#define ROVERLINE_HEADER_BYTES 4u
#define ROVERLINE_PADDING_OFFSET 3u
#define ROVERLINE_PADDING_MASK 3u

struct roverline_serdata {
  struct ddsi_serdata common; /* first: the library knows only this part */
  uint32_t bytes;             /* of the payload, with its header */
  bool has_related;
  struct roverline_identity identity;
  struct roverline_identity related;
  int64_t receive_time_ns;
  uint8_t payload[];
};

extern const struct ddsi_serdata_ops roverline_serdata_ops;

/* Allocates a sample with room for the payload; NULL if there is no memory. */
struct roverline_serdata *roverline_allocate (const struct ddsi_sertype *type, enum ddsi_serdata_kind kind,
    size_t bytes);

#endif
