/* The serdata operations of raw CDR: how the library reads, sends and compares samples (ddsi_serdata.h). */
#include <stdio.h>
#include <string.h>

#include "dds/ddsrt/heap.h"
#include "dds/ddsi/ddsi_radmin.h"

#include "sample.h"

/* Reads the related sample from the submessage that the first fragment came in. Its offset, and that of the
   payload behind its inline QoS, are kept with the fragment (ddsi_radmin.h); ddsi_receive.c has checked that both
   lie in the packet. The packet begins the memory chunk that it was received into, so the chunk bounds them too. */
static void roverline_read_related (struct roverline_serdata *sample, const struct ddsi_rdata *first)
{
  const uint32_t chunk_bytes = first->rmsg->chunk.u.size;
  const uint32_t start = DDSI_RDATA_SUBMSG_OFF (first);
  const uint32_t end = DDSI_RDATA_PAYLOAD_OFF (first);
  if (start == 0 || start >= end || end > chunk_bytes)
    return;
  sample->has_related = roverline_related_in (DDSI_RMSG_PAYLOADOFF (first->rmsg, start), end - start,
      &sample->related);
}

/* Takes off the padding that the header counts, so that a message has the length that it was written with. */
static void roverline_remove_padding (struct roverline_serdata *sample)
{
  uint8_t *options = &sample->payload[ROVERLINE_PADDING_OFFSET];
  if (sample->bytes < ROVERLINE_HEADER_BYTES)
    return;
  const uint32_t padding = *options & ROVERLINE_PADDING_MASK;
  if (sample->bytes - ROVERLINE_HEADER_BYTES < padding)
    return;
  sample->bytes -= padding;
  *options = (uint8_t) (*options & ~ROVERLINE_PADDING_MASK);
}

static uint32_t roverline_serdata_size (const struct ddsi_serdata *serdata)
{
  return ((const struct roverline_serdata *) serdata)->bytes;
}

/* All samples of a keyless topic are of one instance. */
static bool roverline_serdata_eqkey (const struct ddsi_serdata *a, const struct ddsi_serdata *b)
{
  (void) a; (void) b;
  return true;
}

static void roverline_serdata_free (struct ddsi_serdata *serdata)
{
  ddsrt_free (serdata);
}

/* Copies the fragments of a received sample one behind the other. They are ordered and without gaps, but may
   overlap (ddsi_serdata.h). */
static struct ddsi_serdata *roverline_serdata_from_ser (const struct ddsi_sertype *type,
    enum ddsi_serdata_kind kind, const struct ddsi_rdata *fragments, size_t bytes)
{
  uint32_t at = 0;
  struct roverline_serdata *sample = roverline_allocate (type, kind, bytes);
  if (sample == NULL)
    return NULL;
  for (const struct ddsi_rdata *fragment = fragments; fragment != NULL; fragment = fragment->nextfrag)
  {
    if (fragment->maxp1 <= at)
      continue;
    if (fragment->min > at || fragment->maxp1 > bytes)
      break;
    const unsigned char *payload = DDSI_RMSG_PAYLOADOFF (fragment->rmsg, DDSI_RDATA_PAYLOAD_OFF (fragment));
    memcpy (sample->payload + at, payload + (at - fragment->min), fragment->maxp1 - at);
    at = fragment->maxp1;
  }
  if (at != bytes)
  {
    ddsi_serdata_unref (&sample->common);
    return NULL;
  }
  roverline_read_related (sample, fragments);
  roverline_remove_padding (sample);
  return &sample->common;
}

/* Only for a conversion between types, which the shim does not have: all its types are equal. */
static struct ddsi_serdata *roverline_serdata_from_ser_iov (const struct ddsi_sertype *type,
    enum ddsi_serdata_kind kind, ddsrt_msg_iovlen_t count, const ddsrt_iovec_t *parts, size_t bytes)
{
  size_t at = 0;
  struct roverline_serdata *sample = roverline_allocate (type, kind, bytes);
  if (sample == NULL)
    return NULL;
  for (ddsrt_msg_iovlen_t i = 0; i < count && at < bytes; i++)
  {
    const size_t left = bytes - at;
    const size_t part = parts[i].iov_len < left ? parts[i].iov_len : left;
    memcpy (sample->payload + at, parts[i].iov_base, part);
    at += part;
  }
  memset (sample->payload + at, 0, bytes - at);
  return &sample->common;
}

