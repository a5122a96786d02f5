//! The edits of CycloneDDS's sources: mended defects, and hooks for the binding. Each is applied to a copy; the build
//! fails if the text to replace is not found exactly once, so that no edit is lost unseen.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};

/// A text of one source file and what replaces it.
pub(crate) struct Edit {
    /// Relative to the library's root.
    pub(crate) file: &'static str,
    find: &'static str,
    replace: &'static str,
}

pub(crate) const EDITS: &[Edit] = &[
    // Upstream 4cf22d335: the cover was used after it was freed when a reader had a UDPv4MCGEN locator.
    Edit {
        file: "src/core/ddsi/src/ddsi_wraddrset.c",
        find: "    costmap_free (wm);
    cover_free (covered);

    newas = ddsi_new_addrset ();
    for (int i = 0; i < nchosen; i++)
    {
      if (chosen[i] >= 0 && locs->locs[chosen[i]].c.kind != DDSI_LOCATOR_KIND_PSMX)
        wras_add_locator (gv, newas, chosen[i], locs, covered);
    }
    ddsrt_free (chosen);
",
        replace: "    costmap_free (wm);

    newas = ddsi_new_addrset ();
    for (int i = 0; i < nchosen; i++)
    {
      if (chosen[i] >= 0 && locs->locs[chosen[i]].c.kind != DDSI_LOCATOR_KIND_PSMX)
        wras_add_locator (gv, newas, chosen[i], locs, covered);
    }
    ddsrt_free (chosen);
    cover_free (covered);
",
    },
    // Upstream 607317f59, first half: a DATA submessage with neither QoS nor payload passed with an
    // octetsToInlineQos that points beyond the packet.
    Edit {
        file: "src/core/ddsi/src/ddsi_receive.c",
        find: "  sampleinfo->fragsize = 0; /* for unfragmented data, fragsize = 0 works swell */

  if ((msg->x.smhdr.flags & (DDSI_DATA_FLAG_INLINE_QOS",
        replace: "  sampleinfo->fragsize = 0; /* for unfragmented data, fragsize = 0 works swell */

  if (offsetof (ddsi_rtps_data_datafrag_common_t, octetsToInlineQos) + sizeof (msg->x.octetsToInlineQos) + msg->x.octetsToInlineQos + 4 > size)
    return VR_MALFORMED;

  if ((msg->x.smhdr.flags & (DDSI_DATA_FLAG_INLINE_QOS",
    },
    // Upstream 607317f59, second half: the QoS of such a submessage was read although its flag says that there
    // is none.
    Edit {
        file: "src/core/ddsi/src/ddsi_discovery.c",
        find: "  if (!(sampleinfo->complex_qos || need_keyhash))
",
        replace: "  if (!(sampleinfo->complex_qos || need_keyhash) || !(data_smhdr_flags & DDSI_DATA_FLAG_INLINE_QOS))
",
    },
    // Upstream ebfd9513f: with four interfaces the table of sockets grows, and what epoll had of the old one was
    // used after it was freed.
    Edit {
        file: "src/core/ddsi/src/ddsi_sockwaitset.c",
        find: "    ws->entries = ddsrt_realloc (ws->entries, newsz * sizeof (*ws->entries));
    for (idx = sz; idx < newsz; idx++)
      ws->entries[idx].fd = -1;
    fidx = sz;
  }
  ev.events = EPOLLIN;
",
        replace: "    ws->entries = ddsrt_realloc (ws->entries, newsz * sizeof (*ws->entries));
    for (idx = 0; idx < sz; idx++)
    {
      if (ws->entries[idx].fd == -1)
        continue;
      ev.events = EPOLLIN;
      ev.data.ptr = &ws->entries[idx];
      if (epoll_ctl (ws->epfd, EPOLL_CTL_MOD, ws->entries[idx].fd, &ev) == -1)
        return -1;
    }
    for (idx = sz; idx < newsz; idx++)
      ws->entries[idx].fd = -1;
    fidx = sz;
  }
  ev.events = EPOLLIN;
",
    },
    // Hook: the identity of a received sample.
    Edit {
        file: "src/core/ddsi/src/ddsi_receive.c",
        find: "#include \"dds__whc.h\"
",
        replace: "#include \"dds__whc.h\"
#include \"hooks.h\"
",
    },
    Edit {
        file: "src/core/ddsi/src/ddsi_receive.c",
        find: "    if ((*tk = ddsi_tkmap_lookup_instance_ref (gv->m_tkmap, sample)) == NULL)
    {
      ddsi_serdata_unref (sample);",
        replace: "    if (sampleinfo->pwr)
      roverline_note_identity (sample, &sampleinfo->pwr->e.guid, sampleinfo->seq);
    if ((*tk = ddsi_tkmap_lookup_instance_ref (gv->m_tkmap, sample)) == NULL)
    {
      ddsi_serdata_unref (sample);",
    },
    // Hooks: the identity of a written sample, and the sample that it belongs to.
    Edit {
        file: "src/core/ddsi/src/ddsi_transmit.c",
        find: "#include \"dds__whc.h\"
",
        replace: "#include \"dds__whc.h\"
#include \"hooks.h\"
",
    },
    Edit {
        file: "src/core/ddsi/src/ddsi_transmit.c",
        find: "  seq = ++wr->seq;
",
        replace: "  seq = ++wr->seq;
  roverline_note_identity (serdata, &wr->e.guid, seq);
",
    },
    Edit {
        file: "src/core/ddsi/src/ddsi_transmit.c",
        find: "    ddsi_xmsg_addpar_statusinfo (*pmsg, serdata->statusinfo);
  if (ddsi_xmsg_addpar_sentinel_ifparam (*pmsg) > 0)
",
        replace: "    ddsi_xmsg_addpar_statusinfo (*pmsg, serdata->statusinfo);
  roverline_add_related (*pmsg, serdata);
  if (ddsi_xmsg_addpar_sentinel_ifparam (*pmsg) > 0)
",
    },
    Edit {
        file: "src/core/ddsi/src/ddsi_transmit.c",
        find: "    rc = ddsi_xmsg_addpar_sentinel_ifparam (*pmsg);
",
        replace: "    roverline_add_related (*pmsg, serdata);
    rc = ddsi_xmsg_addpar_sentinel_ifparam (*pmsg);
",
    },
    // Hook: damaged packets do not silence the writer that they name (upstream issue 1854).
    Edit {
        file: "src/core/ddsi/include/dds/ddsi/ddsi_proxy_endpoint.h",
        find: "#include \"dds/ddsi/ddsi_lease.h\"
",
        replace: "#include \"dds/ddsi/ddsi_lease.h\"
#include \"position.h\"
",
    },
    Edit {
        file: "src/core/ddsi/include/dds/ddsi/ddsi_proxy_endpoint.h",
        find: "  ddsi_seqno_t last_seq; /* highest known seq published by the writer, not last delivered */
",
        replace: "  ddsi_seqno_t last_seq; /* highest known seq published by the writer, not last delivered */
  struct roverline_position position;
",
    },
    Edit {
        file: "src/core/ddsi/src/ddsi_proxy_endpoint.c",
        find: "  pwr->last_seq = 0;
",
        replace: "  pwr->last_seq = 0;
  memset (&pwr->position, 0, sizeof (pwr->position));
",
    },
    Edit {
        file: "src/core/ddsi/src/ddsi_receive.c",
        find: "  /* Track highest sequence number we know of -- we track both
     sequence number & fragment number so that the NACK generation can
     do the Right Thing. */
",
        replace: "  roverline_position_data (&pwr->position, sampleinfo->seq);
",
    },
    Edit {
        file: "src/core/ddsi/src/ddsi_receive.c",
        find: "  const ddsi_seqno_t firstseq = ddsi_from_seqno (msg->firstSN);
  const ddsi_seqno_t lastseq = ddsi_from_seqno (msg->lastSN);
",
        replace: "  ddsi_seqno_t firstseq = ddsi_from_seqno (msg->firstSN);
  ddsi_seqno_t lastseq = ddsi_from_seqno (msg->lastSN);
",
    },
    Edit {
        file: "src/core/ddsi/src/ddsi_receive.c",
        find: "  // Inserting a GAP for [1..gap_end_seq) is our way of implementing the processing of
",
        replace: "  if (pwr->have_seen_heartbeat)
    roverline_position_heartbeat (&pwr->position, ddsi_reorder_next_seq (pwr->reorder), pwr->last_seq, tnow.v, &firstseq, &lastseq);
  // Inserting a GAP for [1..gap_end_seq) is our way of implementing the processing of
",
    },
    Edit {
        file: "src/core/ddsi/src/ddsi_receive.c",
        find: "          wn->u.not_in_sync.end_of_tl_seq = ddsi_from_seqno (msg->lastSN);
",
        replace: "          wn->u.not_in_sync.end_of_tl_seq = lastseq;
",
    },
    Edit {
        file: "src/core/ddsi/src/ddsi_receive.c",
        find: "    RSTTRACE (\": no heartbeat seen yet\");
    ddsrt_mutex_unlock (&pwr->e.lock);
    return 1;
  }
",
        replace: "    RSTTRACE (\": no heartbeat seen yet\");
    ddsrt_mutex_unlock (&pwr->e.lock);
    return 1;
  }
  if (!roverline_position_gap (&pwr->position, ddsi_reorder_next_seq (pwr->reorder), listbase + msg->gapList.numbits))
  {
    ddsrt_mutex_unlock (&pwr->e.lock);
    return 1;
  }
",
    },
    // A Fast DDS writer tells a late volatile reader by a GAP what came before it matched. What its HEARTBEAT lists
    // beyond that is for the reader, also what was sent before the reader knew the writer: the first request of a
    // client, the first message of a publisher.
    Edit {
        file: "src/core/ddsi/src/ddsi_receive.c",
        find: "    gap_end_seq = lastseq + 1;
",
        replace: "    if (!ddsi_vendor_is_eprosima (rst->vendor))
      gap_end_seq = lastseq + 1;
",
    },
    // A Fast DDS writer answers the first ACKNACK of a reader with a HEARTBEAT at once if its base is 0 and its count
    // is larger than that of the one before, also of the first (StatefulWriter::process_acknack, 2.6 to 3.1). Otherwise
    // it waits for its period of three seconds.
    Edit {
        file: "src/core/ddsi/src/ddsi_acknack.c",
        find: "  an->readerSNState.bitmap_base = ddsi_to_seqno (1);
  an->readerSNState.numbits = 0;
",
        replace: "  const bool eprosima = ddsi_vendor_is_eprosima (pwr->c.vendor);
  an->readerSNState.bitmap_base = ddsi_to_seqno (eprosima ? 0 : 1);
  an->readerSNState.numbits = 0;
",
    },
    Edit {
        file: "src/core/ddsi/src/ddsi_acknack.c",
        find: "  *countp = 0;
",
        replace: "  *countp = eprosima ? rwn->count++ : 0;
",
    },
    // Hook: a reader's history may grow. The library knows no change of this QoS.
    Edit {
        file: "src/core/ddsc/src/dds_rhc_default.c",
        find: "  rhc->deadline.dur = qos->deadline.deadline; */
}
",
        replace: "  rhc->deadline.dur = qos->deadline.deadline; */
}

void roverline_rhc_deepen (struct ddsi_rhc *rhc_common, uint32_t depth);
void roverline_rhc_deepen (struct ddsi_rhc *rhc_common, uint32_t depth)
{
  struct dds_rhc_default * const rhc = (struct dds_rhc_default *) rhc_common;
  ddsrt_mutex_lock (&rhc->lock);
  if (depth > rhc->history_depth)
    rhc->history_depth = depth;
  ddsrt_mutex_unlock (&rhc->lock);
}
",
    },
];

/// The root of the headers that are edited.
const HEADERS: &str = "src/core/ddsi/include";

/// Writes the edited copies of headers into `folder`, which is searched before the library's own.
pub(crate) fn write_headers(root: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    let files: BTreeSet<&Path> = EDITS.iter().map(|edit| Path::new(edit.file)).collect();
    for file in files {
        let Ok(name) = file.strip_prefix(HEADERS) else { continue };
        let copy = folder.join(name);
        std::fs::create_dir_all(copy.parent().ok_or("a header is in a folder")?)?;
        std::fs::write(&copy, edited_text(root, file)?)?;
    }
    Ok(())
}

/// Writes the edited copy of `file` into `folder` and returns its path. A file without edits stays where it is.
pub(crate) fn edited(root: &Path, file: &Path, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    if !EDITS.iter().any(|edit| Path::new(edit.file) == file) {
        return Ok(root.join(file));
    }
    let name = file.file_name().ok_or("a source file has a name")?;
    let copy = folder.join(name);
    std::fs::write(&copy, edited_text(root, file)?)?;
    Ok(copy)
}

fn edited_text(root: &Path, file: &Path) -> Result<String, Box<dyn Error>> {
    let mut text = std::fs::read_to_string(root.join(file))?;
    for edit in EDITS.iter().filter(|edit| Path::new(edit.file) == file) {
        let found = text.matches(edit.find).count();
        if found != 1 {
            return Err(format!(
                "{}: the text to edit is there {found} times instead of once; the edits in build/edits.rs are made \
                 for cyclonedds-src 1.0.2:\n{}",
                edit.file, edit.find
            )
            .into());
        }
        text = text.replace(edit.find, edit.replace);
    }
    Ok(text)
}
