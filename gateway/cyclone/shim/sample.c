/* A sample of raw CDR: how it is made for writing, who wrote it, what it belongs to, and how Rust sees it. */
#include <string.h>

#include "dds/ddsrt/heap.h"
#include "dds/ddsrt/time.h"
#include "ddsi__protocol.h"
#include "ddsi__xmsg.h"

#include "hooks.h"
#include "sample.h"

/* The parameters for a related sample (see submessage.c). Fast DDS of ROS 2 Humble reads only its own. */
#define PID_RELATED 0x0083u
#define PID_RELATED_FAST_DDS 0x800fu
#define IDENTITY_BYTES 24u

struct roverline_serdata *roverline_allocate (const struct ddsi_sertype *type, enum ddsi_serdata_kind kind,
    size_t bytes)
{
  /* The library reads up to the next multiple of four when it sends (ddsi_xmsg.c, ddsi_xmsg_serdata). */
  const size_t padded = (bytes + 3u) & ~(size_t) 3u;
  if (bytes > UINT32_MAX - sizeof (struct roverline_serdata) - 3u)
    return NULL;
  struct roverline_serdata *sample = ddsrt_malloc_s (sizeof (*sample) + padded);
  if (sample == NULL)
    return NULL;
  memset (sample, 0, sizeof (*sample));
  ddsi_serdata_init (&sample->common, type, kind);
  /* All samples of one type are of one instance, and so have one hash (ddsi_tkmap.c). */
  sample->common.hash = type->serdata_basehash;
  sample->bytes = (uint32_t) bytes;
  sample->receive_time_ns = dds_time ();
  memset (sample->payload + bytes, 0, padded - bytes);
  return sample;
}

/* Makes a sample to be written. The payload is padded to a multiple of four, and the padding is counted in the
   header, as the library does with its own types (ddsi_serdata_cdr.c, ostream_add_to_serdata_cdr). */
struct ddsi_serdata *roverline_make_sample (const struct ddsi_sertype *type, const uint8_t *payload,
    uint32_t bytes, const struct roverline_identity *related)
{
  const uint32_t padding = (4u - bytes % 4u) % 4u;
  struct roverline_serdata *sample = roverline_allocate (type, SDK_DATA, (size_t) bytes + padding);
  if (sample == NULL)
    return NULL;
  memcpy (sample->payload, payload, bytes);
  memset (sample->payload + bytes, 0, padding);
  if (padding != 0)
  {
    uint8_t *options = &sample->payload[ROVERLINE_PADDING_OFFSET];
    *options = (uint8_t) ((*options & ~ROVERLINE_PADDING_MASK) | padding);
  }
  if (related != NULL)
  {
    sample->has_related = true;
    sample->related = *related;
  }
  return &sample->common;
}

static bool roverline_is_ours (const struct ddsi_serdata *serdata)
{
  return serdata->ops == &roverline_serdata_ops;
}

void roverline_note_identity (struct ddsi_serdata *serdata, const ddsi_guid_t *writer,
    ddsi_seqno_t sequence_number)
{
  if (!roverline_is_ours (serdata))
    return;
  struct roverline_serdata *sample = (struct roverline_serdata *) serdata;
  const ddsi_guid_t guid = ddsi_hton_guid (*writer);
  memcpy (sample->identity.writer, &guid, sizeof (sample->identity.writer));
  sample->identity.sequence_number = (int64_t) sequence_number;
}

/* A parameter is in the byte order of this computer, as the whole submessage is; the GUID has none. */
static void roverline_add_parameter (struct ddsi_xmsg *message, ddsi_parameterid_t id,
    const struct roverline_identity *related)
{
  const int32_t high = (int32_t) (related->sequence_number >> 32);
  const uint32_t low = (uint32_t) related->sequence_number;
  uint8_t *at = ddsi_xmsg_addpar (message, id, IDENTITY_BYTES);
  memcpy (at, related->writer, sizeof (related->writer));
  memcpy (at + 16, &high, sizeof (high));
  memcpy (at + 20, &low, sizeof (low));
}

void roverline_add_related (struct ddsi_xmsg *message, const struct ddsi_serdata *serdata)
{
  if (!roverline_is_ours (serdata))
    return;
  const struct roverline_serdata *sample = (const struct roverline_serdata *) serdata;
  if (!sample->has_related)
    return;
  roverline_add_parameter (message, PID_RELATED, &sample->related);
  roverline_add_parameter (message, PID_RELATED_FAST_DDS, &sample->related);
}

struct roverline_identity roverline_identity_of (const struct ddsi_serdata *serdata)
{
  return ((const struct roverline_serdata *) serdata)->identity;
}

/* Describes a sample for Rust, which then owns the reference; returns false if it is no message. */
bool roverline_describe (const struct ddsi_serdata *serdata, struct roverline_sample *description)
{
  if (!roverline_is_ours (serdata) || serdata->kind != SDK_DATA)
    return false;
  const struct roverline_serdata *sample = (const struct roverline_serdata *) serdata;
  if (sample->bytes < ROVERLINE_HEADER_BYTES)
    return false;
  *description = (struct roverline_sample) {
    .serdata = (void *) serdata,
    .payload = sample->payload,
    .payload_bytes = sample->bytes,
    .has_related = sample->has_related,
    .identity = sample->identity,
    .related = sample->related,
    .source_time_ns = serdata->timestamp.v,
    .receive_time_ns = sample->receive_time_ns
  };
  return true;
}

/* Frees a sample that was taken. It does not need its reader or its type any more: only roverline_serdata_ops. */
void roverline_release (void *serdata)
{
  ddsi_serdata_unref (serdata);
}
