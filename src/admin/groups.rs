//! Groups on the admin endpoint: how far they are behind, and moving one while it runs.
//!
//! In:   `GET /v1/groups/lag`, `GET /v1/groups/{group}/lag`, `POST /v1/groups/{group}/seek`.
//! Out:  JSON; 404 what is not there, 409 what cannot be, 503 what may be later.
//! Home: the control thread.
//!
//! A move is no call of the Kafka protocol: no client knows it, and whoever may move other
//! people's groups is who may reach the administrator's port. A page of the web must not get
//! there by way of its reader's browser, so a request that names an `Origin`, as every POST of a
//! page does, is refused.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::routes::within;
use super::source::AdminSource;
use crate::broker::group_orders::{SeekOrder, SeekRefused, SeekTo, SeekTopic};
use crate::broker::lag_sampler::{GroupLag, LagError};
use crate::coordinator::call::Unavailable;
use crate::group::ids::GroupId;
use crate::group::seek::{Moved, SeekError, Sought};
use crate::metrics::group_lag::{Followed, PartitionLag, Sample, TRACKED_MAX};
use crate::model::ids::PartitionIndex;
use crate::model::offset::Offset;
use crate::model::time::Timestamp;

/// Longest wait for an answer about groups: records of many partitions may be looked up on disk,
/// and a move is durable before it is told.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Points of histories in one answer, about 4 MB of JSON. Where there are more, each partition
/// has the same share of them, and one at least: of so many points in a row that with the most lag.
pub const POINTS_PER_ANSWER_MAX: usize = 72_000;
const _: () = assert!(TRACKED_MAX <= POINTS_PER_ANSWER_MAX);

/// How many partitions of a group an answer leaves out, because there are too many; those that
/// are the least behind. Absent where it tells all.
pub const LEFT_OUT: &str = "yeoul-left-out";

/// The paths of this file.
pub(super) fn router<S: AdminSource>() -> Router<Arc<S>> {
    Router::new()
        .route("/v1/groups/lag", get(lags::<S>))
        .route("/v1/groups/{group}/lag", get(lag::<S>))
        .route("/v1/groups/{group}/seek", post(seek::<S>))
}

/// A group's place in one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LagRow {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset that the group will read.
    pub position: i64,
    /// The end that consumers see.
    pub end: i64,
    /// Records from the one to the other.
    pub lag: u64,
    /// Age of the first record that the group has not consumed; null if it is not known.
    pub lag_seconds: Option<f64>,
    /// Whether the group has members.
    pub has_members: bool,
    /// The last hour, oldest first; absent where all groups are told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<LagPoint>,
}

/// A point of the last hour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LagPoint {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Records.
    pub lag: u64,
    /// Seconds, if they were known.
    pub lag_seconds: Option<f32>,
}

/// Where a group is to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum To {
    /// The first record there is.
    Start,
    /// The end.
    End,
    /// This offset, or the nearest there is.
    Offset(i64),
    /// The first record at or after this time, in milliseconds since 1970.
    TimeMs(i64),
    /// So many records before where the group is.
    Back(i64),
}

/// The body of a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeekBody {
    /// Where to.
    pub to: To,
    /// In which topics; absent: in every partition of those in which the group has a position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<TopicBody>>,
    /// Whether to tell what would move, and move nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// A topic in which a group is to move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicBody {
    /// Its name.
    pub topic: String,
    /// Its partitions; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Vec<i32>>,
}

/// The answer to a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeekAnswer {
    /// The group.
    pub group: String,
    /// Whether nothing has moved.
    pub dry_run: bool,
    /// Members that are put out, to come back at the new positions.
    pub members: usize,
    /// Each partition.
    pub moves: Vec<MoveRow>,
}

/// A group's move in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRow {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The position before; null if there was none.
    pub from: Option<i64>,
    /// The position after.
    pub to: i64,
    /// The end that consumers see.
    pub end: i64,
    /// Offsets that are read a second time.
    pub again: u64,
    /// Offsets that are not read.
    pub skipped: u64,
}

