//! `/metrics`, `/livez` and `/readyz`.
