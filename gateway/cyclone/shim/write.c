/* Writing: a sample waits for a place in the writer's window, is sent, and gets its sequence number. */
#include <string.h>

#include "dds/dds.h"
#include "dds/ddsi/ddsi_endpoint.h"
#include "dds/ddsi/ddsi_proxy_endpoint.h"
#include "dds/ddsi/ddsi_thread.h"
#include "dds__entity.h"
#include "dds__types.h"
#include "ddsi__endpoint.h"
#include "ddsi__hbcontrol.h"
#include "ddsi__whc.h"
#include "ddsi__xevent.h"

#include "sample.h"

/* Whether as many samples as the window has are not acknowledged by some reliable reader. The writer is locked.
   ddsi_writer_max_drop_seq (ddsi_endpoint.c) is the last sample that all of them have acknowledged. */
static bool roverline_is_full (const struct ddsi_writer *writer, uint32_t window)
{
  return writer->seq - ddsi_writer_max_drop_seq (writer) >= window;
}

/* Asks the readers to acknowledge, as the library does before it blocks (ddsi_transmit.c, throttle_writer). The
   writer is locked; the thread must be awake while the heartbeat looks up readers. */
static void roverline_request_acknowledgement (struct ddsi_writer *writer)
{
  struct ddsi_thread_state * const thread = ddsi_lookup_thread_state ();
  struct ddsi_whc_state state;
  ddsi_thread_state_awake (thread, writer->e.gv);
  ddsi_whc_get_state (writer->whc, &state);
  struct ddsi_xmsg *heartbeat = ddsi_writer_hbcontrol_create_heartbeat (writer, &state, ddsrt_time_monotonic (),
      DDSI_HBC_ACK_REQ_YES, 0);
  if (heartbeat != NULL)
    ddsi_qxev_msg (writer->evq, heartbeat);
  ddsi_thread_state_asleep (thread);
}

/* Waits until the window has a place, as ddsi_writer_wait_for_acks (ddsi_endpoint.c) waits for all of them: the
   condition is signalled with every acknowledgement, and when the writer is being deleted. */
static dds_return_t roverline_await_window (struct ddsi_writer *writer, uint32_t window, int64_t wait_ns)
{
  dds_return_t result = DDS_RETCODE_OK;
  if (!writer->reliable)
    return DDS_RETCODE_OK;
  ddsrt_mutex_lock (&writer->e.lock);
  if (roverline_is_full (writer, window))
  {
    const ddsrt_mtime_t until = ddsrt_mtime_add_duration (ddsrt_time_monotonic (), wait_ns);
    roverline_request_acknowledgement (writer);
    while (writer->state == WRST_OPERATIONAL && roverline_is_full (writer, window))
      if (!ddsrt_cond_mtime_waituntil (&writer->throttle_cond, &writer->e.lock, until))
        break;
    result = roverline_is_full (writer, window) ? DDS_RETCODE_TIMEOUT : DDS_RETCODE_OK;
  }
  ddsrt_mutex_unlock (&writer->e.lock);
  return result;
}

/* Sends a sample; `written` gets its identity. Only one thread at a time may write with a writer (Rust sees to it),
   so no other sample takes the place in the window in between. */
int32_t roverline_write (roverline_handle writer, uint32_t window, int64_t wait_ns, const uint8_t *payload,
    uint32_t bytes, int64_t source_time_ns, const struct roverline_identity *related,
    struct roverline_identity *written)
{
  dds_entity *entity;
  dds_return_t result = dds_entity_pin (writer, &entity);
  if (result != DDS_RETCODE_OK)
    return result;
  /* As long as the entity is pinned, it is not deleted and m_wr stays (dds_writer.c). */
  struct ddsi_writer * const pinned = ((struct dds_writer *) entity)->m_wr;
  result = roverline_await_window (pinned, window, wait_ns);
  if (result == DDS_RETCODE_OK)
  {
    struct ddsi_serdata *sample = roverline_make_sample (pinned->type, payload, bytes, related);
    if (sample == NULL)
      result = DDS_RETCODE_OUT_OF_RESOURCES;
    else
    {
      sample->timestamp.v = source_time_ns;
      /* dds_forwardcdr takes one reference in any case; the other keeps the sample for its identity. */
      result = dds_forwardcdr (writer, ddsi_serdata_ref (sample));
      *written = roverline_identity_of (sample);
      ddsi_serdata_unref (sample);
    }
  }
  dds_entity_unpin (entity);
  return result;
}
