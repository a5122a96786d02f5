//! Definition registry: recordings, installed packages, the bundled set.

mod ament;
mod bundled;
mod interface;
mod resolve;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::limits::MAX_RECORDED_TYPES;
use crate::parse::{Bundle, Language, parse_bundle, too_large};
use crate::registry::ament::Ament;
use crate::registry::resolve::{Scope, completed, concatenated};
use crate::{Plan, SchemaError, TypeName};

/// All known definitions. Clones share their contents.
///
/// A recording's definition of a type takes precedence over an installed one, and that over a
/// bundled one. The dependencies in a recording's text apply to its own type only: other types with
/// the same dependency are not affected.
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

    /// The packages installed below an `AMENT_PREFIX_PATH`, then the bundled set. Files are read
    /// when their type is first requested.
    #[must_use]
    pub fn with_ament(prefix_path: &OsStr) -> Self {
        let inner = Inner { ament: Ament::new(prefix_path), ..Inner::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Adds a recording's definition of a type: `ros2msg` text with its dependencies.
    ///
    /// ```
    /// let registry = roverline_schema::Registry::bundled();
    /// registry.add("demo/msg/Reading", "string name\nfloat64 value 1.5")?;
    /// let plan = registry.plan("demo/msg/Reading")?;
    /// let cdr = plan.encode_json(&serde_json::json!({"name": "ph"}))?;
    /// assert_eq!(plan.decode(&cdr)?.get("value").and_then(|v| v.as_f64()), Some(1.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the text cannot be parsed or refers to undefined types. Nothing changes then.
    pub fn add(&self, type_name: &str, ros2msg_text: &str) -> Result<(), SchemaError> {
        self.add_text(type_name, ros2msg_text, Language::Msg)
    }

    /// Like [`Registry::add`], for a schema record that names its encoding: `ros2msg` or `ros2idl`.
    ///
    /// ```
    /// let registry = roverline_schema::Registry::bundled();
    /// let idl = "module demo { module msg { struct Pump { double flow; string label; }; }; };";
    /// registry.add_encoded("demo/msg/Pump", "ros2idl", idl.as_bytes())?;
    /// assert_eq!(&*registry.text("demo/msg/Pump")?, "float64 flow\nstring label\n");
    /// # Ok::<(), roverline_schema::SchemaError>(())
    /// ```
    ///
    /// # Errors
    /// Like [`Registry::add`], and when the encoding is another one.
    pub fn add_encoded(&self, type_name: &str, encoding: &str, schema: &[u8]) -> Result<(), SchemaError> {
        let language = match encoding {
            "ros2msg" => Language::Msg,
            "ros2idl" => Language::Idl,
            other => {
                let encoding = other.chars().take(64).collect();
                return Err(SchemaError::Encoding { type_name: type_name.to_owned(), encoding });
            }
        };
        self.add_text(type_name, &String::from_utf8_lossy(schema), language)
    }

    fn add_text(&self, type_name: &str, recorded: &str, language: Language) -> Result<(), SchemaError> {
        let name = TypeName::parse(type_name)?;
        if self.read(|s| s.recorded.get(&name).is_some_and(|b| &*b.text == recorded)) {
            return Ok(());
        }
        let bundle = Arc::new(parse_bundle(&name, recorded, language)?);
        let scope = self.scope(Some(&bundle));
        let plan = scope.plan(&name)?;
        let text = match bundle.has_idl {
            true => concatenated(&scope, &name)?.into(),
            false => completed(&scope, &name, &bundle)?,
        };
        self.write(|state| {
            if !state.recorded.contains_key(&name) && state.recorded.len() >= MAX_RECORDED_TYPES {
                return Err(too_large(&name, "recorded types", MAX_RECORDED_TYPES as u64));
            }
            state.texts.insert(name.clone(), text);
            state.plans.insert(name.clone(), Arc::new(plan));
            state.recorded.insert(name, bundle);
            Ok(())
        })
    }

    /// The plan of a type. Compiled once, then shared.
    ///
    /// # Errors
    /// When the type or one of its dependencies is unknown or unusable.
    pub fn plan(&self, type_name: &str) -> Result<Arc<Plan>, SchemaError> {
        let name = TypeName::parse(type_name)?;
        if let Some(plan) = self.read(|s| s.plans.get(&name).cloned()) {
            return Ok(plan);
        }
        // Recorded types have their plan from the start, so this concerns all others.
        let plan = Arc::new(self.scope(None).plan(&name)?);
        Ok(self.write(|s| s.plans.entry(name).or_insert(plan).clone()))
    }

    /// The definition of a type with all its dependencies, in the format of recordings and viewers.
    /// A recording's own text is returned unchanged; dependencies that it lacks are appended. What was recorded in IDL is
    /// returned as `ros2msg`.
    ///
    /// # Errors
    /// When the type or one of its dependencies is unknown or unusable.
    pub fn text(&self, type_name: &str) -> Result<Arc<str>, SchemaError> {
        let name = TypeName::parse(type_name)?;
        if let Some(text) = self.read(|s| s.texts.get(&name).cloned()) {
            return Ok(text);
        }
        let text: Arc<str> = concatenated(&self.scope(None), &name)?.into();
        // If it was added in the meantime, the recording's text is there.
        Ok(self.write(|s| s.texts.entry(name).or_insert(text).clone()))
    }

    /// Every available type, sorted, in the long form. Scans the installed packages; broken types
    /// are listed all the same.
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

    fn read<T>(&self, f: impl FnOnce(&State) -> T) -> T {
        f(&self.inner.state.read())
    }

    fn write<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.inner.state.write())
    }
}
