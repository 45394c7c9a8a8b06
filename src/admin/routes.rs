//! Paths of the admin endpoint and their answers.
//!
//! In:   GET requests; what changes anything is in `groups.rs`.
//! Out:  JSON, or OpenMetrics text; 503 when the answer is "no" or did not come in time.
//! Home: the control thread.
//!
//! Source: product page 5.2; `/v1/status/ready` is Redpanda's name for `/v1/ready`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::source::{AdminSource, Gathered};
use crate::config::process::BuildFacts;
use crate::metrics::exposition::{CONTENT_TYPE, Detail, text};

/// Longest wait for the shards before the answer is 503.
pub const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, Serialize)]
struct NoAnswer {
    error: &'static str,
}

/// `/v1/live`.
#[derive(Debug, Serialize)]
struct Live {
    live: bool,
}

/// All paths over `source`.
pub fn router<S: AdminSource>(source: Arc<S>) -> Router {
    Router::new()
        .route("/v1/live", get(live::<S>))
        .route("/v1/ready", get(ready::<S>))
        .route("/v1/status/ready", get(ready::<S>))
        .route("/v1/health", get(health::<S>))
        .route("/v1/version", get(version))
        .route("/public_metrics", get(public_metrics::<S>))
        .route("/metrics", get(metrics::<S>))
        .merge(super::groups::router::<S>())
        .fallback(unknown)
        .with_state(source)
}

async fn live<S: AdminSource>(State(source): State<Arc<S>>) -> Response {
    match in_time(source.ping()).await {
        Ok(()) => Json(Live { live: true }).into_response(),
        Err(refusal) => refusal,
    }
}

async fn ready<S: AdminSource>(State(source): State<Arc<S>>) -> Response {
    match in_time(source.readiness()).await {
        Ok(readiness) => (status(readiness.ready), Json(readiness)).into_response(),
        Err(refusal) => refusal,
    }
}

/// 200 even when something is wrong: the body says what, and a probe that restarts brokers must
/// not act on a lagging replica.
async fn health<S: AdminSource>(State(source): State<Arc<S>>) -> Response {
    match in_time(source.health()).await {
        Ok(health) => Json(health).into_response(),
        Err(refusal) => refusal,
    }
}

async fn version() -> Json<BuildFacts> {
    Json(BuildFacts::of_this_program())
}

async fn public_metrics<S: AdminSource>(State(source): State<Arc<S>>) -> Response {
    scrape(&*source, Detail::Whole).await
}

async fn metrics<S: AdminSource>(State(source): State<Arc<S>>) -> Response {
    scrape(&*source, Detail::ByShard).await
}

async fn scrape<S: AdminSource>(source: &S, detail: Detail) -> Response {
    match in_time(source.metrics()).await {
        Ok(gathered) => {
            let Gathered { shards, process, lags } = gathered;
            let body = text(&shards, &process, &lags, detail, S::api_name);
            ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
        }
        Err(refusal) => refusal,
    }
}

async fn unknown() -> Response {
    (StatusCode::NOT_FOUND, Json(NoAnswer { error: "no such path" })).into_response()
}

async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, Response> {
    within(ANSWER_MAX, answer).await
}

/// The answer, or 503 when it takes longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = T>,
) -> Result<T, Response> {
    tokio::time::timeout(limit, answer).await.map_err(|_| {
        let body = NoAnswer { error: "a shard did not answer in time" };
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    })
}

fn status(yes: bool) -> StatusCode {
    if yes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
