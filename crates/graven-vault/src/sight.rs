//! Reading a vault: to go on with it, and to look at it only.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use graven_store::chain::ChainError;
use graven_store::{ChainFile, Fs};

use crate::epoch::{is_stray, place};
use crate::error::OpenError;
use crate::files::{self, HEAD, Kind, Stamp, check_segment, damaged, io_at, read_head};
use crate::master::MasterKey;
use crate::rows::{self, Read};
use crate::secret::{Name, SecretKey};
use crate::start::remember;
use crate::subject::Realm;

/// A vault that is only looked at: not a byte of it is changed, so it may be a copy, or evidence. Nobody may have it open meanwhile.
pub struct Sight(HashMap<Name, Realm>);

impl Sight {
    /// Reads the vault of a folder. What a crash left for the next opening to complete stays as it is.
    ///
    /// # Errors
    /// As for [`Vault::open`](crate::Vault::open).
    pub fn of(fs: &dyn Fs, dir: &Path, master: &dyn MasterKey) -> Result<Self, OpenError> {
        let stamp = head(fs, dir)?;
        let mut realms = Vec::new();
        let look = |path: &Path| ChainFile::look(fs, path).map(|payloads| ((), payloads));
        let (_, last) = read_rows((fs, dir), stamp, master, look, |row| remember(&mut realms, row))?;
        is_stray(fs, dir, &stamp, last.segment + 1)?;
        by_name(realms, dir).map(Self)
    }

    /// The realm of a name, if there is one.
    pub fn realm(&self, name: &[u8]) -> Option<&Realm> {
        self.0.get(name)
    }
}

impl fmt::Debug for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sight").field("realms", &self.0.len()).finish()
    }
}

/// Which epoch counts.
pub(crate) fn head(fs: &dyn Fs, dir: &Path) -> Result<Stamp, OpenError> {
    let head = dir.join(HEAD);
    if !fs.exists(&head).map_err(io_at(&head))? {
        return Err(OpenError::Missing(dir.to_owned()));
    }
    read_head(fs, dir)
}

/// Realms by their names, of which each has its own.
pub(crate) fn by_name(realms: Vec<Realm>, dir: &Path) -> Result<HashMap<Name, Realm>, OpenError> {
    let count = realms.len();
    let by_name: HashMap<_, _> = realms.into_iter().map(|realm| (realm.name().clone(), realm)).collect();
    if by_name.len() != count {
        return Err(damaged(&dir.join(HEAD), "two realms have one name"));
    }
    Ok(by_name)
}

/// The segment that none follows.
pub(crate) struct Last<C> {
    pub(crate) segment: u32,
    /// Records in it.
    pub(crate) records: u32,
    pub(crate) chain: C,
}

/// Reads an epoch from segments that are opened like this, and hands over each row in order; a row that is refused is damage.
pub(crate) fn read_rows<C>(
    (fs, dir): (&dyn Fs, &Path),
    stamp: Stamp,
    master: &dyn MasterKey,
    open: impl Fn(&Path) -> Result<(C, Vec<Vec<u8>>), ChainError>,
    mut keep: impl FnMut(Read) -> Result<(), &'static str>,
) -> Result<(SecretKey, Last<C>), OpenError> {
    let wrapped = files::read_key(fs, dir, &stamp)?;
    let key = master
        .unwrap(&wrapped, &stamp.preamble(Kind::Key))
        .map_err(|source| OpenError::Master { path: stamp.key_path(dir), source })?;
    let mut segment = 0;
    loop {
        let path = stamp.segment_path(dir, segment);
        let (chain, payloads) = open(&path)?;
        check_segment(&path, &stamp, segment, payloads.first())?;
        let records = u32::try_from(payloads.len()).unwrap_or(u32::MAX);
        let mut goes_on = false;
        for (number, payload) in (0..).zip(payloads).skip(1) {
            if payload.is_empty() {
                continue;
            }
            let rows = rows::open(payload, &key, &place(&stamp, segment, number))
                .ok_or_else(|| damaged(&path, "a page does not open under the epoch key"))?;
            for row in rows {
                if goes_on {
                    return Err(damaged(&path, "something follows its last row"));
                }
                match row {
                    Read::Next => goes_on = true,
                    row => keep(row).map_err(|what| damaged(&path, what))?,
                }
            }
        }
        if !goes_on {
            return Ok((key, Last { segment, records, chain }));
        }
        segment += 1;
    }
}
