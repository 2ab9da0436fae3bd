//! What is found where a vault is opened or made.

use graven_store::ChainFile;

use crate::epoch::{Home, is_ours};
use crate::error::OpenError;
use crate::files::{HEAD, Stamp, io_at};
use crate::rows::Read;
use crate::subject::Realm;

/// Puts a row that was read where it belongs.
pub(crate) fn remember(realms: &mut Vec<Realm>, row: Read) -> Result<(), &'static str> {
    let of = |realms: &Vec<Realm>, number: u32| {
        usize::try_from(number)
            .ok()
            .and_then(|number| realms.get(number).cloned())
            .ok_or("a row is of no realm")
    };
    match row {
        Read::Realm { number, name, keys } if usize::try_from(number) == Ok(realms.len()) => {
            realms.push(Realm::new(number, name, keys));
        }
        Read::Realm { .. } => return Err("its realms are out of order"),
        Read::Subject(number, subject) => {
            if !of(realms, number)?.write(|members| members.insert(subject)) {
                return Err("a subject is there twice, or was erased");
            }
        }
        Read::Tombstone(number, reference) => {
            if !of(realms, number)?.write(|members| !members.has(reference) && members.erase(reference)) {
                return Err("a reference is erased twice, or is not");
            }
        }
        Read::Next => {}
    }
    Ok(())
}

/// A crash while a vault was made leaves a first epoch that holds nothing, and no head. Anything more is a vault that lost
/// its head, and nothing is made over it.
pub(crate) fn refuse_remains(home: &Home) -> Result<(), OpenError> {
    let Home { fs, dir, .. } = home;
    let exists = || OpenError::Exists(dir.clone());
    let names = fs.list(dir).map_err(io_at(dir))?;
    if names.iter().any(|name| name == HEAD) {
        return Err(exists());
    }
    let remains: Vec<_> = names.iter().filter(|name| is_ours(name)).collect();
    let is_first =
        |name: &str| ["epoch-1.key", "epoch-1-0.subjects", HEAD].iter().any(|of| name.starts_with(of));
    if !remains.iter().all(|name| is_first(name)) {
        return Err(exists());
    }
    let first = Stamp { vault: [0; 16], epoch: 1 }.segment_path(dir, 0);
    if fs.exists(&first).map_err(io_at(&first))? {
        let records = ChainFile::peek(&**fs, &first).map_err(io_at(&first))?;
        if records.iter().skip(1).any(|record| !record.is_empty()) {
            return Err(exists());
        }
    }
    for name in remains {
        let path = dir.join(name);
        fs.remove_file(&path).map_err(io_at(&path))?;
    }
    fs.sync_dir(dir).map_err(io_at(dir))
}