/// Why there is no answer, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The words.
    pub error: String,
}

impl LagRow {
    fn new(lag: &PartitionLag) -> LagRow {
        LagRow {
            group: lag.group.to_string(),
            topic: lag.topic.to_string(),
            partition: lag.partition,
            position: lag.position,
            end: lag.end,
            lag: lag.records(),
            lag_seconds: lag.seconds,
            has_members: lag.has_members,
            history: Vec::new(),
        }
    }

    /// With `points` of its history at most, of 1 or more.
    fn with_history(followed: &Followed, points: usize) -> LagRow {
        let point = |sample: &Sample| LagPoint {
            at_ms: sample.at.0,
            lag: sample.records,
            lag_seconds: sample.seconds,
        };
        let samples: Vec<&Sample> = followed.samples.iter().collect();
        // From the newest back, so that what is too few for a whole span is the oldest.
        let spans = samples.rchunks(samples.len().div_ceil(points).max(1));
        let most =
            |span: &[&Sample]| span.iter().max_by_key(|one| one.records).map(|one| point(one));
        let mut history: Vec<LagPoint> = spans.filter_map(most).collect();
        history.reverse();
        LagRow { history, ..LagRow::new(&followed.last) }
    }

    /// A group's rows with their histories, as many points as one answer has.
    fn of_group(followed: &[Followed]) -> Vec<LagRow> {
        let points = POINTS_PER_ANSWER_MAX / followed.len().max(1);
        followed.iter().map(|one| LagRow::with_history(one, points.max(1))).collect()
    }
}

impl MoveRow {
    fn new(moved: &Moved) -> MoveRow {
        let between =
            |low: Offset, high: Offset| u64::try_from(high.0.saturating_sub(low.0)).unwrap_or(0);
        let from = moved.from.unwrap_or(moved.to);
        MoveRow {
            topic: moved.topic.to_string(),
            partition: moved.partition.0,
            from: moved.from.map(|from| from.0),
            to: moved.to.0,
            end: moved.end.0,
            again: between(moved.to, from.min(moved.end)),
            skipped: between(from, moved.to),
        }
    }
}

impl SeekBody {
    fn order(self, group: &str) -> SeekOrder {
        let topic = |body: TopicBody| SeekTopic {
            name: body.topic,
            partitions: body
                .partitions
                .map(|partitions| partitions.into_iter().map(PartitionIndex).collect()),
        };
        SeekOrder {
            group: GroupId::from(group),
            to: match self.to {
                To::Start => SeekTo::Start,
                To::End => SeekTo::End,
                To::Offset(offset) => SeekTo::Offset(Offset(offset)),
                To::TimeMs(time) => SeekTo::Time(Timestamp(time)),
                To::Back(count) => SeekTo::Back(count.max(0)),
            },
            topics: self.topics.map(|topics| topics.into_iter().map(topic).collect()),
            dry_run: self.dry_run,
        }
    }
}

async fn lags<S: AdminSource>(State(source): State<Arc<S>>) -> Response {
    match within(ANSWER_MAX, source.group_lags()).await {
        Ok(lags) => Json(lags.iter().map(LagRow::new).collect::<Vec<_>>()).into_response(),
        Err(refusal) => refusal,
    }
}

async fn lag<S: AdminSource>(State(source): State<Arc<S>>, Path(group): Path<String>) -> Response {
    match within(ANSWER_MAX, source.group_lag(&group)).await {
        Ok(Ok(GroupLag { partitions, left_out })) => {
            let mut answer = Json(LagRow::of_group(&partitions)).into_response();
            if left_out > 0 {
                answer.headers_mut().insert(LEFT_OUT, left_out.into());
            }
            answer
        }
        Ok(Err(LagError::NoGroup)) => no_group(&group),
        Ok(Err(LagError::Unavailable(why))) => unavailable(&group, why),
        Err(refusal) => refusal,
    }
}

