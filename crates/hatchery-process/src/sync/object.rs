//! What all objects in shared memory have in common: they are sent as their descriptor.

/// Implements what sends an object to another process, for a type with a field that has a descriptor
/// (`monitor`, unless another is named) and a function `map` that makes one of a descriptor.
macro_rules! shared_object {
    ($object:ident) => {
        shared_object!($object, monitor);
    };
    ($object:ident, $field:ident) => {
        /// The memory in which it lives.
        impl AsFd for $object {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.$field.as_fd()
            }
        }

        impl serde::Serialize for $object {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                crate::descriptor::serialize(&self.$field, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $object {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let memory: OwnedFd = crate::descriptor::deserialize(deserializer)?;
                Self::map(memory).map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use shared_object;
