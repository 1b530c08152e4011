//! Raw spec to validated [`Policy`](crate::domain::policy::Policy): the same rules as the CRD's CEL, run again.
