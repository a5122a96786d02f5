//! A cache of the ROS graph in scope: every name goes through the routing table, which takes milliseconds
//! for a large graph.

use std::sync::Arc;

use parking_lot::Mutex;
use roverline_source::{Graph, Sink};

use crate::hub::Ingress;

/// The last result.
#[derive(Default)]
pub(crate) struct ScopedGraph(Mutex<Option<CachedGraph>>);

struct CachedGraph {
    /// The graph and the scope generation that the result was computed from.
    whole: Arc<Graph>,
    generation: u64,
    scoped: Arc<Graph>,
}

impl ScopedGraph {
    /// Returns the part of the graph that the endpoint serves now.
    pub(crate) fn get(&self, whole: Arc<Graph>, ingress: &Ingress) -> Arc<Graph> {
        // Read before the scopes: if they change meanwhile, the cached result is not used again.
        let generation = ingress.generation();
        let mut cached = self.0.lock();
        if let Some(cached) = cached.as_ref()
            && cached.generation == generation
            && Arc::ptr_eq(&cached.whole, &whole)
        {
            return cached.scoped.clone();
        }
        let mut scoped = Graph::clone(&whole);
        scoped.topics.retain(|topic| ingress.wants(&topic.name, &topic.type_name));
        scoped.services.retain(|service| ingress.wants(&service.name, &service.type_name));
        let scoped = Arc::new(scoped);
        *cached = Some(CachedGraph { whole, generation, scoped: scoped.clone() });
        scoped
    }
}
