/* Hooks that the edited sources of CycloneDDS call (build/edits.rs). Each does nothing for serdata that is not
   the shim's. */
#ifndef ROVERLINE_HOOKS_H
#define ROVERLINE_HOOKS_H

#include "dds/ddsi/ddsi_guid.h"
#include "dds/ddsi/ddsi_protocol.h"
#include "dds/ddsi/ddsi_serdata.h"
#include "position.h"

struct ddsi_xmsg;

/* Notes in a sample who wrote it with which sequence number. Called by ddsi_transmit.c (write_sample, with the
   writer locked) and ddsi_receive.c (remote_make_sample), both before anybody else sees the sample. */
void roverline_note_identity (struct ddsi_serdata *serdata, const ddsi_guid_t *writer,
    ddsi_seqno_t sequence_number);

/* Adds the identity of the related sample to the inline QoS of a DATA or first DATA_FRAG submessage, if the
   sample has one. Called by ddsi_transmit.c wherever such a submessage is made, so retransmissions have it too. */
void roverline_add_related (struct ddsi_xmsg *message, const struct ddsi_serdata *serdata);

#endif
