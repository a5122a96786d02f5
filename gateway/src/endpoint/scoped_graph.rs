//! The ROS graph in scope, found out once for all who ask: every name goes through the routing table,
//! which takes milliseconds where there are many.

use std::sync::{Arc, Mutex, PoisonError};

use roverline_source::{Graph, Sink};

use crate::hub::Ingress;

/// What was found out last.
#[derive(Default)]
pub(crate) struct ScopedGraph(Mutex<Option<Found>>);

struct Found {
    /// Of this graph, and of the scopes of this generation.
    whole: Arc<Graph>,
    generation: u64,
    scoped: Arc<Graph>,
}

impl ScopedGraph {
    /// As much of the graph as the endpoint serves now.
    pub(crate) fn of(&self, whole: Arc<Graph>, ingress: &Ingress) -> Arc<Graph> {
        // Before the scopes are looked at: should they change meanwhile, this is not found again.
        let generation = ingress.generation();
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = found.as_ref()
            && found.generation == generation
            && Arc::ptr_eq(&found.whole, &whole)
        {
            return found.scoped.clone();
        }
        let mut scoped = Graph::clone(&whole);
        scoped.topics.retain(|topic| ingress.wants(&topic.name, &topic.type_name));
        scoped.services.retain(|service| ingress.wants(&service.name, &service.type_name));
        let scoped = Arc::new(scoped);
        *found = Some(Found { whole, generation, scoped: scoped.clone() });
        scoped
    }
}
