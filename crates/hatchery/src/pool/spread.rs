//! Functions of several arguments, for items that are tuples.

/// A function that takes what a tuple `A` holds one by one, and returns an `R`.
///
/// It is there for functions of two to six arguments that capture nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not take what is in `{A}` one by one",
    note = "give a function of two to six arguments, and tuples of exactly these"
)]
pub trait Spread<A, R>: Copy + Send + Sync + 'static {
    /// Calls the function.
    fn spread(self, arguments: A) -> R;
}

macro_rules! spread {
    ($($name:ident: $kind:ident),+) => {
        impl<Function, Result, $($kind),+> Spread<($($kind,)+), Result> for Function
        where
            Function: Fn($($kind),+) -> Result + Copy + Send + Sync + 'static,
        {
            fn spread(self, ($($name,)+): ($($kind,)+)) -> Result {
                self($($name),+)
            }
        }
    };
}

spread!(a: A, b: B);
spread!(a: A, b: B, c: C);
spread!(a: A, b: B, c: C, d: D);
spread!(a: A, b: B, c: C, d: D, e: E);
spread!(a: A, b: B, c: C, d: D, e: E, f: F);
