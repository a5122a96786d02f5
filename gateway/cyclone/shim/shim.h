/* Interface of the shim: what Rust calls (src/ffi.rs declares the same) and what its files share. */
#ifndef ROVERLINE_SHIM_H
#define ROVERLINE_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Handles of entities, and negative return codes, are dds_entity_t and dds_return_t: both are int32_t. */
typedef int32_t roverline_handle;

/* A sample's identity: the GUID of its writer in network byte order, and its RTPS sequence number. */
struct roverline_identity {
  uint8_t writer[16];
  int64_t sequence_number;
};

/* A taken sample. The payload belongs to the serdata, which roverline_release frees. */
struct roverline_sample {
  void *serdata;
  const uint8_t *payload;
  uint32_t payload_bytes;
  bool has_related;
  struct roverline_identity identity;
  struct roverline_identity related;
  int64_t source_time_ns;
  int64_t receive_time_ns;
};

/* A change of a discovered reader or writer. Only the GUID is meaningful if it is not alive. */
struct roverline_endpoint {
  uint8_t guid[16];
  bool alive;
  bool reliable;
  bool transient_local;
  uint32_t history_depth; /* 0 if it is not known or unlimited */
  const char *topic;
  const char *type_name;
};

/* QoS of a reader or writer. The window and the time to block are a writer's. */
struct roverline_qos {
  bool reliable;
  bool transient_local;
  uint32_t depth;
  uint32_t window;
  int64_t max_blocking_ns;
};

/* What a listener reports: new data, or a change of the discovered or matched endpoints. */
enum roverline_event {
  ROVERLINE_DATA = 0,
  ROVERLINE_CHANGE = 1
};

/* Levels of a line in the log. */
enum roverline_level {
  ROVERLINE_ERROR = 0,
  ROVERLINE_WARNING = 1,
  ROVERLINE_INFO = 2
};

typedef void (*roverline_wake_fn) (const void *context, int32_t event);
typedef void (*roverline_log_fn) (int32_t level, const char *line, size_t bytes);
typedef void (*roverline_endpoint_fn) (void *context, const struct roverline_endpoint *endpoint);
typedef void (*roverline_address_fn) (void *context, uint32_t address);

/* Samples that one call of roverline_take takes at most. */
#define ROVERLINE_TAKE_SAMPLES 64u

/* library.c */
int32_t roverline_start (roverline_wake_fn wake, roverline_log_fn log);
void roverline_wake (const void *context, enum roverline_event event);
const char *roverline_error_text (int32_t code);

/* interfaces.c */
int32_t roverline_multicast_interfaces (roverline_address_fn each, void *context);

/* entities.c */
roverline_handle roverline_create_domain (uint32_t id, const char *xml);
roverline_handle roverline_create_participant (uint32_t domain_id);
roverline_handle roverline_create_reader (roverline_handle participant, const char *topic, const char *type_name,
    const struct roverline_qos *qos, const void *context);
roverline_handle roverline_create_writer (roverline_handle participant, const char *topic, const char *type_name,
    const struct roverline_qos *qos, const void *context);
int32_t roverline_delete (roverline_handle entity);
int32_t roverline_guid (roverline_handle entity, uint8_t guid[16]);
int32_t roverline_deepen (roverline_handle reader, uint32_t depth);

/* sertype.c */
roverline_handle roverline_create_topic (roverline_handle participant, const char *topic, const char *type_name);

/* serdata.c */
struct ddsi_sertype;
struct ddsi_serdata;
struct ddsi_serdata *roverline_make_sample (const struct ddsi_sertype *type, const uint8_t *payload,
    uint32_t bytes, const struct roverline_identity *related);
struct roverline_identity roverline_identity_of (const struct ddsi_serdata *serdata);
bool roverline_describe (const struct ddsi_serdata *serdata, struct roverline_sample *sample);
void roverline_release (void *serdata);

/* submessage.c */
bool roverline_related_in (const uint8_t *submessage, size_t bytes, struct roverline_identity *related);

/* take.c */
int32_t roverline_take (roverline_handle reader, struct roverline_sample *samples, uint32_t most, uint32_t *valid);

/* write.c */
int32_t roverline_write (roverline_handle writer, uint32_t window, int64_t wait_ns, const uint8_t *payload,
    uint32_t bytes, int64_t source_time_ns, const struct roverline_identity *related,
    struct roverline_identity *written);

/* matches.c */
int32_t roverline_matched_readers (roverline_handle writer, uint8_t (*guids)[16], uint32_t most);
int32_t roverline_matched_writers (roverline_handle reader, uint8_t (*guids)[16], uint32_t most);

/* discovery.c */
roverline_handle roverline_create_discovery (roverline_handle participant, bool writers, const void *context);
int32_t roverline_take_endpoints (roverline_handle discovery, const uint8_t own[12], roverline_endpoint_fn each,
    void *context);

#endif
