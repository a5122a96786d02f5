/* Discovery: the readers of the library's own topics that report the readers and writers of a domain. */
#include <string.h>

#include "dds/dds.h"

#include "shim.h"

#define BATCH_SAMPLES 64

/* The first bytes of a GUID name the vendor (DDSI-RTPS 2.5, 9.3.1.5); these are CycloneDDS's. */
static const uint8_t cyclone_vendor[2] = { 0x01, 0x10 };

static void roverline_on_change (dds_entity_t reader, void *context)
{
  (void) reader;
  roverline_wake (context, ROVERLINE_CHANGE);
}

/* Creates the reader that reports the writers, or else the readers. */
roverline_handle roverline_create_discovery (roverline_handle participant, bool writers, const void *context)
{
  const dds_entity_t topic = writers ? DDS_BUILTIN_TOPIC_DCPSPUBLICATION : DDS_BUILTIN_TOPIC_DCPSSUBSCRIPTION;
  dds_listener_t *listener = dds_create_listener ((void *) context);
  dds_lset_data_available (listener, roverline_on_change);
  const dds_entity_t reader = dds_create_reader (participant, topic, NULL, listener);
  dds_delete_listener (listener);
  return reader;
}

/* The depth that an endpoint announced; 0 if it is unlimited or not known. CycloneDDS does not announce a depth of
   one, and other vendors no depth at all: the library then has the default, which is one. */
static uint32_t roverline_history_depth (const dds_builtintopic_endpoint_t *endpoint)
{
  dds_history_kind_t kind;
  int32_t depth;
  if (!dds_qget_history (endpoint->qos, &kind, &depth) || kind != DDS_HISTORY_KEEP_LAST || depth < 1)
    return 0;
  if (depth == 1 && memcmp (endpoint->key.v, cyclone_vendor, sizeof (cyclone_vendor)) != 0)
    return 0;
  return (uint32_t) depth;
}

/* Fills in what an endpoint announced. The library adds the defaults of what is missing: a writer is reliable and a
   reader best effort (ddsi_plist.c, ddsi_default_qos_writer and ddsi_default_qos_reader). */
static void roverline_read_endpoint (const dds_builtintopic_endpoint_t *found, struct roverline_endpoint *endpoint)
{
  dds_reliability_kind_t reliability = DDS_RELIABILITY_BEST_EFFORT;
  dds_durability_kind_t durability = DDS_DURABILITY_VOLATILE;
  (void) dds_qget_reliability (found->qos, &reliability, NULL);
  (void) dds_qget_durability (found->qos, &durability);
  endpoint->alive = true;
  endpoint->reliable = reliability == DDS_RELIABILITY_RELIABLE;
  endpoint->transient_local = durability >= DDS_DURABILITY_TRANSIENT_LOCAL;
  endpoint->history_depth = roverline_history_depth (found);
  endpoint->topic = found->topic_name;
  endpoint->type_name = found->type_name;
}

/* Takes the changes since the last call, those of the participant with the prefix `own` aside, and calls `each` with
   one after the other. The strings are valid during the call. Returns an error or 0. */
int32_t roverline_take_endpoints (roverline_handle discovery, const uint8_t own[12], roverline_endpoint_fn each,
    void *context)
{
  void *samples[BATCH_SAMPLES] = { NULL };
  dds_sample_info_t infos[BATCH_SAMPLES];
  dds_return_t count;
  while ((count = dds_take (discovery, samples, infos, BATCH_SAMPLES, BATCH_SAMPLES)) > 0)
  {
    for (dds_return_t i = 0; i < count; i++)
    {
      const dds_builtintopic_endpoint_t *found = samples[i];
      struct roverline_endpoint endpoint = { .alive = false };
      if (memcmp (found->key.v, own, 12) == 0)
        continue;
      memcpy (endpoint.guid, found->key.v, sizeof (endpoint.guid));
      if (infos[i].valid_data && infos[i].instance_state == DDS_ALIVE_INSTANCE_STATE && found->topic_name
          && found->type_name)
        roverline_read_endpoint (found, &endpoint);
      each (context, &endpoint);
    }
    (void) dds_return_loan (discovery, samples, count);
  }
  return count;
}
