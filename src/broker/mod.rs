//! Requests to answers: dispatch, handlers, errors (tier T4).
