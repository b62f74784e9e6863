//! Health, by grpc.health.v1, where tonic-health differs from it.

use std::pin::Pin;

use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::HealthService;

/// tonic's service, but a Watch of an unknown service is told SERVICE_UNKNOWN, and stays open. Source: health.proto,
/// "Watch".
pub(super) struct HealthByTheBook(pub(super) HealthService);

#[tonic::async_trait]
impl Health for HealthByTheBook {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.0.check(request).await
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let statuses: Self::WatchStream = match self.0.watch(request).await {
            Ok(statuses) => Box::pin(statuses.into_inner()),
            Err(status) if status.code() == Code::NotFound => {
                let unknown = HealthCheckResponse {
                    status: ServingStatus::ServiceUnknown.into(),
                };
                // No service comes later.
                Box::pin(stream::iter([Ok(unknown)]).chain(stream::pending()))
            }
            Err(status) => return Err(status),
        };
        Ok(Response::new(statuses))
    }
}
