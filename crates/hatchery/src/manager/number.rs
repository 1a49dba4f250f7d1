//! Adding to numbers that are stored as bytes.
//!
//! This is the one place where the manager decodes what it stores: the operation says which of
//! Rust's own number types it is, and nothing of the program's is run.

use serde::{Deserialize, Serialize};

use super::protocol::{Blob, Refusal};

/// Defines the number types that can be added to.
macro_rules! numbers {
    ($($kind:ident $number:ident $add:expr),+ $(,)?) => {
        /// Which type of number an operation is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum NumberKind {
            $(
                #[doc = concat!("A `", stringify!($number), "`.")]
                $kind,
            )+
        }

        $(
            impl ManagedNumber for $number {
                const KIND: NumberKind = NumberKind::$kind;
            }
        )+

        /// Adds two numbers; one that is missing is zero.
        pub(super) fn add(
            kind: NumberKind,
            number: Option<&Blob>,
            more: &Blob,
        ) -> Result<Blob, Refusal> {
            match kind {
                $(NumberKind::$kind => add_as::<$number>(number, more, $add),)+
            }
        }
    };
}

numbers! {
    U8 u8 u8::checked_add,
    U16 u16 u16::checked_add,
    U32 u32 u32::checked_add,
    U64 u64 u64::checked_add,
    U128 u128 u128::checked_add,
    Usize usize usize::checked_add,
    I8 i8 i8::checked_add,
    I16 i16 i16::checked_add,
    I32 i32 i32::checked_add,
    I64 i64 i64::checked_add,
    I128 i128 i128::checked_add,
    Isize isize isize::checked_add,
    F32 f32 |a, b| Some(a + b),
    F64 f64 |a, b| Some(a + b),
}

/// A number that a manager can add to: every integer and floating-point type of Rust.
///
/// A type of the program's own is one too if it is serialised as a number is, and says as which.
pub trait ManagedNumber: Serialize {
    /// The type of number as which it is serialised.
    const KIND: NumberKind;
}

fn add_as<T: Default + Serialize + for<'de> Deserialize<'de>>(
    number: Option<&Blob>,
    more: &Blob,
    add: impl FnOnce(T, T) -> Option<T>,
) -> Result<Blob, Refusal> {
    let number = number.map_or_else(|| Ok(T::default()), read)?;
    let sum = add(number, read(more)?).ok_or(Refusal::Overflow)?;
    let bytes = postcard::to_stdvec(&sum).expect("a number can be serialised");
    Ok(bytes.into())
}

fn read<T: for<'de> Deserialize<'de>>(number: &Blob) -> Result<T, Refusal> {
    match postcard::take_from_bytes(number.bytes()) {
        Ok((number, [])) => Ok(number),
        Ok(_) | Err(_) => Err(Refusal::NotNumber),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(value: &impl Serialize) -> Blob {
        postcard::to_stdvec(value).unwrap().into()
    }

    #[test]
    fn numbers_are_added_by_their_own_type() {
        let sums = [
            (NumberKind::U8, blob(&200_u8), blob(&55_u8), blob(&255_u8)),
            (NumberKind::I64, blob(&1_i64), blob(&-3_i64), blob(&-2_i64)),
            (NumberKind::F64, blob(&0.5), blob(&0.25), blob(&0.75)),
        ];
        for (kind, number, more, sum) in sums {
            assert_eq!(add(kind, Some(&number), &more), Ok(sum));
        }
    }

    #[test]
    fn a_missing_number_is_zero() {
        assert_eq!(add(NumberKind::I8, None, &blob(&-7_i8)), Ok(blob(&-7_i8)));
    }

    #[test]
    fn a_sum_that_has_no_room_is_refused() {
        let outcome = add(NumberKind::U8, Some(&blob(&200_u8)), &blob(&56_u8));

        assert_eq!(outcome, Err(Refusal::Overflow));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let outcome = add(NumberKind::U8, Some(&blob(&"text")), &blob(&1_u8));

        assert_eq!(outcome, Err(Refusal::NotNumber));
    }
}
