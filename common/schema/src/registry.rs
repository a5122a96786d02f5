//! Where definitions come from: recordings, installed packages, the bundled set.

mod ament;
mod bundled;
mod interface;
mod resolve;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::sync::{Arc, PoisonError, RwLock};

use crate::limits::MAX_RECORDED_TYPES;
use crate::parse::{Bundle, parse_bundle, too_large};
use crate::registry::ament::Ament;
use crate::registry::resolve::{Scope, concatenated};
use crate::{Plan, SchemaError, TypeName};

/// All definitions that are known. Clones share their contents.
///
/// A recording's definition of a type beats an installed one, which beats a bundled one. The
/// dependencies that a recording brings along count for its own type only: another type with
/// the same dependency is not touched.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ament: Ament,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    recorded: HashMap<TypeName, Arc<Bundle>>,
    plans: HashMap<TypeName, Arc<Plan>>,
    texts: HashMap<TypeName, Arc<str>>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::bundled()
    }
}

impl Registry {
    /// The bundled set alone.
    #[must_use]
    pub fn bundled() -> Self {
        Self { inner: Arc::default() }
    }

    /// The packages installed below an `AMENT_PREFIX_PATH`, then the bundled set. Files are
    /// read when their type is first asked for.
    #[must_use]
    pub fn with_ament(prefix_path: &OsStr) -> Self {
        let inner = Inner { ament: Ament::new(prefix_path), ..Inner::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Takes over a recording's definition of a type: `ros2msg` text with its dependencies.
    ///
    /// # Errors
    /// When the text cannot be read or refers to types that nobody defines. Nothing changes then.
    pub fn add(&self, type_name: &str, ros2msg_text: &str) -> Result<(), SchemaError> {
        let name = TypeName::parse(type_name)?;
        if self.read(|s| s.recorded.get(&name).is_some_and(|b| &*b.text == ros2msg_text)) {
            return Ok(());
        }
        let bundle = Arc::new(parse_bundle(&name, ros2msg_text)?);
        let plan = self.scope(Some(&bundle)).plan(&name)?;
        self.write(|state| {
            if !state.recorded.contains_key(&name) && state.recorded.len() >= MAX_RECORDED_TYPES {
                return Err(too_large(&name, "recorded types", MAX_RECORDED_TYPES as u64));
            }
            state.texts.remove(&name);
            state.plans.insert(name.clone(), Arc::new(plan));
            state.recorded.insert(name, bundle);
            Ok(())
        })
    }

    /// The same for a schema record that names its encoding.
    ///
    /// # Errors
    /// Like [`Registry::add`], and when the encoding is not `ros2msg`.
    pub fn add_encoded(&self, type_name: &str, encoding: &str, schema: &[u8]) -> Result<(), SchemaError> {
        if encoding != "ros2msg" {
            return Err(SchemaError::Encoding {
                type_name: type_name.to_owned(),
                encoding: encoding.chars().take(64).collect(),
            });
        }
        self.add(type_name, &String::from_utf8_lossy(schema))
    }

    /// The plan of a type. Made once, then shared.
    ///
    /// # Errors
    /// When the type or one of its dependencies is unknown or cannot be used.
    pub fn plan(&self, type_name: &str) -> Result<Arc<Plan>, SchemaError> {
        let name = TypeName::parse(type_name)?;
        if let Some(plan) = self.read(|s| s.plans.get(&name).cloned()) {
            return Ok(plan);
        }
        // Recorded types have their plan from the start, so this is about all others.
        let plan = Arc::new(self.scope(None).plan(&name)?);
        Ok(self.write(|s| s.plans.entry(name).or_insert(plan).clone()))
    }

    /// The definition of a type with all its dependencies, as recordings and viewers want it.
    /// A recording's own text is passed on as it came.
    ///
    /// # Errors
    /// When the type or one of its dependencies is unknown or cannot be used.
    pub fn text(&self, type_name: &str) -> Result<Arc<str>, SchemaError> {
        let name = TypeName::parse(type_name)?;
        let known = self.read(|s| match s.recorded.get(&name) {
            Some(bundle) => Some(bundle.text.clone()),
            None => s.texts.get(&name).cloned(),
        });
        if let Some(text) = known {
            return Ok(text);
        }
        let text: Arc<str> = concatenated(&self.scope(None), &name)?.into();
        Ok(self.write(|s| match s.recorded.get(&name) {
            // It was added in the meantime.
            Some(bundle) => bundle.text.clone(),
            None => s.texts.entry(name).or_insert(text).clone(),
        }))
    }

    /// Every type that can be asked for, sorted, in the long form. Looks through the installed
    /// packages; types that turn out to be broken are listed all the same.
    #[must_use]
    pub fn type_names(&self) -> Vec<String> {
        let mut names: BTreeSet<TypeName> = self.read(|s| s.recorded.keys().cloned().collect());
        for (package, kind, stem) in bundled::files() {
            names.extend(interface::types_of(package, kind, stem));
        }
        for (package, kind, stem) in self.inner.ament.files() {
            names.extend(interface::types_of(&package, kind, &stem));
        }
        names.into_iter().map(|n| n.to_string()).collect()
    }

    fn scope<'a>(&'a self, recorded: Option<&'a Bundle>) -> Scope<'a> {
        Scope::new(recorded, &self.inner.ament)
    }

    /// A thread that panicked while holding the lock left whole entries behind: every change
    /// is a single insertion or removal. So the poison is ignored.
    fn read<T>(&self, f: impl FnOnce(&State) -> T) -> T {
        f(&self.inner.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.inner.state.write().unwrap_or_else(PoisonError::into_inner))
    }
}
