//! The names in a client's certificate.

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

/// A name in a certificate, as the access file writes it: `uri:…`, `dns:…` or `cn:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateName(String);

impl CertificateName {
    /// Parses a name of the access file.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        match kind {
            _ if name.is_empty() => None,
            "uri" | "cn" => Some(Self(text.into())),
            "dns" => Some(Self::dns(name)),
            _ => None,
        }
    }

    /// Capitals do not matter in DNS. Source: RFC 4343.
    fn dns(name: &str) -> Self {
        Self(format!("dns:{}", name.to_ascii_lowercase()))
    }
}

/// Returns the names of a certificate: the URIs, then the DNS names of its subjectAltName, then its common name. None if they
/// cannot be read. The certificate must have been verified before.
#[must_use]
pub fn certificate_names(der: &[u8]) -> Vec<CertificateName> {
    let Ok(certificate) = Certificate::from_der(der) else {
        return Vec::new();
    };
    let certificate = certificate.tbs_certificate();
    let Ok(alternatives) = certificate.get_extension::<SubjectAltName>() else {
        return Vec::new();
    };
    let alternatives = alternatives.map_or_else(Vec::new, |(_, SubjectAltName(names))| names);
    let uris = alternatives.iter().filter_map(|name| match name {
        GeneralName::UniformResourceIdentifier(uri) => {
            Some(CertificateName(format!("uri:{}", uri.as_str())))
        }
        _ => None,
    });
    let dns = alternatives.iter().filter_map(|name| match name {
        GeneralName::DnsName(dns) => Some(CertificateName::dns(dns.as_str())),
        _ => None,
    });
    let common = match certificate.subject().common_name() {
        Ok(Some(DirectoryString::Utf8String(name))) => Some(name),
        Ok(Some(DirectoryString::PrintableString(name))) => Some(name.as_str().into()),
        Ok(Some(DirectoryString::TeletexString(name))) => Some(name.as_str().into()),
        _ => None,
    };
    let common = common.map(|name| CertificateName(format!("cn:{name}")));
    uris.chain(dns).chain(common).collect()
}
