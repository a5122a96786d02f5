//! The stub of the DDS source in builds without the `dds` feature.

use std::sync::Arc;

pub use crate::dds_options::{DdsEngine, DdsOptions};
use crate::{
    Graph, Publication, PublishError, RawSample, Sink, Source, SourceControl, SourceError, SourceState,
    StopFlag, TopicDecl, TopicKey,
};

/// How to get a build with DDS.
const NOT_BUILT: &str =
    "this build has no DDS: build it without `--no-default-features`, or use --source sim";

fn not_built<T>() -> Result<T, SourceError> {
    Err(SourceError(NOT_BUILT.to_owned()))
}

/// The source, which cannot be opened.
#[derive(Debug)]
pub struct DdsSource(());

impl DdsSource {
    /// Always fails.
    pub fn new(_: &DdsOptions) -> Result<DdsSource, SourceError> {
        not_built()
    }
}

impl Source for DdsSource {
    fn name(&self) -> &'static str {
        "dds"
    }

    fn control(&self) -> Arc<dyn SourceControl> {
        Arc::new(NoControl)
    }

    fn run(self: Box<Self>, _: Arc<dyn Sink>, _: StopFlag) -> Result<(), SourceError> {
        not_built()
    }
}

struct NoControl;

impl SourceControl for NoControl {
    fn publish(&self, _: Publication) -> Result<(), PublishError> {
        Err(PublishError::Failed(NOT_BUILT.to_owned()))
    }
}

/// The sink, which cannot be opened.
#[derive(Debug)]
pub struct DdsSink(());

impl DdsSink {
    /// Always fails.
    pub fn new(_: &DdsOptions) -> Result<DdsSink, SourceError> {
        not_built()
    }
}

impl Sink for DdsSink {
    fn wants(&self, _: &str, _: &str) -> bool {
        false
    }

    fn topic_up(&self, _: TopicDecl) -> Option<TopicKey> {
        None
    }

    fn topic_down(&self, _: TopicKey) {}

    fn sample(&self, _: TopicKey, _: RawSample) {}

    fn graph(&self, _: Graph) {}

    fn state(&self, _: SourceState) {}

    fn has_listener(&self) -> bool {
        false
    }
}
