//! stub
use super::*;
use std::path::PathBuf;
#[derive(Clone, Debug)]
pub struct Fault;
impl Fault { pub fn parse(_: &str) -> Result<Fault, SourceError> { Ok(Fault) } }
pub struct SimOptions { pub seed: u64, pub epoch_unix_ns: i64, pub faults: Vec<Fault>, pub inputs_file: Option<PathBuf> }
pub struct SimSource;
impl SimSource { pub fn new(_: SimOptions) -> SimSource { SimSource } }
struct Nope; impl Publisher for Nope { fn publish(&self, _: Publication) -> Result<(), PublishError> { Ok(()) } }
impl Source for SimSource {
  fn name(&self) -> &'static str { "sim" }
  fn publisher(&self) -> Arc<dyn Publisher> { Arc::new(Nope) }
  fn run(self: Box<Self>, _: Arc<dyn Sink>, stop: Stop) -> Result<(), SourceError> { while !stop.wait(Duration::from_secs(1)) {} Ok(()) }
}
