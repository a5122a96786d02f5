/* The endpoints of other participants that match a reader or writer of ours. */
#include <string.h>

#include "dds/dds.h"
#include "dds/ddsi/ddsi_endpoint.h"
#include "ddsi__endpoint_match.h"
#include "dds__reader.h"
#include "dds__types.h"
#include "dds__writer.h"

#include "shim.h"

static void roverline_copy_guid (uint8_t target[16], const ddsi_guid_t *guid)
{
  const ddsi_guid_t copied = ddsi_hton_guid (*guid);
  memcpy (target, &copied, sizeof (copied));
}

/* Lists the GUIDs of the matched readers of other participants; returns how many there are. The library keeps them
   in a tree of the writer, under its lock (ddsi_endpoint_match.c, ddsi_writer_get_matched_subscriptions). */
int32_t roverline_matched_readers (roverline_handle writer, uint8_t (*guids)[16], uint32_t most)
{
  dds_writer *locked;
  ddsrt_avl_iter_t at;
  uint32_t count = 0;
  const dds_return_t result = dds_writer_lock (writer, &locked);
  if (result != DDS_RETCODE_OK)
    return result;
  struct ddsi_writer * const inner = locked->m_wr;
  ddsrt_mutex_lock (&inner->e.lock);
  const struct ddsi_wr_prd_match *match = ddsrt_avl_iter_first (&ddsi_wr_readers_treedef, &inner->readers, &at);
  for (; match != NULL; match = ddsrt_avl_iter_next (&at), count++)
    if (count < most)
      roverline_copy_guid (guids[count], &match->prd_guid);
  ddsrt_mutex_unlock (&inner->e.lock);
  dds_writer_unlock (locked);
  return (int32_t) count;
}

/* The same for the matched writers of a reader. */
int32_t roverline_matched_writers (roverline_handle reader, uint8_t (*guids)[16], uint32_t most)
{
  dds_reader *locked;
  ddsrt_avl_iter_t at;
  uint32_t count = 0;
  const dds_return_t result = dds_reader_lock (reader, &locked);
  if (result != DDS_RETCODE_OK)
    return result;
  struct ddsi_reader * const inner = locked->m_rd;
  ddsrt_mutex_lock (&inner->e.lock);
  const struct ddsi_rd_pwr_match *match = ddsrt_avl_iter_first (&ddsi_rd_writers_treedef, &inner->writers, &at);
  for (; match != NULL; match = ddsrt_avl_iter_next (&at), count++)
    if (count < most)
      roverline_copy_guid (guids[count], &match->pwr_guid);
  ddsrt_mutex_unlock (&inner->e.lock);
  dds_reader_unlock (locked);
  return (int32_t) count;
}
