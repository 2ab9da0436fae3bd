//! Fields with a tag: how facts and groups are written, one way only.
//!
//! ```text
//! field
//!   0  1  tag
//!   1  2  length of the value in bytes, big-endian
//!   3  …  value
//! ```
//!
//! Fields stand in the order of their tags. A field that may be there several times stands several times, in the
//! order of its values. A field without a value is not there. So one value has one encoding, and a reader that takes each
//! field it knows, in order, and then finds something left, has met bytes that no writer of its version made.

/// Bytes that are not the encoding of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// A type of values in fields.
pub(crate) trait Value: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(bytes: &[u8]) -> Option<Self>;
}

impl Value for u8 {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        <[u8; 1]>::try_from(bytes).ok().map(|[byte]| byte)
    }
}

impl Value for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

impl<const N: usize> Value for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }
}

impl Value for String {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }
}

impl Value for Vec<u8> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }
}

/// Writes fields.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    last: u8,
}

impl Writer {
    /// A value of at most 65,535 bytes: what goes in was checked.
    pub(crate) fn put<V: Value>(&mut self, tag: u8, value: &V) -> &mut Self {
        debug_assert!(self.last <= tag, "fields stand in the order of their tags");
        self.last = tag;
        self.bytes.push(tag);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        value.put(&mut self.bytes);
        let len = u16::try_from(self.bytes.len() - at - 2).expect("limits of events are below 65,535");
        self.bytes[at..at + 2].copy_from_slice(&len.to_be_bytes());
        self
    }

    pub(crate) fn maybe<V: Value>(&mut self, tag: u8, value: &Option<V>) -> &mut Self {
        if let Some(value) = value {
            self.put(tag, value);
        }
        self
    }

    pub(crate) fn each<V: Value>(&mut self, tag: u8, values: &[V]) -> &mut Self {
        for value in values {
            self.put(tag, value);
        }
        self
    }

    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// Reads what a [`Writer`] wrote, and nothing else.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn put<V: Value>(&mut self, tag: u8) -> Result<V, Malformed> {
        self.maybe(tag)?.ok_or(Malformed("a field is missing"))
    }

    pub(crate) fn maybe<V: Value>(&mut self, tag: u8) -> Result<Option<V>, Malformed> {
        let Some((_, rest)) = self.rest.split_first().filter(|(found, _)| **found == tag) else {
            return Ok(None);
        };
        let (len, rest) = rest.split_first_chunk::<2>().ok_or(CUT)?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))).ok_or(CUT)?;
        self.rest = rest;
        V::take(value).map(Some).ok_or(Malformed("a field's value is not of its type"))
    }

    pub(crate) fn each<V: Value>(&mut self, tag: u8) -> Result<Vec<V>, Malformed> {
        let mut values = Vec::new();
        while let Some(value) = self.maybe(tag)? {
            values.push(value);
        }
        Ok(values)
    }

    pub(crate) fn end(self) -> Result<(), Malformed> {
        self.rest.is_empty().then_some(()).ok_or(Malformed("a field is unknown, out of order or there twice"))
    }
}

const CUT: Malformed = Malformed("a field is cut short");

/// Declares a struct whose fields have tags, with its one encoding.
macro_rules! tagged {
    (
        $(#[$doc:meta])*
        $vis:vis struct $name:ident {
            $($(#[$field_doc:meta])* $tag:literal $how:ident $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$doc])*
        $vis struct $name {
            $($(#[$field_doc])* $vis $field: $type,)*
        }

        impl $name {
            pub(crate) fn encode(&self) -> Vec<u8> {
                let mut writer = crate::codec::Writer::default();
                $(writer.$how($tag, &self.$field);)*
                writer.finish()
            }

            pub(crate) fn decode(bytes: &[u8]) -> Result<Self, crate::codec::Malformed> {
                let mut reader = crate::codec::Reader::new(bytes);
                $(let $field = reader.$how($tag)?;)*
                reader.end()?;
                Ok(Self { $($field),* })
            }
        }
    };
}

pub(crate) use tagged;
