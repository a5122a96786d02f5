/* The sertype of raw CDR: a type that has a name and nothing else. It is keyless and announces no type
   information (ddsi_sertype.h describes the operations). */
#include <string.h>

#include "dds/dds.h"
#include "dds/ddsrt/heap.h"
#include "dds/ddsi/ddsi_sertype.h"

#include "sample.h"

static void roverline_sertype_free (struct ddsi_sertype *type)
{
  ddsi_sertype_fini (type);
  ddsrt_free (type);
}

/* Samples in the form of an application's struct do not exist, so there is nothing to clear, allocate or free.
   The library calls these only for loans and content filters, which the shim does not use. */
static void roverline_sertype_zero_samples (const struct ddsi_sertype *type, void *samples, size_t count)
{
  (void) type; (void) samples; (void) count;
}

static void roverline_sertype_realloc_samples (void **samples, const struct ddsi_sertype *type, void *old,
    size_t old_count, size_t count)
{
  (void) type; (void) old; (void) old_count;
  for (size_t i = 0; i < count; i++)
    samples[i] = NULL;
}

static void roverline_sertype_free_samples (const struct ddsi_sertype *type, void **samples, size_t count,
    dds_free_op_t op)
{
  (void) type; (void) samples; (void) count; (void) op;
}

/* ddsi_sertype_equal has compared the names and operations already. */
static bool roverline_sertype_equal (const struct ddsi_sertype *a, const struct ddsi_sertype *b)
{
  (void) a; (void) b;
  return true;
}

static uint32_t roverline_sertype_hash (const struct ddsi_sertype *type)
{
  (void) type;
  return 0;
}

static const struct ddsi_sertype_ops roverline_sertype_ops = {
  .version = ddsi_sertype_v0,
  .free = roverline_sertype_free,
  .zero_samples = roverline_sertype_zero_samples,
  .realloc_samples = roverline_sertype_realloc_samples,
  .free_samples = roverline_sertype_free_samples,
  .equal = roverline_sertype_equal,
  .hash = roverline_sertype_hash
};

/* Creates a topic of raw CDR. dds_create_topic_sertype (ddsc/src/dds_topic.c) takes over the sertype if it
   succeeds, and shares an equal one that is registered. */
roverline_handle roverline_create_topic (roverline_handle participant, const char *topic, const char *type_name)
{
  struct ddsi_sertype *type = ddsrt_malloc_s (sizeof (*type));
  if (type == NULL)
    return DDS_RETCODE_OUT_OF_RESOURCES;
  memset (type, 0, sizeof (*type));
  ddsi_sertype_init_flags (type, type_name, &roverline_sertype_ops, &roverline_serdata_ops,
      DDSI_SERTYPE_FLAG_TOPICKIND_NO_KEY);
  const dds_entity_t handle = dds_create_topic_sertype (participant, topic, &type, NULL, NULL, NULL);
  if (handle < 0)
    ddsi_sertype_unref (type);
  return handle;
}
