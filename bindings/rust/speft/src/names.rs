//! Enums whose values have a C constant and a name.

/// Declares an enum with the constant of each value and the name that every binding has for it.
macro_rules! named {
    (
        $(#[$about:meta])*
        pub enum $type:ident = $argument:literal {
            $($(#[$about_value:meta])* $value:ident = $code:ident $name:literal,)+
        }
    ) => {
        $(#[$about])*
        ///
        /// Its text form, by `Display` and `FromStr`, is the name that every binding of libspeft has for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $type {
            $($(#[$about_value])* #[doc = concat!("Named `", $name, "`.")] $value,)+
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$value => $name),+ }
            }

            /// Its constant in C.
            pub const fn code(self) -> i32 {
                match self { $(Self::$value => speft_sys::$code),+ }
            }

            /// The one with this constant in C; `None` for a number that this version does not know.
            pub fn from_code(code: i32) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.code() == code)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::Error;

            fn from_str(name: &str) -> $crate::Result<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name).ok_or_else(|| {
                    let names: Vec<_> = Self::ALL.iter().map(|value| value.name()).collect();
                    $crate::Error::refuse(format!(
                        concat!($argument, " must be one of ({}); got {:?}"), names.join(", "), name))
                })
            }
        }
    };
}

pub(crate) use named;
