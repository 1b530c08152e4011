//! The Helm chart: rights, security context, switches. Most tests render it, and so need helm:
//! `make test` builds it, or set HELM to a helm 4 (or 3.16 and newer). Those of config need kubectl besides (KUBECTL), those of
//! alerts promtool (PROMTOOL), those of dashboards prometheus (PROMETHEUS) and the tool dashboards (DASHBOARDS), and on long
//! runs one a helm 3 (HELM3).
#![cfg(test)]
#![allow(unreachable_pub, reason = "the helpers of a test are test code")]

mod alerts;
mod arguments;
#[path = "../common/boards.rs"]
mod boards;
#[path = "../common/chart_values.rs"]
mod chart_values;
mod dashboards;
mod dashboards_data;
mod helm;
mod helm_three;
mod kustomize;
#[path = "../common/long.rs"]
mod long;
mod objects;
mod platforms;
#[path = "../common/prometheus.rs"]
mod prometheus;
mod promql;
mod readme;
mod rights;
mod strict;
mod switches;
#[path = "../common/tool.rs"]
mod tool;
mod values;

/// Release `r`, full name of its objects.
const NAME: &str = "r-redis-memory-operator";
