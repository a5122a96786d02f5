/* The parser of the inline QoS of a DATA or DATA_FRAG submessage: finds the identity of the related sample.
   Pure: it reads the given bytes and nothing else. The bytes come from the network. */
#include <string.h>

#include "shim.h"

/* Submessage kinds and flags (DDSI-RTPS 2.5, 9.4.5.4 and 9.4.5.5). */
#define KIND_DATA 0x15u
#define KIND_DATA_FRAG 0x16u
#define FLAG_LITTLE_ENDIAN 0x01u
#define FLAG_INLINE_QOS 0x02u

/* Offset of octetsToInlineQos, which counts from its own end. */
#define OFFSET_TO_QOS 6u

/* Parameters: the standardized one (DDS-RPC 1.0, 7.8.2), and Fast DDS's own from before it was standardized. */
#define PID_SENTINEL 0x0001u
#define PID_RELATED 0x0083u
#define PID_RELATED_FAST_DDS 0x800fu
#define PARAMETER_HEADER_BYTES 4u

/* A GUID, and a sequence number in two halves. */
#define IDENTITY_BYTES 24u

static uint32_t roverline_read_u16 (const uint8_t *at, bool little)
{
  return little ? (uint32_t) (at[0] | at[1] << 8) : (uint32_t) (at[0] << 8 | at[1]);
}

static uint64_t roverline_read_u32 (const uint8_t *at, bool little)
{
  const uint64_t first = roverline_read_u16 (at, little), second = roverline_read_u16 (at + 2, little);
  return little ? (first | second << 16) : (first << 16 | second);
}

/* Reads an identity: the GUID is the same in both byte orders, the number is high half first. */
static bool roverline_read_identity (const uint8_t *at, bool little, struct roverline_identity *identity)
{
  static const uint8_t unknown[16];
  if (memcmp (at, unknown, sizeof (unknown)) == 0)
    return false;
  memcpy (identity->writer, at, sizeof (identity->writer));
  identity->sequence_number = (int64_t) (roverline_read_u32 (at + 16, little) << 32 | roverline_read_u32 (at + 20,
      little));
  return true;
}

/* Finds the identity of the related sample. `submessage` starts with the submessage's header, `bytes` is what may
   be read. CycloneDDS has converted octetsToInlineQos to the byte order of this computer (ddsi_receive.c,
   validate_Data and validate_DataFrag); the parameters are still in the byte order that the flags give. */
bool roverline_related_in (const uint8_t *submessage, size_t bytes, struct roverline_identity *related)
{
  uint16_t octets_to_qos;
  bool found = false;
  if (bytes < OFFSET_TO_QOS + sizeof (octets_to_qos))
    return false;
  if (submessage[0] != KIND_DATA && submessage[0] != KIND_DATA_FRAG)
    return false;
  if ((submessage[1] & FLAG_INLINE_QOS) == 0)
    return false;
  const bool little = (submessage[1] & FLAG_LITTLE_ENDIAN) != 0;
  memcpy (&octets_to_qos, submessage + OFFSET_TO_QOS, sizeof (octets_to_qos));
  size_t at = OFFSET_TO_QOS + sizeof (octets_to_qos) + octets_to_qos;
  while (at <= bytes && bytes - at >= PARAMETER_HEADER_BYTES)
  {
    const uint32_t id = roverline_read_u16 (submessage + at, little);
    const size_t length = roverline_read_u16 (submessage + at + 2, little);
    at += PARAMETER_HEADER_BYTES;
    if (id == PID_SENTINEL || length > bytes - at)
      break;
    if (length >= IDENTITY_BYTES && id == PID_RELATED)
      return roverline_read_identity (submessage + at, little, related) || found;
    if (length >= IDENTITY_BYTES && id == PID_RELATED_FAST_DDS)
      found = roverline_read_identity (submessage + at, little, related) || found;
    at += length;
  }
  return found;
}
