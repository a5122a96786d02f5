//! A circuit breaker per endpoint: whether a link that answers may be trusted.