async fn seek<S: AdminSource>(
    State(source): State<Arc<S>>,
    Path(group): Path<String>,
    headers: HeaderMap,
    body: Result<Json<SeekBody>, JsonRejection>,
) -> Response {
    if headers.contains_key(header::ORIGIN) {
        return refuse(StatusCode::FORBIDDEN, "groups are not moved by pages of the web");
    }
    let body = match body {
        Ok(Json(body)) => body,
        Err(rejection) => return refuse(rejection.status(), rejection.body_text()),
    };
    let order = body.order(&group);
    let dry_run = order.dry_run;
    match within(ANSWER_MAX, source.seek_group(order)).await {
        Ok(Ok(sought)) => Json(seek_answer(group, dry_run, &sought)).into_response(),
        Ok(Err(why)) => seek_refused(&group, why),
        // The order is under way all the same.
        Err(_) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("no answer in time: group '{group}' may be moved yet, see its lag"),
        ),
    }
}

fn seek_answer(group: String, dry_run: bool, sought: &Sought) -> SeekAnswer {
    let moves = sought.moves.iter().map(MoveRow::new).collect();
    SeekAnswer { group, dry_run, members: sought.members, moves }
}

fn seek_refused(group: &str, why: SeekRefused) -> Response {
    match why {
        SeekRefused::Core(SeekError::NoGroup) => no_group(group),
        SeekRefused::Unavailable(why) => unavailable(group, why),
        SeekRefused::UnknownTopic(topic) => {
            refuse(StatusCode::NOT_FOUND, format!("topic '{topic}' does not exist"))
        }
        SeekRefused::UnknownPartition(topic, partition) => {
            let words = format!("topic '{topic}' has no partition {}", partition.0);
            refuse(StatusCode::NOT_FOUND, words)
        }
        SeekRefused::NoPositions => {
            let words = format!("group '{group}' has no position: name the topics");
            refuse(StatusCode::CONFLICT, words)
        }
        SeekRefused::Core(SeekError::NoPosition { topic, partition }) => {
            let words = format!("group '{group}' has no position in {topic}/{}", partition.0);
            refuse(StatusCode::CONFLICT, words)
        }
        SeekRefused::Core(SeekError::TooMany { partitions, max: 0 }) => {
            let words = format!(
                "group '{group}' cannot be moved in {partitions} partitions: its members put out \
                 and one position are more than one batch of __consumer_offsets takes \
                 (message.max.bytes); stop members first"
            );
            refuse(StatusCode::CONFLICT, words)
        }
        SeekRefused::Core(SeekError::TooMany { partitions, max }) => {
            let words = format!(
                "group '{group}' cannot be moved in {partitions} partitions at once: one batch of \
                 __consumer_offsets (message.max.bytes) takes about {max}; move it topic by topic, \
                 or some partitions at a time (--topic TOPIC:0,1)"
            );
            refuse(StatusCode::CONFLICT, words)
        }
        SeekRefused::NotReadable(topic, partition) => {
            let words = format!("{topic}/{} cannot be read now", partition.0);
            refuse(StatusCode::SERVICE_UNAVAILABLE, words)
        }
    }
}

fn no_group(group: &str) -> Response {
    refuse(StatusCode::NOT_FOUND, format!("group '{group}' does not exist"))
}

fn unavailable(group: &str, why: Unavailable) -> Response {
    let words = match why {
        Unavailable::NotHere => {
            format!("the coordinator of group '{group}' is not on this broker now")
        }
        Unavailable::Loading => format!("the coordinator of group '{group}' is loading"),
        Unavailable::NotStored => {
            format!("the coordinator of group '{group}' could not store what it was told")
        }
    };
    refuse(StatusCode::SERVICE_UNAVAILABLE, words)
}

