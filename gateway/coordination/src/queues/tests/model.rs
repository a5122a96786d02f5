//! Random operations on a queue, compared with a simple model.

use proptest::prelude::*;

use crate::queues::tests::*;

/// One operation.
#[derive(Clone, Debug)]
enum Step {
    Enqueue(u8),
    Dequeue(usize),
    Ack(usize),
    Nak(usize),
    /// The visibility timeout of a message in flight ends.
    Expire(usize),
    Redrive,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..3).prop_map(Step::Enqueue),
        4 => (1_usize..4).prop_map(Step::Dequeue),
        2 => any::<usize>().prop_map(Step::Ack),
        2 => any::<usize>().prop_map(Step::Nak),
        2 => any::<usize>().prop_map(Step::Expire),
        1 => Just(Step::Redrive),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Expected {
    id: String,
    priority: u8,
    sequence: usize,
    deliveries: u32,
    tries: u32,
}

/// The expected state of a queue.
#[derive(Default)]
struct Model {
    ready: Vec<Expected>,
    in_flight: Vec<Expected>,
    dead: Vec<Expected>,
    enqueued: usize,
}

const MAX: u32 = 2;

impl Model {
    async fn step(&mut self, queues: &Queues, step: Step) {
        match step {
            Step::Enqueue(priority) => {
                let message = Message { priority, ..message(&self.enqueued.to_string()) };
                let id = queues.enqueue("model", &[message], &ANN).await.unwrap().remove(0).id;
                let sequence = self.enqueued;
                self.ready.push(Expected { id, priority, sequence, deliveries: 0, tries: 0 });
                self.enqueued += 1;
            }
            Step::Dequeue(max) => self.dequeue(queues, max).await,
            Step::Ack(n) if !self.in_flight.is_empty() => {
                let one = self.in_flight.remove(n % self.in_flight.len());
                queues.ack(&one.id, Some(one.deliveries), &ANN).await.unwrap();
            }
            Step::Nak(n) if !self.in_flight.is_empty() => {
                let one = self.in_flight.remove(n % self.in_flight.len());
                queues.nak(&one.id, Some(one.deliveries), None, None, &ANN).await.unwrap();
                if one.tries >= MAX { self.dead.push(one) } else { self.ready.push(one) }
            }
            Step::Expire(n) if !self.in_flight.is_empty() => {
                let one = self.in_flight.remove(n % self.in_flight.len());
                // As the store does when the lease ends.
                let id: keys::MessageId = one.id.parse().unwrap();
                let gone = Op::Delete(keys::hidden("model", id.position.sequence));
                queues.commit(Vec::new(), vec![gone]).await.unwrap();
                self.ready.push(one);
            }
            Step::Redrive => {
                let count = queues.redrive("model", 100, &ANN).await.unwrap();
                assert_eq!(count, self.dead.len());
                self.ready.extend(self.dead.drain(..).map(|one| Expected { tries: 0, ..one }));
            }
            _ => {}
        }
    }

    async fn dequeue(&mut self, queues: &Queues, max: usize) {
        let options = DequeueOptions { max, visibility: Some(Duration::from_secs(600)) };
        let taken = queues.dequeue("model", options, &ANN).await.unwrap();
        self.ready.sort_by_key(|one| (std::cmp::Reverse(one.priority), one.sequence));
        let mut expected: Vec<Expected> = Vec::new();
        // Messages at their delivery limit become dead letters first, then the queue is read again.
        loop {
            let first: Vec<Expected> = self.ready.iter().take(max).cloned().collect();
            let exhausted: Vec<Expected> = first.iter().filter(|one| one.tries >= MAX).cloned().collect();
            if exhausted.is_empty() {
                expected.extend(first);
                break;
            }
            self.ready.retain(|one| !exhausted.contains(one));
            self.dead.extend(exhausted);
        }
        self.ready.retain(|one| !expected.contains(one));
        for one in &mut expected {
            one.deliveries += 1;
            one.tries += 1;
        }
        let delivered: Vec<_> =
            taken.iter().map(|one| (one.id.clone(), one.delivery, one.priority)).collect();
        let due: Vec<_> = expected.iter().map(|one| (one.id.clone(), one.deliveries, one.priority)).collect();
        assert_eq!(delivered, due);
        self.in_flight.extend(expected);
    }

    async fn check(&self, queues: &Queues) {
        let view = queues.view("model").await.unwrap();
        let counts = (view.ready, view.in_flight, view.dead, view.enqueued);
        let due = (self.ready.len(), self.in_flight.len(), self.dead.len(), self.enqueued as u64);
        assert_eq!(counts, due, "ready, in flight, dead, enqueued");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_matches_its_model(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let folder = Folder::new();
            let queues = folder.open();
            let settings = Settings { max_deliveries: MAX, ..Settings::default() };
            queues.configure("model", settings, &ANN).await.unwrap();
            let mut model = Model::default();
            for step in steps {
                model.step(&queues, step).await;
                model.check(&queues).await;
            }
        });
    }
}
