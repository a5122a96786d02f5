//! Random use of a queue against a plain model of it.

use proptest::prelude::*;

use crate::queues::tests::*;

/// What is done next.
#[derive(Clone, Debug)]
enum Step {
    Enqueue(u8),
    Dequeue(usize),
    Ack(usize),
    Nak(usize),
    /// The visibility timeout of one that is worked on ends.
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

/// A queue as it should be.
#[derive(Default)]
struct Model {
    ready: Vec<Expected>,
    flight: Vec<Expected>,
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
            Step::Dequeue(most) => self.dequeue(queues, most).await,
            Step::Ack(n) if !self.flight.is_empty() => {
                let one = self.flight.remove(n % self.flight.len());
                queues.ack(&one.id, Some(one.deliveries)).await.unwrap();
            }
            Step::Nak(n) if !self.flight.is_empty() => {
                let one = self.flight.remove(n % self.flight.len());
                queues.nak(&one.id, Some(one.deliveries), None, None, &ANN).await.unwrap();
                if one.tries >= MAX { self.dead.push(one) } else { self.ready.push(one) }
            }
            Step::Expire(n) if !self.flight.is_empty() => {
                let one = self.flight.remove(n % self.flight.len());
                // As the store does it when the lease ends.
                let id: keys::MessageId = one.id.parse().unwrap();
                let gone = Op::Delete(keys::hidden("model", id.place.sequence));
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

    async fn dequeue(&mut self, queues: &Queues, most: usize) {
        let take = Take { most, visibility: Some(Duration::from_secs(600)) };
        let taken = queues.dequeue("model", take, &ANN).await.unwrap();
        self.ready.sort_by_key(|one| (std::cmp::Reverse(one.priority), one.sequence));
        let mut wanted: Vec<Expected> = Vec::new();
        // Of those looked at together, worn ones go first, and then it is looked again.
        loop {
            let first: Vec<Expected> = self.ready.iter().take(most).cloned().collect();
            let worn: Vec<Expected> = first.iter().filter(|one| one.tries >= MAX).cloned().collect();
            if worn.is_empty() {
                wanted.extend(first);
                break;
            }
            self.ready.retain(|one| !worn.contains(one));
            self.dead.extend(worn);
        }
        self.ready.retain(|one| !wanted.contains(one));
        for one in &mut wanted {
            one.deliveries += 1;
            one.tries += 1;
        }
        let told: Vec<_> = taken.iter().map(|one| (one.id.clone(), one.delivery, one.priority)).collect();
        let due: Vec<_> = wanted.iter().map(|one| (one.id.clone(), one.deliveries, one.priority)).collect();
        assert_eq!(told, due);
        self.flight.extend(wanted);
    }

    async fn check(&self, queues: &Queues) {
        let view = queues.view("model").await.unwrap();
        let counts = (view.ready, view.in_flight, view.dead, view.enqueued);
        let due = (self.ready.len(), self.flight.len(), self.dead.len(), self.enqueued as u64);
        assert_eq!(counts, due, "ready, in flight, dead, enqueued");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_is_as_its_model(steps in proptest::collection::vec(step(), 1..40)) {
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
