//! Sending: alerts to Alertmanager, signed edges to the Control Plane.

pub mod alertmanager;
