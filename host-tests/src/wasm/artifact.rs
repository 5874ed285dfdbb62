//! The wasm file under test: found, checked to be no older than its sources, compiled once.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow, bail};
use wasmtime::{Config, Engine, InstancePre, Linker, Module, OptLevel};

use super::imports;
use super::state::State;

/// The compiled file, linked and ready to be instantiated.
pub(super) struct Artifact {
    pub(super) engine: Engine,
    pub(super) linked: InstancePre<State>,
}

/// The artifact of this process.
///
/// # Errors
///
/// When the file is missing, older than a source file, or Envoy would not load it.
pub(super) fn artifact() -> Result<&'static Artifact> {
    static ARTIFACT: OnceLock<Result<Artifact, String>> = OnceLock::new();
    ARTIFACT
        .get_or_init(|| load().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where the wasm file is: `WARDGATE_WASM`, else `target/wardgate.wasm` of the repository.
pub fn wasm_path() -> PathBuf {
    std::env::var_os("WARDGATE_WASM")
        .map_or_else(|| repository().join("target/wardgate.wasm"), PathBuf::from)
}

/// The bytes of the wasm file, which is newer than every source of `core` and `plugin`.
///
/// # Errors
///
/// When it is missing or stale: a test of yesterday's file would say nothing about today's code.
pub fn wasm_bytes() -> Result<Vec<u8>> {
    let path = wasm_path();
    let shown = path.display();
    let built = std::fs::metadata(&path)
        .and_then(|metadata| metadata.modified())
        .with_context(|| format!("no wasm file at {shown}: run `make wasm`"))?;
    for package in ["core", "plugin"] {
        for part in ["src", "Cargo.toml"] {
            if let Some(newer) = newer_than(built, &repository().join(package).join(part))? {
                let newer = newer.display();
                bail!("{shown} is older than {newer}: run `make wasm`");
            }
        }
    }
    std::fs::read(&path).with_context(|| format!("cannot read {shown}"))
}

/// A file at or under `path` that was changed after `built`. Unit tests are no part of the wasm file,
/// and building it anew does not make it newer than them.
fn newer_than(built: SystemTime, path: &Path) -> Result<Option<PathBuf>> {
    if path.file_stem().is_some_and(|name| name == "tests") {
        return Ok(None);
    }
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            if let Some(newer) = newer_than(built, &entry?.path())? {
                return Ok(Some(newer));
            }
        }
        return Ok(None);
    }
    let changed = std::fs::metadata(path)?.modified()?;
    Ok((changed > built).then(|| path.to_path_buf()))
}

fn load() -> Result<Artifact> {
    let bytes = wasm_bytes()?;
    let mut config = Config::new();
    config.consume_fuel(true).cranelift_opt_level(OptLevel::Speed);
    let engine = Engine::new(&config).map_err(|error| anyhow!("{error:?}"))?;
    let module = Module::new(&engine, bytes).map_err(|error| anyhow!("{error:?}"))?;
    for needed in ["proxy_abi_version_0_2_1", "memory"] {
        if module.get_export(needed).is_none() {
            bail!("the module exports no {needed}");
        }
    }
    let mut linker = Linker::new(&engine);
    imports::link_all(&mut linker, &module)?;
    let ready = linker.instantiate_pre(&module).map_err(|error| anyhow!("{error:?}"))?;
    Ok(Artifact { engine, linked: ready })
}

/// What the wasm file imports: module and name of each.
///
/// # Errors
///
/// When the file cannot be used at all.
pub fn imports_of_the_wasm_file() -> Result<Vec<(String, String)>> {
    let module = artifact()?.linked.module();
    Ok(module.imports().map(|import| (import.module().into(), import.name().into())).collect())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::newer_than;

    #[test]
    fn a_source_changed_after_the_build_is_found_at_any_depth() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a/b.rs");
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(&source, "").unwrap();
        let hour = Duration::from_hours(1);
        let before = SystemTime::now() - hour;
        assert_eq!(newer_than(before, folder.path()).unwrap(), Some(source));
        assert_eq!(newer_than(SystemTime::now() + hour, folder.path()).unwrap(), None);
    }
}
