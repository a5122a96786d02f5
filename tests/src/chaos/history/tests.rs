//! Every check detects the violations that it exists for.

use super::*;

fn record(called: u64, returned: u64, operation: Operation, outcome: Outcome) -> Record {
    Record { client: "c".to_owned(), operation, called, returned, outcome: Some(outcome) }
}

fn read(called: u64, value: u64, revision: u64) -> Record {
    let key = "r".to_owned();
    record(called, called + 1, Operation::Read { key }, Outcome::Value { value: Some(value), revision })
}

fn write(called: u64, value: u64, revision: u64) -> Record {
    record(called, called + 1, Operation::Write { key: "r".to_owned(), value }, Outcome::Done { revision })
}

fn lock(called: u64, token: u64) -> Record {
    record(called, called + 1, Operation::Lock { resource: "arm".to_owned() }, Outcome::Held { token })
}

fn unlock(called: u64, token: u64) -> Record {
    let operation = Operation::Unlock { resource: "arm".to_owned(), token };
    record(called, called + 1, operation, Outcome::Released)
}

fn guard(called: u64, token: u64, count: u64) -> Record {
    let operation = Operation::Guarded { resource: "arm".to_owned(), token };
    record(called, called + 1, operation, Outcome::Counted { count, revision: called })
}

/// The violations that one check finds in a history.
fn violations_in(records: &[Record], check: Check) -> String {
    let mut result = CheckResult::default();
    check(records, &mut result);
    result.violations.join("; ")
}

#[test]
fn a_correct_history_has_no_violations() {
    let history = [write(1, 1, 1), read(3, 1, 1), write(5, 2, 2), read(7, 2, 2)];
    assert_eq!(check(&history, &FinalState::default()).violations, Vec::<String>::new());
    let locks = [lock(1, 1), guard(3, 1, 0), unlock(5, 1), lock(7, 2), guard(9, 2, 1), unlock(11, 2)];
    for check in [tokens, holders, guarded] {
        assert_eq!(violations_in(&locks, check), "");
    }
}

#[test]
fn a_stale_read_and_a_lost_write_are_found() {
    assert!(
        violations_in(&[write(1, 1, 1), write(3, 2, 2), read(5, 1, 2)], registers)
            .contains("not linearizable")
    );
    assert!(
        violations_in(&[write(1, 1, 1), write(3, 2, 2), read(5, 2, 1)], revisions)
            .contains("after revision 2")
    );
    assert!(violations_in(&[write(1, 1, 1), write(3, 2, 1)], revisions).contains("two changes"));
    let made = record(1, 2, Operation::Create { key: "k/1".to_owned() }, Outcome::Done { revision: 1 });
    assert_eq!(lost(std::slice::from_ref(&made), &BTreeSet::new()), ["k/1"]);
    assert!(lost(&[made], &BTreeSet::from(["k/1".to_owned()])).is_empty());
}

#[test]
fn a_token_given_twice_or_too_low_is_found() {
    assert!(violations_in(&[lock(1, 7), lock(3, 7)], tokens).contains("token 7 twice"));
    assert!(violations_in(&[lock(1, 7), lock(3, 6)], tokens).contains("7 was given before"));
    // Concurrent requests may be granted in either order.
    let together = [lock(1, 7), Record { called: 1, ..lock(3, 6) }];
    assert_eq!(violations_in(&together, tokens), "");
}

#[test]
fn two_holders_at_one_moment_are_found() {
    let both = [lock(1, 1), lock(3, 2), unlock(5, 1), unlock(7, 2)];
    assert!(violations_in(&both, holders).contains("held twice"));
    // If the lease of the first has expired, this is no violation: its token is rejected instead.
    let ended = [lock(1, 1), lock(3, 2), unlock(7, 2)];
    assert_eq!(violations_in(&ended, holders), "");
}

#[test]
fn a_late_write_and_a_lost_count_are_found() {
    assert!(
        violations_in(&[guard(1, 2, 0), guard(3, 1, 1)], guarded).contains("token 1 wrote after token 2")
    );
    assert!(violations_in(&[guard(1, 1, 0), guard(3, 2, 0)], guarded).contains("count 0 came after 0"));
    assert!(violations_in(&[guard(1, 1, 0), guard(3, 2, 4)], guarded).contains("2 writes counted to 5"));
}

/// The violations that one check finds in a history and the final contents.
fn violations_after(records: &[Record], state: &FinalState, check: FinalCheck) -> String {
    let mut result = CheckResult::default();
    check(records, state, &mut result);
    result.violations.join("; ")
}

const ID: &str = "work-0:0:1:00";

fn enqueue(called: u64, id: &str, body: u64) -> Record {
    let operation = Operation::Enqueue { queue: "work-0".to_owned(), body };
    record(called, called + 1, operation, Outcome::Queued { id: id.to_owned() })
}

fn dequeue(called: u64, id: &str, body: u64, delivery: u32) -> Record {
    let outcome = Outcome::Delivered { id: id.to_owned(), body, delivery, visible_ms: 1 };
    record(called, called + 1, Operation::Dequeue { queue: "work-0".to_owned() }, outcome)
}

fn ack(called: u64, delivery: u32) -> Record {
    record(called, called + 1, Operation::Ack { id: ID.to_owned(), delivery }, Outcome::Acked)
}