/* A disposal without a payload. It is no message, but making a sample of it keeps the library from warning. */
static struct ddsi_serdata *roverline_serdata_from_keyhash (const struct ddsi_sertype *type,
    const struct ddsi_keyhash *keyhash)
{
  struct roverline_serdata *sample = roverline_allocate (type, SDK_KEY, 0);
  (void) keyhash;
  return sample == NULL ? NULL : &sample->common;
}

/* Messages are not written as an application's struct. */
static struct ddsi_serdata *roverline_serdata_from_sample (const struct ddsi_sertype *type,
    enum ddsi_serdata_kind kind, const void *value)
{
  (void) type; (void) kind; (void) value;
  return NULL;
}

static void roverline_serdata_to_ser (const struct ddsi_serdata *serdata, size_t offset, size_t bytes,
    void *buffer)
{
  memcpy (buffer, ((const struct roverline_serdata *) serdata)->payload + offset, bytes);
}

static struct ddsi_serdata *roverline_serdata_to_ser_ref (const struct ddsi_serdata *serdata, size_t offset,
    size_t bytes, ddsrt_iovec_t *part)
{
  part->iov_base = (void *) (((const struct roverline_serdata *) serdata)->payload + offset);
  part->iov_len = bytes;
  return ddsi_serdata_ref (serdata);
}

static void roverline_serdata_to_ser_unref (struct ddsi_serdata *serdata, const ddsrt_iovec_t *part)
{
  (void) part;
  ddsi_serdata_unref (serdata);
}

static bool roverline_serdata_to_sample (const struct ddsi_serdata *serdata, void *value, void **buffer,
    void *limit)
{
  (void) serdata; (void) value; (void) buffer; (void) limit;
  return false;
}

/* The key of the one instance, for the table of instances (ddsi_tkmap.c): it belongs to no type. */
static struct ddsi_serdata *roverline_serdata_to_untyped (const struct ddsi_serdata *serdata)
{
  struct roverline_serdata *key = roverline_allocate (serdata->type, SDK_KEY, 0);
  if (key == NULL)
    return NULL;
  key->common.hash = serdata->hash;
  key->common.type = NULL;
  return &key->common;
}

static bool roverline_serdata_untyped_to_sample (const struct ddsi_sertype *type,
    const struct ddsi_serdata *serdata, void *value, void **buffer, void *limit)
{
  (void) type; (void) serdata; (void) value; (void) buffer; (void) limit;
  return true;
}

static size_t roverline_serdata_print (const struct ddsi_sertype *type, const struct ddsi_serdata *serdata,
    char *text, size_t bytes)
{
  (void) type;
  return (size_t) snprintf (text, bytes, "(%u bytes)",
      (unsigned) ((const struct roverline_serdata *) serdata)->bytes);
}

static void roverline_serdata_get_keyhash (const struct ddsi_serdata *serdata, struct ddsi_keyhash *keyhash,
    bool force_md5)
{
  (void) serdata; (void) force_md5;
  memset (keyhash, 0, sizeof (*keyhash));
}

const struct ddsi_serdata_ops roverline_serdata_ops = {
  .eqkey = roverline_serdata_eqkey,
  .get_size = roverline_serdata_size,
  .from_ser = roverline_serdata_from_ser,
  .from_ser_iov = roverline_serdata_from_ser_iov,
  .from_keyhash = roverline_serdata_from_keyhash,
  .from_sample = roverline_serdata_from_sample,
  .to_ser = roverline_serdata_to_ser,
  .to_ser_ref = roverline_serdata_to_ser_ref,
  .to_ser_unref = roverline_serdata_to_ser_unref,
  .to_sample = roverline_serdata_to_sample,
  .to_untyped = roverline_serdata_to_untyped,
  .untyped_to_sample = roverline_serdata_untyped_to_sample,
  .free = roverline_serdata_free,
  .print = roverline_serdata_print,
  .get_keyhash = roverline_serdata_get_keyhash
};
