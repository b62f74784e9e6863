//! Certificates of etcd and of the nodes, made as they are needed.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

use crate::place::host;

/// Files of an authority, and of one certificate of it, for servers and clients on the host of the tests.
pub(crate) struct Certificates {
    folder: PathBuf,
    name: &'static str,
}

impl Certificates {
    pub(crate) fn new(folder: &Path, name: &'static str) -> Self {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(authority, key).unwrap();
        let mut leaf = CertificateParams::new([host().to_string()]).unwrap();
        leaf.distinguished_name.push(DnType::CommonName, "node");
        leaf.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&key, &authority).unwrap();
        let made = Self {
            folder: folder.into(),
            name,
        };
        fs::write(made.ca(), authority.pem()).unwrap();
        fs::write(made.certificate(), leaf.pem()).unwrap();
        fs::write(made.key(), key.serialize_pem()).unwrap();
        made
    }

    fn file(&self, what: &str) -> String {
        let path = self.folder.join(format!("{}-{what}.pem", self.name));
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn ca(&self) -> String {
        self.file("ca")
    }

    pub(crate) fn certificate(&self) -> String {
        self.file("certificate")
    }

    pub(crate) fn key(&self) -> String {
        self.file("key")
    }

    /// The arguments of a member of etcd.
    pub(crate) fn of_etcd(&self) -> Vec<String> {
        let files = [
            ("cert-file", self.certificate()),
            ("key-file", self.key()),
            ("trusted-ca-file", self.ca()),
        ];
        let mut arguments = vec!["--client-cert-auth".to_owned()];
        arguments.extend(files.map(|(name, file)| format!("--{name}={file}")));
        arguments
    }

    pub(crate) fn of_etcdctl(&self) -> Vec<String> {
        [
            ("cert", self.certificate()),
            ("key", self.key()),
            ("cacert", self.ca()),
        ]
        .map(|(name, file)| format!("--{name}={file}"))
        .into()
    }
}
