//! The file of orders: lines of several processes, and lines of nobody.

use std::io::Write;
use std::sync::Arc;

use roverline_protocol::limits;

use crate::bag::control_log::{OrderReader, Orders, forget_orders, orders_file};
use crate::bag::tests::support::{T0, TempDir};
use crate::bag::timeline::Order;

fn order(n: i64) -> Order {
    Order {
        at: T0 + n,
        play: n % 2 == 0,
        speed: 1.5,
        seek: (n % 3 == 0).then_some(n),
        request: format!("\"{n}\n"),
    }
}

#[test]
fn all_processes_read_the_same_orders() {
    let dir = TempDir::new();
    let file = orders_file(&dir.0, T0);
    let (a, b) = (Orders::new(Some(file.clone())), Orders::new(Some(file)));
    let mut early = OrderReader::new(a.clone());
    assert!(early.read().is_empty(), "there is no file before the first of them");
    let mut heard = Vec::new();
    let start = |orders: Arc<Orders>| {
        std::thread::spawn(move || (0..200).for_each(|n| orders.put(|| order(n)).unwrap()))
    };
    let writers = [start(a), start(b.clone())];
    while heard.len() < 100 {
        heard.extend(early.read());
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    heard.extend(early.read());
    assert_eq!(heard.len(), 400);
    assert_eq!(OrderReader::new(b).read(), heard);
    assert!((0..200).all(|n| heard.iter().filter(|heard| **heard == order(n)).count() == 2));
}

#[test]
fn lines_of_nobody_are_left_out() {
    let dir = TempDir::new();
    let path = dir.file("orders", b"");
    let orders = Orders::new(Some(path.clone()));
    let mut reader = OrderReader::new(orders.clone());
    let write = |bytes: &[u8]| {
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(bytes).unwrap();
    };
    write(b"\n{}\n[1]\n\xff\xfe\n{\"at\":1,\"play\":true,\"speed\":1e9}\n{\"at\":1,\"play\":true,\"speed\":-1}\n");
    write(&vec![b'x'; 200_000]);
    assert!(reader.read().is_empty());
    write(b"\n{\"at\":1,\"play\":true,");
    assert!(reader.read().is_empty(), "half a line");
    write(b"\"speed\":1}\n");
    assert_eq!(reader.read().len(), 1);
    orders.put(|| order(7)).unwrap();
    assert_eq!(reader.read(), [order(7)]);
}

#[test]
fn a_file_is_bounded_and_of_one_run() {
    let dir = TempDir::new();
    let path = orders_file(&dir.0, T0);
    let orders = Orders::new(Some(path.clone()));
    orders.put(|| order(1)).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(limits::PLAYBACK_FILE_BYTES).unwrap();
    assert!(orders.put(|| order(2)).unwrap_err().contains("full"));
    let other = orders_file(&dir.0, T0 + 1);
    Orders::new(Some(other.clone())).put(|| order(1)).unwrap();
    forget_orders(&dir.0, T0);
    assert!(!path.exists() && other.exists(), "another run may be going on");
}
