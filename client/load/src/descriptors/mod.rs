//! The descriptors of a method of any gRPC service.
//!
//! They come from `.proto` files or an encoded set ([`files`]), or from the server itself ([`reflection`]). [`imports`] completes
//! what such a server leaves out. [`find`] looks
//! up the method, and says what there is if it is not there.

mod files;
mod find;
mod imports;
pub(crate) mod origin;
mod reflection;
#[cfg(test)]
mod tests;

use prost_reflect::MethodDescriptor;

use crate::plan::call::CallPlan;
use find::MethodName;
use origin::Origin;

/// Why there is no descriptor.
#[derive(Debug)]
pub(crate) enum NoDescriptor {
    /// The user must pass something else.
    Arguments(String),
    /// The server cannot be reached.
    Unreachable(String),
}

impl From<String> for NoDescriptor {
    fn from(error: String) -> Self {
        Self::Arguments(error)
    }
}

/// Returns the descriptor of the method that the plan names.
///
/// # Errors
/// If there are no descriptors, or they have no such method. The text says what to pass instead.
pub(crate) async fn method(
    plan: &CallPlan,
    origin: Origin<'_>,
) -> Result<MethodDescriptor, NoDescriptor> {
    let name = MethodName::parse(&plan.method)?;
    let pool = match (&plan.protoset, &plan.proto[..]) {
        (Some(set), _) => files::of_set(set)?,
        (None, []) => {
            let channel = origin.destination.channel(origin.timeout).await;
            let channel = channel.map_err(NoDescriptor::Unreachable)?;
            reflection::pool(&channel, &name.service, origin).await?
        }
        (None, proto) => files::of_proto(proto, &plan.import_path)?,
    };
    Ok(name.find(&pool)?)
}
