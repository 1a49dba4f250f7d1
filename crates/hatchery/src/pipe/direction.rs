//! Which way messages go at an end of a pipe, as types.

/// Marks an end that sends and receives.
#[derive(Clone, Copy, Debug)]
pub enum Duplex {}

/// Marks an end that only sends.
#[derive(Clone, Copy, Debug)]
pub enum Sends {}

/// Marks an end that only receives.
#[derive(Clone, Copy, Debug)]
pub enum Receives {}

/// Which way messages go at an end of a pipe.
pub trait Direction: sealed::Sealed + 'static {
    /// Whether the end sends.
    const SENDS: bool;
    /// Whether the end receives.
    const RECEIVES: bool;
}

/// A direction in which an end sends.
pub trait CanSend: Direction {}

/// A direction in which an end receives.
pub trait CanReceive: Direction {}

impl Direction for Duplex {
    const SENDS: bool = true;
    const RECEIVES: bool = true;
}

impl Direction for Sends {
    const SENDS: bool = true;
    const RECEIVES: bool = false;
}

impl Direction for Receives {
    const SENDS: bool = false;
    const RECEIVES: bool = true;
}

impl CanSend for Duplex {}
impl CanSend for Sends {}
impl CanReceive for Duplex {}
impl CanReceive for Receives {}

mod sealed {
    /// Nobody else adds a direction.
    #[expect(unnameable_types, reason = "being unnameable is what it is for")]
    pub trait Sealed {}

    impl Sealed for super::Duplex {}
    impl Sealed for super::Sends {}
    impl Sealed for super::Receives {}
}
