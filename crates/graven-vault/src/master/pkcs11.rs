//! A master key in a token or HSM, by PKCS#11: AES-256, made there, and never handed out.
//!
//! ```text
//! wrapped key, 60 bytes: 12 IV | 32 ciphertext | 16 tag; CKM_AES_GCM, associated data: the context
//! ```
//!
//! The random IV is 96 bits: one is used an epoch, far from the 2^32 at which their meeting would matter. A token that
//! insists on making IVs itself (some do in their FIPS mode) is refused by its own error.
//!
//! There is one context a process, and one call at a time. Each has a session of its own, so a token that was restarted
//! is found again by the next one.

use std::path::PathBuf;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::{MasterError, MasterKey};
use crate::secret::{Entropy, KEY_BYTES, SecretKey};

const IV_BYTES: usize = 12;
const TAG_BITS: u64 = 128;
/// The context of what is wrapped only to see whether the token works.
const PROBE: &[u8] = b"graven probe";
/// The length of the key, as tokens count it.
const KEY_LEN: u64 = KEY_BYTES as u64;

/// Where the key is.
pub struct Pkcs11Config {
    /// The library of the token's maker.
    pub module: PathBuf,
    /// The label of the token.
    pub token: String,
    /// The label of the key in it.
    pub key: String,
    /// The PIN of the token's user.
    pub pin: Zeroizing<String>,
}

/// See the module.
pub struct Pkcs11Master {
    context: Mutex<Pkcs11>,
    token: String,
    key: String,
    pin: AuthPin,
    entropy: Entropy,
}

impl Pkcs11Master {
    /// Makes a new key in the token; a key of that label is an error.
    pub fn create(config: &Pkcs11Config, entropy: Entropy) -> Result<Self, MasterError> {
        let master = Self::new(config, entropy)?;
        master.with_session(|session| {
            if !session.find_objects(&master.template()).map_err(unavailable)?.is_empty() {
                return Err(MasterError::Token("a key of this label already"));
            }
            let mut template = master.template();
            template.extend([
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
                Attribute::ValueLen(KEY_LEN.into()),
            ]);
            session.generate_key(&Mechanism::AesKeyGen, &template).map(drop).map_err(unavailable)
        })?;
        Ok(master)
    }

    /// Finds the key in the token.
    pub fn open(config: &Pkcs11Config, entropy: Entropy) -> Result<Self, MasterError> {
        let master = Self::new(config, entropy)?;
        master.with_session(|session| master.find(session).map(drop))?;
        Ok(master)
    }

    fn new(config: &Pkcs11Config, entropy: Entropy) -> Result<Self, MasterError> {
        let context = Pkcs11::new(&config.module).map_err(unavailable)?;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // The library is one for the whole process, and somebody else of it came first.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(unavailable(error)),
        }
        let (token, key) = (config.token.clone(), config.key.clone());
        let pin = AuthPin::from(config.pin.as_str());
        Ok(Self { context: Mutex::new(context), token, key, pin, entropy })
    }

    /// What the key is found by.
    fn template(&self) -> Vec<Attribute> {
        vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Label(self.key.as_bytes().to_vec()),
        ]
    }

    /// The one key of the label, if the token keeps it to itself.
    fn find(&self, session: &Session) -> Result<ObjectHandle, MasterError> {
        let found = session.find_objects(&self.template()).map_err(unavailable)?;
        let [key] = found[..] else {
            let none = found.is_empty();
            return Err(MasterError::Token(if none {
                "no key of this label"
            } else {
                "several keys of this label"
            }));
        };
        let asked = [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::ValueLen];
        let told = session.get_attributes(key, &asked).map_err(unavailable)?;
        let wanted =
            [Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::ValueLen(KEY_LEN.into())];
        if wanted.iter().all(|attribute| told.contains(attribute)) {
            Ok(key)
        } else {
            Err(MasterError::Token("a key of this label that is not AES-256, or that it would hand out"))
        }
    }

    fn with_session<T>(
        &self,
        run: impl FnOnce(&Session) -> Result<T, MasterError>,
    ) -> Result<T, MasterError> {
        let context = self.context.lock();
        let slots = context.get_slots_with_initialized_token().map_err(unavailable)?;
        let slot = slots
            .into_iter()
            .find(|slot| context.get_token_info(*slot).is_ok_and(|info| info.label() == self.token))
            .ok_or_else(|| MasterError::Unavailable(format!("no token is labelled {:?}", self.token)))?;
        let session = context.open_rw_session(slot).map_err(unavailable)?;
        match session.login(UserType::User, Some(&self.pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => run(&session),
            Err(error) => Err(unavailable(error)),
        }
    }
}

impl MasterKey for Pkcs11Master {
    fn wrap(&self, key: &SecretKey, context: &[u8]) -> Result<Vec<u8>, MasterError> {
        let mut iv = [0; IV_BYTES];
        (self.entropy)(&mut iv)
            .map_err(|error| MasterError::Unavailable(format!("no randomness: {error}")))?;
        let mut wrapped = iv.to_vec();
        self.with_session(|session| {
            let master = self.find(session)?;
            let gcm = gcm(&mut iv, context)?;
            wrapped.extend(session.encrypt(&gcm, master, key.as_bytes()).map_err(unavailable)?);
            Ok(wrapped)
        })
    }

    fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<SecretKey, MasterError> {
        self.decrypt(wrapped, context)?.map_err(|error| {
            // Libraries answer a tag that does not hold by many codes, "general error" among them. A token that decrypts
            // what it wrapped just now is well, and it is the wrapped key that is wrong.
            let probe = SecretKey::new(&[0; KEY_BYTES]);
            let is_well = self.wrap(&probe, PROBE).and_then(|probe| self.decrypt(&probe, PROBE));
            if matches!(is_well, Ok(Ok(_))) { MasterError::Wrong } else { unavailable(error) }
        })
    }
}

impl Pkcs11Master {
    /// The key, or what the token said when it was to decrypt it.
    fn decrypt(&self, wrapped: &[u8], context: &[u8]) -> Result<Result<SecretKey, Error>, MasterError> {
        let (iv, sealed) = wrapped.split_first_chunk::<IV_BYTES>().ok_or(MasterError::Wrong)?;
        let mut iv = *iv;
        self.with_session(|session| {
            let master = self.find(session)?;
            let gcm = gcm(&mut iv, context)?;
            let key = match session.decrypt(&gcm, master, sealed) {
                Ok(key) => Zeroizing::new(key),
                Err(error) => return Ok(Err(error)),
            };
            let whole = key.first_chunk::<KEY_BYTES>().filter(|_| key.len() == KEY_BYTES);
            Ok(Ok(SecretKey::new(whole.ok_or(MasterError::Wrong)?)))
        })
    }
}

fn gcm<'a>(iv: &'a mut [u8], context: &'a [u8]) -> Result<Mechanism<'a>, MasterError> {
    Ok(Mechanism::AesGcm(GcmParams::new(iv, context, TAG_BITS.into()).map_err(unavailable)?))
}

/// What the library says names functions and codes, never a PIN or a key.
#[allow(clippy::needless_pass_by_value)] // as `map_err` hands it over
fn unavailable(error: Error) -> MasterError {
    MasterError::Unavailable(error.to_string())
}
