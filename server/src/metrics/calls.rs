//! The methods that calls are counted by, and the gRPC codes that they end with. Both are fixed lists, so the number of
//! series is fixed too.

/// A method, as calls are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method(u8);

/// How many messages a method takes and sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unary,
    ServerStream,
    BidiStream,
}

impl Kind {
    /// The value of the label `grpc_type`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }
}

/// A row of the list of methods.
#[derive(Debug)]
pub(crate) struct MethodRow {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    pub(crate) kind: Kind,
}

const STATE: &str = "soloist.v1.State";
const MACHINES: &str = "soloist.v1.Machines";
const SESSIONS: &str = "soloist.v1.Sessions";
const ADMIN: &str = "soloist.v1.Admin";
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

const fn row(service: &'static str, method: &'static str, kind: Kind) -> MethodRow {
    MethodRow {
        service,
        method,
        kind,
    }
}

/// Every method that the server has, and at the end one that stands for all others: clients can ask for any name, and a name
/// that they choose is no label.
pub(crate) const METHODS: [MethodRow; 27] = [
    row(STATE, "Read", Kind::Unary),
    row(STATE, "Write", Kind::Unary),
    row(STATE, "Add", Kind::Unary),
    row(STATE, "Transition", Kind::Unary),
    row(STATE, "Delete", Kind::Unary),
    row(STATE, "DeletePrefix", Kind::Unary),
    row(STATE, "Batch", Kind::Unary),
    row(STATE, "List", Kind::Unary),
    row(STATE, "Watch", Kind::ServerStream),
    row(STATE, "Pipeline", Kind::BidiStream),
    row(MACHINES, "DefineMachine", Kind::Unary),
    row(MACHINES, "GetMachine", Kind::Unary),
    row(MACHINES, "ListMachines", Kind::Unary),
    row(MACHINES, "DeleteMachine", Kind::Unary),
    row(SESSIONS, "OpenSession", Kind::Unary),
    row(SESSIONS, "RenewSession", Kind::Unary),
    row(SESSIONS, "CloseSession", Kind::Unary),
    row(SESSIONS, "ListSessions", Kind::Unary),
    row(ADMIN, "GetInfo", Kind::Unary),
    row(ADMIN, "GetNode", Kind::Unary),
    row(ADMIN, "Backup", Kind::ServerStream),
    row(HEALTH, "Check", Kind::Unary),
    row(HEALTH, "List", Kind::Unary),
    row(HEALTH, "Watch", Kind::ServerStream),
    row(REFLECTION, "ServerReflectionInfo", Kind::BidiStream),
    row(REFLECTION_ALPHA, "ServerReflectionInfo", Kind::BidiStream),
    row("unknown", "unknown", Kind::Unary),
];

impl Method {
    /// Stands for every method that the server does not have.
    pub(crate) const UNKNOWN: Self = Self(METHODS.len() as u8 - 1);

    /// The method that a path `/SERVICE/METHOD` names.
    pub(crate) fn of(service: &str, method: &str) -> Self {
        let found = METHODS
            .iter()
            .position(|row| row.method == method && row.service == service);
        found.map_or(Self::UNKNOWN, |index| Self(index as u8))
    }

    pub(crate) fn index(self) -> usize {
        self.0.into()
    }

    /// Its name and that of its service, for logs.
    pub(crate) fn name(self) -> String {
        let row = &METHODS[self.index()];
        format!("{}/{}", row.service, row.method)
    }

    pub(crate) fn is_unary(self) -> bool {
        METHODS[self.index()].kind == Kind::Unary
    }
}

/// The names of the gRPC codes, by their number, as the label `grpc_code` has them. Source: go-grpc-middleware, whose series
/// dashboards know.
pub(crate) const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// The code of a call that was answered in order.
pub(crate) const OK: usize = 0;

/// The code of a call whose client left before the answer.
pub(crate) const CANCELED: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_found_by_its_path_and_all_others_are_one() {
        for (index, row) in METHODS.iter().enumerate() {
            assert_eq!(Method::of(row.service, row.method).index(), index);
        }
        assert_eq!(Method::of(STATE, "Nonsense"), Method::UNKNOWN);
        assert_eq!(Method::of("nonsense", "Read"), Method::UNKNOWN);
    }
}
