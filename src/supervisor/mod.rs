//! Supervisor (to come).
