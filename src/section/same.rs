//! Equality behind a trait object: whether a part's settings changed between two configurations.

use std::any::Any;

/// Settings that can be compared without knowing their type.
pub trait Same: Any {
    /// Whether the other one has the same type and the same value.
    fn is_same(&self, other: &dyn Any) -> bool;
}

impl<T: PartialEq + 'static> Same for T {
    fn is_same(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>() == Some(self)
    }
}