#[test]
fn messages_that_vanish_or_come_too_often_are_found() {
    let (none, later) = (FinalState::default(), 2_000_000);
    let check = |records: &[Record]| violations_after(records, &none, services::queues);
    assert_eq!(
        check(&[enqueue(1, ID, 7), dequeue(3, ID, 7, 1), dequeue(later, ID, 7, 2), ack(later + 9, 2)]),
        ""
    );
    assert!(check(&[enqueue(1, ID, 7), dequeue(3, ID, 7, 1)]).contains("vanished"));
    let dead = FinalState { dead_letters: BTreeSet::from([ID.to_owned()]), ..FinalState::default() };
    assert_eq!(violations_after(&[enqueue(1, ID, 7)], &dead, services::queues), "");
    let early = [enqueue(1, ID, 7), dequeue(3, ID, 7, 1), dequeue(5, ID, 7, 2), ack(9, 2)];
    assert!(check(&early).contains("while another had it"));
    let again = [enqueue(1, ID, 7), dequeue(3, ID, 7, 1), ack(5, 1), dequeue(later, ID, 7, 2)];
    assert!(check(&again).contains("after it was acknowledged"));
    let both = [enqueue(1, ID, 7), dequeue(3, ID, 7, 1), dequeue(later, ID, 7, 1), ack(later + 9, 1)];
    assert!(check(&both).contains("two have delivery 1"));
    let twice = [enqueue(1, ID, 7), ack(3, 1), dequeue(5, "work-0:0:2:00", 7, 1)];
    assert!(check(&twice).contains("is in a queue as"));
    assert!(check(&[dequeue(5, ID, 8, 1)]).contains("no client enqueued 8"));
    let overtaken = [enqueue(1, ID, 7), enqueue(3, "work-0:0:2:00", 8), dequeue(5, "work-0:0:2:00", 8, 1)];
    let overtaken = [&overtaken[..], &[dequeue(9, ID, 7, 1)]].concat();
    assert!(violations_after(&overtaken, &none, services::order).contains("message 2 came before 1"));
}

#[test]
fn events_that_are_lost_doubled_or_out_of_order_are_found() {
    let append = |called: u64, id: &str, seq: u64| {
        let operation = Operation::Append { stream: "s".to_owned(), id: id.to_owned() };
        record(called, called + 1, operation, Outcome::Appended { seq })
    };
    let log = |ids: &[(u64, &str)]| {
        let log = ids.iter().map(|(seq, id)| (*seq, (*id).to_owned())).collect();
        FinalState { log, ..FinalState::default() }
    };
    let check = |records: &[Record], state: &FinalState| violations_after(records, state, services::events);
    let two = [append(1, "a", 1), append(3, "b", 2)];
    assert_eq!(check(&two, &log(&[(1, "a"), (2, "b")])), "");
    assert!(check(&two, &log(&[(1, "a")])).contains("is at None"));
    assert!(check(&two, &log(&[(1, "a"), (3, "b")])).contains("at index 2"));
    assert!(check(&two, &log(&[(1, "a"), (2, "b"), (3, "a")])).contains("in the log as"));
    assert!(check(&two, &log(&[(1, "a"), (2, "b"), (3, "x")])).contains("no client appended x"));
    let turned = [append(1, "a", 2), append(3, "b", 1)];
    assert!(check(&turned, &log(&[(1, "b"), (2, "a")])).contains("2 was given before"));
}

#[test]
fn a_cache_that_goes_back_or_is_too_old_is_found() {
    let share = |called: u64, client: &str, modified: u64| {
        let operation = Operation::Share { key: "k".to_owned(), value: modified };
        let outcome = Outcome::Shared { value: Some(modified), modified };
        Record { client: client.to_owned(), ..record(called, called + 1, operation, outcome) }
    };
    let cached_read = |called: u64, client: &str, modified: u64| {
        let outcome = Outcome::Shared { value: Some(modified), modified };
        let operation = Operation::CachedRead { key: "k".to_owned() };
        Record { client: client.to_owned(), ..record(called, called + 1, operation, outcome) }
    };
    let check = |records: &[Record]| violations_after(records, &FinalState::default(), services::cache);
    let near = [share(1, "a-1", 1), cached_read(3, "b-1", 1), share(5, "a-1", 2), cached_read(7, "b-1", 1)];
    assert_eq!(check(&near), "");
    let own = [share(1, "a-1", 1), share(5, "a-1", 2), cached_read(7, "a-2", 1)];
    assert!(check(&own).contains("after revision 2 was seen"));
    let late = 3 + roverline_protocol::limits::KV_STALE_MS * 1_000_000;
    let old = [share(1, "a-1", 2), cached_read(late + 9, "b-1", 1)];
    assert!(check(&old).contains("was long there"));
    assert!(
        check(&[
            Record {
                outcome: Some(Outcome::Shared { value: Some(9), modified: 1 }),
                ..cached_read(9, "b-1", 1)
            },
            share(1, "a-1", 1)
        ])
        .contains("two values")
    );
}

#[test]
fn a_command_that_is_begun_twice_or_loses_its_outcome_is_found() {
    let begin = |called: u64, by: &str, outcome: Outcome| {
        let operation = Operation::Begin { id: "c".to_owned(), by: by.to_owned() };
        record(called, called + 1, operation, outcome)
    };
    let known = |by: &str, finished| Outcome::Known { by: by.to_owned(), finished };
    let finish = Operation::Finish { id: "c".to_owned(), by: "a".to_owned() };
    let finish = record(5, 6, finish, Outcome::Finished);
    let check = |records: &[Record]| violations_after(records, &FinalState::default(), services::commands);
    let (first, second) = (begin(1, "a", Outcome::Begun), begin(3, "b", known("a", false)));
    assert_eq!(check(&[first.clone(), second, finish.clone(), begin(7, "b", known("a", true))]), "");
    assert!(check(&[first.clone(), begin(3, "b", Outcome::Begun)]).contains("begun twice"));
    assert!(check(&[first.clone(), begin(3, "b", known("b", false))]).contains("known as that of b"));
    assert!(check(&[first, finish, begin(7, "b", known("a", false))]).contains("is lost"));
}
