//! Codec and store of `ros_discovery_info`, by which ROS contexts announce their nodes. Every context
//! publishes its list of nodes as a `ParticipantEntitiesInfo`; a node does not otherwise exist on the
//! wire.

use std::collections::BTreeMap;

use roverline_protocol::Guid;

use crate::NodeInfo;
use crate::dds::engine::cdr::HEADER;

/// The maximum number of contexts. Anyone can write to the graph topic.
const MAX_CONTEXTS: usize = 512;
/// The maximum number of nodes per context.
const MAX_NODES: usize = 256;
/// Serialized messages may be padded to a multiple of four.
const MAX_PADDING: usize = 3;

/// The size of a graph id on the wire. One graph uses one size; the wrong size breaks the tools of
/// every other context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GidSize {
    /// Iron and later.
    Sixteen,
    /// Humble and earlier: the id followed by eight zeros.
    TwentyFour,
}

impl GidSize {
    /// The size used by a distribution; `None` for an empty name.
    pub(super) fn of_distro(distro: &str) -> Option<GidSize> {
        match distro {
            "" => None,
            "dashing" | "eloquent" | "foxy" | "galactic" | "humble" => Some(GidSize::TwentyFour),
            _ => Some(GidSize::Sixteen),
        }
    }

    fn bytes(self) -> usize {
        match self {
            GidSize::Sixteen => 16,
            GidSize::TwentyFour => 24,
        }
    }
}

/// One node in a context's announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeEntry {
    pub(super) node: NodeInfo,
    pub(super) readers: Vec<Guid>,
    pub(super) writers: Vec<Guid>,
}

/// Parses an announcement with either size of ids. A parse must consume the whole message, so the sizes
/// cannot be confused.
pub(super) fn parse(message: &[u8]) -> Option<(GidSize, Vec<NodeEntry>)> {
    let big_endian = match message.get(..2)? {
        [0, 1] => false,
        [0, 0] => true,
        _ => return None,
    };
    [GidSize::TwentyFour, GidSize::Sixteen].into_iter().find_map(|size| {
        let mut reader = Reader { body: message.get(HEADER..)?, at: 0, big_endian };
        let nodes = reader.context(size.bytes())?;
        (reader.body.len() - reader.at <= MAX_PADDING).then_some((size, nodes))
    })
}

/// Serializes a context's announcement of its nodes. DDS does not tell which node an endpoint belongs
/// to, so the first node gets all of them.
pub(super) fn serialize(
    size: GidSize,
    participant: Guid,
    nodes: &[NodeInfo],
    readers: &[Guid],
    writers: &[Guid],
) -> Vec<u8> {
    let mut out = Writer(vec![0, 1, 0, 0]);
    out.gid(size, participant);
    out.length(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        out.string(&node.namespace);
        out.string(&node.name);
        for endpoints in [readers, writers] {
            let endpoints = if index == 0 { endpoints } else { &[] };
            out.length(endpoints.len());
            endpoints.iter().for_each(|guid| out.gid(size, *guid));
        }
    }
    out.0
}

/// The announced nodes of all contexts, by announcing writer. They are removed when that writer
/// disappears.
#[derive(Default)]
pub(super) struct Nodes {
    contexts: BTreeMap<Guid, Vec<NodeEntry>>,
    /// The id size received last.
    pub(super) last_size: Option<GidSize>,
}

impl Nodes {
    /// Stores an announcement; returns whether the list changed.
    pub(super) fn update(&mut self, writer: Guid, message: &[u8]) -> bool {
        let Some((size, nodes)) = parse(message) else {
            tracing::debug!(writer = ?writer, "a node announcement could not be read");
            return false;
        };
        if self.contexts.len() >= MAX_CONTEXTS && !self.contexts.contains_key(&writer) {
            return false;
        }
        self.last_size = Some(size);
        self.contexts.insert(writer, nodes.clone()).is_none_or(|before| before != nodes)
    }

    /// Removes the contexts whose writer is gone; returns whether the list changed.
    pub(super) fn retain_writers(&mut self, alive: impl Fn(&Guid) -> bool) -> bool {
        let before = self.contexts.len();
        self.contexts.retain(|writer, _| alive(writer));
        self.contexts.len() != before
    }

    /// All contexts, by announcing writer.
    pub(super) fn contexts(&self) -> impl Iterator<Item = (Guid, &[NodeEntry])> {
        self.contexts.iter().map(|(writer, nodes)| (*writer, nodes.as_slice()))
    }
}

