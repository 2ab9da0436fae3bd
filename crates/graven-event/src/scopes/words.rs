//! Enums whose variants are words of leaves.

/// Gives each variant its word, and back.
macro_rules! words {
    ($type:ident { $($variant:ident $word:literal,)+ }) => {
        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The same, as it stands in a leaf.
            pub fn word(self) -> $crate::facts::Word {
                $crate::facts::Word::new(self.as_str()).expect("a word of a few letters")
            }

            /// Which one has this word.
            pub fn of(word: &$crate::facts::Word) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word.as_str())
            }
        }
    };
}

pub(crate) use words;
