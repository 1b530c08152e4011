//! Promises that the operator keeps as it is usually installed. These tests may run beside each other.

mod at_rest;
mod bad_input;
mod budget;
mod deletion;
mod demo;
mod drain;
mod gitops;
mod headroom;
mod label_authority;
mod load_loop;
mod loss_checker;
mod maxmemory;
mod near_limit;
mod neighbours;
mod observe;
mod oom;
mod port_forward;
mod primary_apart;
mod quota;
mod refusals;
mod role_label_right;
mod scaling;
mod standalone;
mod start_role;
mod strict;