/// CDR reader of one announcement.
struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl Reader<'_> {
    fn context(&mut self, gid: usize) -> Option<Vec<NodeEntry>> {
        self.skip(gid)?;
        let count = self.length()?;
        if count > MAX_NODES {
            return None;
        }
        (0..count).map(|_| self.node(gid)).collect()
    }

    fn node(&mut self, gid: usize) -> Option<NodeEntry> {
        let namespace = self.string()?;
        let name = self.string()?;
        let readers = self.gids(gid)?;
        let writers = self.gids(gid)?;
        Some(NodeEntry { node: NodeInfo { namespace, name }, readers, writers })
    }

    /// The length of the message bounds the count.
    fn gids(&mut self, gid: usize) -> Option<Vec<Guid>> {
        let count = self.length()?;
        let bytes = self.skip(count.checked_mul(gid)?)?;
        bytes.chunks_exact(gid).map(|id| Some(Guid(*id.first_chunk()?))).collect()
    }

    fn skip(&mut self, count: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(count)?;
        let bytes = self.body.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn length(&mut self) -> Option<usize> {
        self.at = self.at.next_multiple_of(4);
        let big_endian = self.big_endian;
        let bytes: [u8; 4] = self.skip(4)?.try_into().ok()?;
        let length = if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        usize::try_from(length).ok()
    }

    /// A string is null-terminated.
    fn string(&mut self) -> Option<String> {
        let length = self.length()?;
        let (zero, text) = self.skip(length)?.split_last()?;
        (*zero == 0).then_some(())?;
        String::from_utf8(text.to_vec()).ok().filter(|text| !text.contains('\0'))
    }
}

/// CDR writer of one announcement.
struct Writer(Vec<u8>);

impl Writer {
    fn gid(&mut self, size: GidSize, guid: Guid) {
        self.0.extend_from_slice(&guid.0);
        self.0.resize(self.0.len() + size.bytes() - 16, 0);
    }

    /// The header is as long as the alignment, so the length of the whole message also aligns the body.
    fn length(&mut self, length: usize) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.0.extend_from_slice(&(length as u32).to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.length(text.len() + 1);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeInfo {
        NodeInfo { namespace: "/".into(), name: name.into() }
    }

    fn names(nodes: &Nodes) -> Vec<&str> {
        nodes.contexts().flat_map(|(_, entries)| entries).map(|entry| entry.node.name.as_str()).collect()
    }

    fn guid(n: u8) -> Guid {
        Guid([n; 16])
    }

    #[test]
    fn both_id_sizes_are_parsed() {
        for size in [GidSize::Sixteen, GidSize::TwentyFour] {
            for endpoints in [vec![], vec![guid(1)], vec![guid(1), guid(0), guid(3)]] {
                let message = serialize(size, guid(9), &[node("rover")], &endpoints, &endpoints);
                let entry = NodeEntry { node: node("rover"), readers: endpoints.clone(), writers: endpoints };
                assert_eq!(parse(&message), Some((size, vec![entry])));
            }
        }
        // A context without nodes: the id and a zero count, in either size.
        for (length, size) in [(16, GidSize::Sixteen), (24, GidSize::TwentyFour)] {
            let mut message = vec![0, 1, 0, 0];
            message.extend_from_slice(&[7; 16]);
            message.resize(4 + length + 4, 0);
            assert_eq!(parse(&message), Some((size, vec![])));
        }
    }

    #[test]
    fn malformed_announcements_are_rejected() {
        let good = serialize(GidSize::Sixteen, guid(9), &[node("rover")], &[guid(1)], &[guid(2)]);
        for cut in 0..good.len() {
            assert!(parse(&good[..cut]).is_none(), "{cut}");
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = parse(&bad);
            }
        }
        assert!(parse(&[0, 1, 0, 0, 255, 255, 255, 255]).is_none());
    }

    #[test]
    fn nodes_go_with_their_context() {
        let mut nodes = Nodes::default();
        let message = serialize(GidSize::TwentyFour, guid(9), &[node("nav")], &[], &[]);
        assert!(nodes.update(guid(1), &message));
        assert!(!nodes.update(guid(1), &message));
        assert!(nodes.update(guid(2), &serialize(GidSize::TwentyFour, guid(8), &[node("arm")], &[], &[])));
        assert_eq!(names(&nodes), ["nav", "arm"]);
        assert_eq!(nodes.last_size, Some(GidSize::TwentyFour));
        assert!(nodes.retain_writers(|writer| *writer == guid(1)));
        assert!(!nodes.retain_writers(|writer| *writer == guid(1)));
        assert_eq!(names(&nodes), ["nav"]);
        assert!(!nodes.update(guid(1), b"junk"));
    }

    #[test]
    fn distributions_map_to_id_sizes() {
        assert_eq!(GidSize::of_distro("humble"), Some(GidSize::TwentyFour));
        assert_eq!(GidSize::of_distro("jazzy"), Some(GidSize::Sixteen));
        assert_eq!(GidSize::of_distro(""), None);
    }
}
