/* Entities: how domains, participants, readers and writers are created, named and deleted. */
#include <string.h>

#include "dds/dds.h"
#include "dds/ddsc/dds_rhc.h"
#include "dds__reader.h"
#include "dds__types.h"

#include "shim.h"

/* Added to dds_rhc_default.c by build/edits.rs. */
void roverline_rhc_deepen (struct ddsi_rhc *rhc, uint32_t depth);

/* The configuration is the whole one: with an explicit domain, the environment is not read (dds_domain.c). */
roverline_handle roverline_create_domain (uint32_t id, const char *xml)
{
  return dds_create_domain (id, xml);
}

roverline_handle roverline_create_participant (uint32_t domain_id)
{
  return dds_create_participant (domain_id, NULL, NULL);
}

static void roverline_on_data (dds_entity_t reader, void *context)
{
  (void) reader;
  roverline_wake (context, ROVERLINE_DATA);
}

static void roverline_on_writers (dds_entity_t reader, const dds_subscription_matched_status_t status,
    void *context)
{
  (void) reader; (void) status;
  roverline_wake (context, ROVERLINE_CHANGE);
}

static void roverline_on_readers (dds_entity_t writer, const dds_publication_matched_status_t status,
    void *context)
{
  (void) writer; (void) status;
  roverline_wake (context, ROVERLINE_CHANGE);
}

/* What readers and writers have in common. A participant does not hear itself. */
static dds_qos_t *roverline_make_qos (const struct roverline_qos *qos, int32_t depth)
{
  dds_qos_t *made = dds_create_qos ();
  const dds_reliability_kind_t reliability = qos->reliable ? DDS_RELIABILITY_RELIABLE : DDS_RELIABILITY_BEST_EFFORT;
  dds_qset_reliability (made, reliability, qos->max_blocking_ns);
  dds_qset_durability (made, qos->transient_local ? DDS_DURABILITY_TRANSIENT_LOCAL : DDS_DURABILITY_VOLATILE);
  dds_qset_history (made, DDS_HISTORY_KEEP_LAST, depth);
  dds_qset_ignorelocal (made, DDS_IGNORELOCAL_PARTICIPANT);
  return made;
}

/* A reader accepts both versions of CDR. The topic lives as long as the reader, which refers to it. */
roverline_handle roverline_create_reader (roverline_handle participant, const char *topic, const char *type_name,
    const struct roverline_qos *qos, const void *context)
{
  const dds_data_representation_id_t representations[] = {
    DDS_DATA_REPRESENTATION_XCDR1, DDS_DATA_REPRESENTATION_XCDR2
  };
  const dds_entity_t made_topic = roverline_create_topic (participant, topic, type_name);
  if (made_topic < 0)
    return made_topic;
  dds_qos_t *made = roverline_make_qos (qos, (int32_t) qos->depth);
  dds_qset_data_representation (made, 2, representations);
  dds_listener_t *listener = dds_create_listener ((void *) context);
  dds_lset_data_available (listener, roverline_on_data);
  dds_lset_subscription_matched (listener, roverline_on_writers);
  const dds_entity_t reader = dds_create_reader (participant, made_topic, made, listener);
  dds_delete_listener (listener);
  dds_delete_qos (made);
  dds_delete (made_topic);
  return reader;
}

/* A writer keeps `window` samples for readers that have not acknowledged them, and `depth` for late ones. With
   KEEP_LAST the library drops what does not fit instead of blocking; roverline_write blocks before that. */
roverline_handle roverline_create_writer (roverline_handle participant, const char *topic, const char *type_name,
    const struct roverline_qos *qos, const void *context)
{
  const dds_data_representation_id_t representation = DDS_DATA_REPRESENTATION_XCDR1;
  const int32_t kept = (int32_t) (qos->reliable && qos->window > qos->depth ? qos->window : qos->depth);
  const dds_entity_t made_topic = roverline_create_topic (participant, topic, type_name);
  if (made_topic < 0)
    return made_topic;
  dds_qos_t *made = roverline_make_qos (qos, kept);
  dds_qset_durability_service (made, 0, DDS_HISTORY_KEEP_LAST, (int32_t) qos->depth, DDS_LENGTH_UNLIMITED,
      DDS_LENGTH_UNLIMITED, DDS_LENGTH_UNLIMITED);
  dds_qset_data_representation (made, 1, &representation);
  dds_qset_writer_data_lifecycle (made, false);
  dds_listener_t *listener = dds_create_listener ((void *) context);
  dds_lset_publication_matched (listener, roverline_on_readers);
  const dds_entity_t writer = dds_create_writer (participant, made_topic, made, listener);
  dds_delete_listener (listener);
  dds_delete_qos (made);
  dds_delete (made_topic);
  return writer;
}

/* Deletes an entity and all that belongs to it. When it returns, no listener of it runs or will run
   (dds_entity.c, really_delete_pinned_closed_locked). */
int32_t roverline_delete (roverline_handle entity)
{
  return dds_delete (entity);
}

int32_t roverline_guid (roverline_handle entity, uint8_t guid[16])
{
  dds_guid_t found;
  const dds_return_t result = dds_get_guid (entity, &found);
  if (result >= 0)
    memcpy (guid, found.v, sizeof (found.v));
  return result;
}

/* Lets a reader keep more samples. dds_reader_lock (dds__reader.h) keeps the reader, and so its cache, alive. */
int32_t roverline_deepen (roverline_handle reader, uint32_t depth)
{
  dds_reader *locked;
  const dds_return_t result = dds_reader_lock (reader, &locked);
  if (result != DDS_RETCODE_OK)
    return result;
  roverline_rhc_deepen (&locked->m_rhc->common.rhc, depth);
  dds_reader_unlock (locked);
  return DDS_RETCODE_OK;
}
