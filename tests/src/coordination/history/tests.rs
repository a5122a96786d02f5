//! Every check finds what it is there for.

use super::*;

fn record(called: u64, returned: u64, act: Act, got: Got) -> Record {
    Record { client: "c".to_owned(), act, called, returned, got: Some(got) }
}

fn read(called: u64, value: u64, revision: u64) -> Record {
    let key = "r".to_owned();
    record(called, called + 1, Act::Read { key }, Got::Value { value: Some(value), revision })
}

fn write(called: u64, value: u64, revision: u64) -> Record {
    record(called, called + 1, Act::Write { key: "r".to_owned(), value }, Got::Done { revision })
}

fn lock(called: u64, token: u64) -> Record {
    record(called, called + 1, Act::Lock { resource: "arm".to_owned() }, Got::Held { token })
}

fn unlock(called: u64, token: u64) -> Record {
    let act = Act::Unlock { resource: "arm".to_owned(), token };
    record(called, called + 1, act, Got::Released)
}

fn guard(called: u64, token: u64, count: u64) -> Record {
    let act = Act::Guarded { resource: "arm".to_owned(), token };
    record(called, called + 1, act, Got::Counted { count, revision: called })
}

/// The violations of a history, and that one check sees nothing in it that another should.
fn found(records: &[Record], check: Check) -> String {
    let mut verdict = Verdict::default();
    check(records, &mut verdict);
    verdict.violations.join("; ")
}

#[test]
fn what_is_right_is_not_blamed() {
    let history = [write(1, 1, 1), read(3, 1, 1), write(5, 2, 2), read(7, 2, 2)];
    assert_eq!(judge(&history).violations, Vec::<String>::new());
    let locks = [lock(1, 1), guard(3, 1, 0), unlock(5, 1), lock(7, 2), guard(9, 2, 1), unlock(11, 2)];
    for check in [tokens, holders, guarded] {
        assert_eq!(found(&locks, check), "");
    }
}

#[test]
fn a_stale_read_and_a_lost_write_are_found() {
    assert!(found(&[write(1, 1, 1), write(3, 2, 2), read(5, 1, 2)], registers).contains("not linearizable"));
    assert!(found(&[write(1, 1, 1), write(3, 2, 2), read(5, 2, 1)], revisions).contains("after revision 2"));
    assert!(found(&[write(1, 1, 1), write(3, 2, 1)], revisions).contains("two changes"));
    let made = record(1, 2, Act::Create { key: "k/1".to_owned() }, Got::Done { revision: 1 });
    assert_eq!(lost(std::slice::from_ref(&made), &BTreeSet::new()), ["k/1"]);
    assert!(lost(&[made], &BTreeSet::from(["k/1".to_owned()])).is_empty());
}

#[test]
fn a_token_given_twice_or_too_low_is_found() {
    assert!(found(&[lock(1, 7), lock(3, 7)], tokens).contains("token 7 twice"));
    assert!(found(&[lock(1, 7), lock(3, 6)], tokens).contains("token 7 was given before"));
    // Asked for together, either may be first.
    let together = [lock(1, 7), Record { called: 1, ..lock(3, 6) }];
    assert_eq!(found(&together, tokens), "");
}

#[test]
fn two_holders_at_one_moment_are_found() {
    let both = [lock(1, 1), lock(3, 2), unlock(5, 1), unlock(7, 2)];
    assert!(found(&both, holders).contains("held twice"));
    // Of one whose lease ended this cannot be said: its token is refused instead.
    let ended = [lock(1, 1), lock(3, 2), unlock(7, 2)];
    assert_eq!(found(&ended, holders), "");
}

#[test]
fn a_late_write_and_a_lost_count_are_found() {
    assert!(found(&[guard(1, 2, 0), guard(3, 1, 1)], guarded).contains("token 1 wrote after token 2"));
    assert!(found(&[guard(1, 1, 0), guard(3, 2, 0)], guarded).contains("count 0 came after 0"));
    assert!(found(&[guard(1, 1, 0), guard(3, 2, 4)], guarded).contains("2 writes counted to 5"));
}
