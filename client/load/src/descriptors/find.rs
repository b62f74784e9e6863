//! Looks up a method by its name.

use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

/// The most names that an error lists. The others are counted.
const NAMES_MAX: usize = 30;

/// The name of a method, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MethodName {
    /// With its package.
    pub(super) service: String,
    method: String,
}

impl MethodName {
    /// Reads `package.Service/Method`, as in a path, or `package.Service.Method`, as ghz writes it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let path = text.trim_start_matches('/');
        path.split_once('/')
            .or_else(|| path.rsplit_once('.'))
            .filter(|(service, method)| {
                !service.is_empty() && !method.is_empty() && !method.contains('/')
            })
            .map(|(service, method)| Self {
                service: service.to_owned(),
                method: method.to_owned(),
            })
            .ok_or_else(|| format!("{text:?} must have the form package.Service/Method"))
    }

    pub(super) fn find(&self, pool: &DescriptorPool) -> Result<MethodDescriptor, String> {
        let service = pool.get_service_by_name(&self.service).ok_or_else(|| {
            unknown_service(
                &self.service,
                pool.services().map(|of| of.full_name().to_owned()),
            )
        })?;
        let method = service.methods().find(|of| of.name() == self.method);
        method.ok_or_else(|| self.unknown_method(&service))
    }

    fn unknown_method(&self, service: &ServiceDescriptor) -> String {
        let methods = service.methods().map(|of| of.name().to_owned());
        format!(
            "{} has no method {}; it has {}",
            self.service,
            self.method,
            listed(methods)
        )
    }
}

/// Returns the error for a service that is not among these.
pub(super) fn unknown_service(service: &str, services: impl Iterator<Item = String>) -> String {
    format!(
        "there is no service {service}; there is {}",
        listed(services)
    )
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{}, and {more} more", names.join(", ")),
    }
}
