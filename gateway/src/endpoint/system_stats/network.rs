//! The counters of network interfaces, bounded in number.

use std::io::Cursor;
use std::path::Path;

use procfs::FromBufRead;
use procfs::net::{DeviceStatus, InterfaceDeviceStatus};
use roverline_protocol::api::metrics::InterfaceDocument;

use crate::endpoint::system_stats::text;

/// Interfaces that are listed. A computer with containers has many, of which its own devices matter most.
const INTERFACE_ENTRIES: usize = 16;
/// Bytes of the kernel's list: some two thousand interfaces.
const LIST_BYTES: u64 = 256 << 10;

/// The interfaces, devices first, then by name; and how many were left out.
pub(super) fn read(proc: &Path, sys: &Path) -> (Vec<InterfaceDocument>, usize) {
    // Whole lines only. A name may have bytes that are no UTF-8.
    let list = text(&proc.join("net/dev"), LIST_BYTES).unwrap_or_default();
    let list = list.rsplit_once('\n').map_or("", |(lines, _)| lines);
    let Ok(InterfaceDeviceStatus(all)) = InterfaceDeviceStatus::from_buf_read(Cursor::new(list)) else {
        return (Vec::new(), 0);
    };
    let is_virtual = |name: &str| !sys.join("class/net").join(name).join("device").exists();
    let mut all: Vec<_> = all.values().map(document).map(|one| (is_virtual(&one.name), one)).collect();
    all.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    let left_out = all.len().saturating_sub(INTERFACE_ENTRIES);
    (all.into_iter().take(INTERFACE_ENTRIES).map(|(_, one)| one).collect(), left_out)
}

fn document(status: &DeviceStatus) -> InterfaceDocument {
    InterfaceDocument {
        name: status.name.trim_end_matches(':').to_owned(),
        received_bytes: status.recv_bytes,
        received_packets: status.recv_packets,
        receive_errors: status.recv_errs,
        sent_bytes: status.sent_bytes,
        sent_packets: status.sent_packets,
        send_errors: status.sent_errs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(lines: &[u8], devices: &[&str]) -> (Vec<InterfaceDocument>, usize) {
        let root = tempfile::tempdir().unwrap();
        let (proc, sys) = (root.path().join("proc"), root.path().join("sys"));
        std::fs::create_dir_all(proc.join("net")).unwrap();
        std::fs::write(proc.join("net/dev"), lines).unwrap();
        for device in devices {
            std::fs::create_dir_all(sys.join("class/net").join(device).join("device")).unwrap();
        }
        read(&proc, &sys)
    }

    const HEAD: &str = "Inter-|   Receive  |  Transmit\n face |bytes packets errs|bytes packets errs\n";

    #[test]
    fn devices_come_first_and_all_are_bounded() {
        let mut lines = HEAD.to_owned();
        for n in 0..500 {
            lines += &format!("veth{n:03}: {n} 1 2 0 0 0 0 0 4 5 6 0 0 0 0 0\n");
        }
        lines += "  wlan0: 10 1 2 0 0 0 0 0 4 5 6 0 0 0 0 0\n";
        let (all, left_out) = list(lines.as_bytes(), &["wlan0"]);
        assert_eq!((all.len(), left_out), (INTERFACE_ENTRIES, 501 - INTERFACE_ENTRIES));
        let wanted = InterfaceDocument {
            name: "wlan0".to_owned(),
            received_bytes: 10,
            received_packets: 1,
            receive_errors: 2,
            sent_bytes: 4,
            sent_packets: 5,
            send_errors: 6,
        };
        assert_eq!((&all[0], all[1].name.as_str()), (&wanted, "veth000"));
    }

    #[test]
    fn odd_names_are_kept_and_a_list_that_is_cut_is_read_as_far_as_it_goes() {
        let mut lines = HEAD.as_bytes().to_vec();
        lines.extend_from_slice(
            b"a\"b\\\xff\x01: 1 1 1 0 0 0 0 0 1 1 1 0 0 0 0 0\n eth0.5@x: 3 1 1 0 0 0 0 0 1 1 ",
        );
        let (all, left_out) = list(&lines, &[]);
        assert_eq!((all[0].name.as_str(), all.len(), left_out), ("a\"b\\\u{fffd}\u{1}", 1, 0));
    }
}