fn refuse(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(Refusal { error: error.into() })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(from: Option<i64>, to: i64, end: i64) -> (u64, u64) {
        let row = MoveRow::new(&Moved {
            topic: "t".into(),
            partition: PartitionIndex(0),
            from: from.map(Offset),
            to: Offset(to),
            end: Offset(end),
        });
        (row.again, row.skipped)
    }

    #[test]
    fn a_move_tells_what_is_read_again_and_what_is_skipped() {
        assert_eq!(row(Some(50), 20, 100), (30, 0));
        assert_eq!(row(Some(50), 80, 100), (0, 30));
        assert_eq!(row(Some(50), 50, 100), (0, 0));
        assert_eq!(row(None, 20, 100), (0, 0), "nothing was read before");
        assert_eq!(row(Some(150), 20, 100), (80, 0), "the log was cut behind the position");
    }

    fn followed(samples: &[u64]) -> Followed {
        let (group, topic): (Arc<str>, Arc<str>) = ("g".into(), "t".into());
        let (partition, position, end) = (0, 0, 1);
        let last = PartitionLag {
            group,
            has_members: false,
            topic,
            partition,
            position,
            end,
            seconds: None,
        };
        let sample = |(at, records): (i64, &u64)| Sample {
            at: Timestamp(at),
            records: *records,
            seconds: None,
        };
        Followed { last, samples: (0..).zip(samples).map(sample).collect() }
    }

    #[test]
    fn a_history_that_is_too_long_keeps_the_most_of_each_span() {
        let check = |samples: &[u64], points: usize, expected: &[(i64, u64)]| {
            let row = LagRow::with_history(&followed(samples), points);
            let told: Vec<_> = row.history.iter().map(|point| (point.at_ms, point.lag)).collect();
            assert_eq!(told, expected, "{samples:?} in {points}");
        };
        check(&[], 3, &[]);
        check(&[4, 9, 2], 3, &[(0, 4), (1, 9), (2, 2)]);
        check(&[4, 9, 2, 7], 3, &[(1, 9), (3, 7)]);
        check(&[4, 9, 2, 7, 1], 3, &[(0, 4), (1, 9), (3, 7)]);
        check(&[4, 9, 2, 7, 1], 1, &[(1, 9)]);
    }

    #[test]
    fn an_answer_has_so_many_points_however_many_partitions_there_are() {
        let hour: Vec<u64> = (0..360).collect();
        let points = |partitions: usize| -> usize {
            let followed = vec![followed(&hour); partitions];
            LagRow::of_group(&followed).iter().map(|row| row.history.len()).sum()
        };
        assert_eq!(points(200), 72_000, "all there are");
        assert!((36_000..=POINTS_PER_ANSWER_MAX).contains(&points(201)), "{}", points(201));
        assert!((36_000..=POINTS_PER_ANSWER_MAX).contains(&points(TRACKED_MAX)));
    }

    #[test]
    fn bodies_of_moves_are_read() {
        let check = |text: &str, to: SeekTo, topics: Option<usize>| {
            let body: SeekBody = serde_json::from_str(text).expect(text);
            let order = body.order("g");
            let topics_got = order.topics.as_ref().map(Vec::len);
            assert_eq!((order.to, topics_got), (to, topics), "{text}");
        };
        check(r#"{"to":"start"}"#, SeekTo::Start, None);
        check(r#"{"to":"end","topics":[{"topic":"t"}]}"#, SeekTo::End, Some(1));
        check(r#"{"to":{"offset":7}}"#, SeekTo::Offset(Offset(7)), None);
        check(r#"{"to":{"time_ms":7},"dry_run":true}"#, SeekTo::Time(Timestamp(7)), None);
        check(r#"{"to":{"back":7}}"#, SeekTo::Back(7), None);
        check(r#"{"to":{"back":-7}}"#, SeekTo::Back(0), None);
        for bad in [r#"{}"#, r#"{"to":"middle"}"#, r#"{"to":"start","dry":true}"#] {
            assert!(serde_json::from_str::<SeekBody>(bad).is_err(), "{bad}");
        }
    }
}
