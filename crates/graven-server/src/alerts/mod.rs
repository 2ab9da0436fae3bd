//! `AlertService`: rules over a log of events, and the alerts that they raise.
//!
//! A rule is applied because an entry says so, and an alert is an entry: what is here puts the first ones there and reads the others. What
//! a rule would have found is worked out without an entry, but not without one in the access log.

mod rules;
mod show;
mod trial;
mod watch;

use std::sync::Arc;

use graven_proto::v1;
use graven_proto::v1::alert_service_server::AlertService;
use tonic::{Request, Response, Status};

use crate::audit::Answers;
use crate::core::Core;

/// The service.
pub(crate) struct AlertApi {
    core: Arc<Core>,
}

impl AlertApi {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

#[tonic::async_trait]
impl AlertService for AlertApi {
    type TestRuleStream = Answers<v1::TestRuleResponse>;
    type WatchAlertsStream = Answers<v1::WatchAlertsResponse>;

    async fn define_rule(
        &self,
        request: Request<v1::DefineRuleRequest>,
    ) -> Result<Response<v1::DefineRuleResponse>, Status> {
        rules::define(&self.core, request).await.map(Response::new)
    }

    async fn retire_rule(
        &self,
        request: Request<v1::RetireRuleRequest>,
    ) -> Result<Response<v1::RetireRuleResponse>, Status> {
        rules::retire(&self.core, request).await.map(Response::new)
    }

    async fn list_rules(
        &self,
        request: Request<v1::ListRulesRequest>,
    ) -> Result<Response<v1::ListRulesResponse>, Status> {
        rules::list(&self.core, &request).await.map(Response::new)
    }

    async fn test_rule(
        &self,
        request: Request<v1::TestRuleRequest>,
    ) -> Result<Response<Self::TestRuleStream>, Status> {
        trial::open(&self.core, request).await.map(Response::new)
    }

    async fn watch_alerts(
        &self,
        request: Request<v1::WatchAlertsRequest>,
    ) -> Result<Response<Self::WatchAlertsStream>, Status> {
        watch::open(&self.core, &request).await.map(Response::new)
    }
}
